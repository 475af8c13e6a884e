/* What http.c and http_ws.c share. */
#ifndef HTTP_PRIVATE_H
#define HTTP_PRIVATE_H

#include "http.h"

#include <curl/curl.h>

struct http {
	CURLM *multi;
	CURL *easy;                    /* of http_do(), kept for its connection */
	char *shown;                   /* the address for messages */
	char *base;                    /* "https://host:port", what curl is told */
	char *host;                    /* of the Host header */
	char *unix_path;               /* or NULL */
	struct curl_slist *connect_to; /* "name:port:host:port" where the TLS name is another one, or NULL */
	struct curl_slist *headers, *json_headers; /* of requests without and with a body */
	bool tls, loopback;                        /* loopback: no proxy, as in Go's net/http */
	char *token, *namespace_, *region, *user, *password, *user_agent;
	char *cacert, *client_cert, *client_key;
	struct buf ca_blob; /* of capath */
	bool skip_verify;
	int64_t connect_ms;
	char error[CURL_ERROR_SIZE];
};

/** http_prepare() - everything that all requests have in common, but for the request itself. */
int http_prepare(struct http *h, CURL *easy, const char *url, struct err *e) MUST_CHECK;
/** http_url() - base or "", path, and the namespace and region that go with every call; for free(). */
char *http_url(const struct http *h, const char *base, const char *path);
/** http_curl_error() - turn curl's code into an error with a hint. Return: -1. */
int http_curl_error(const struct http *h, CURLcode code, const char *what, struct err *e);
/** http_status_error() - likewise for a status that is not the one wanted. Return: -1. */
int http_status_error(const char *what, int status, const char *body, size_t n, struct err *e);
/** http_log() - the debug line of one exchange. @status: 0 when there was no reply. */
void http_log(const char *what, int status, int64_t since);

#endif
