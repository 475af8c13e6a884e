/* What http.c and http_ws.c share. */
#ifndef HTTP_PRIVATE_H
#define HTTP_PRIVATE_H

#include "http.h"

#include <curl/curl.h>

/* How a service is spoken to and of. */
struct http_dialect {
	const char *name;             /* "Nomad" */
	const char *prefix;           /* of its variables: "NOMAD" */
	int port;                     /* for the example in a hint */
	const char *token_header;     /* "X-Nomad-Token" */
	const char *namespace_header; /* NULL: it is a query parameter */
	const char *mark;             /* a header that every request carries, or NULL */
};

struct http {
	const struct http_dialect *dialect;
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
/** http_url() - base or "", path, and the query that goes with every call; for free(). */
char *http_url(const struct http *h, const char *base, const char *path);
/** http_curl_error() - turn curl's code into an error with a hint. Return: -1. */
int http_curl_error(const struct http *h, CURLcode code, const char *what, struct err *e);
/** http_status_error() - likewise for a status that is not the one wanted. Return: -1. */
int http_status_error(const struct http *h, const char *what, int status, const char *body, size_t n,
		      struct err *e);
/** http_log() - the debug line of one exchange. @status: 0 when there was no reply. */
void http_log(const char *what, int status, int64_t since);

#endif
