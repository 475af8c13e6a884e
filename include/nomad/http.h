#ifndef HTTP_H
#define HTTP_H

#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * HTTP to one Nomad agent (or Vault server), over libcurl. One connection is kept and used again. Every wait
 * ends at once when the process is interrupted (platform.h): the call fails with ERR_INTERRUPTED.
 */

struct http;

/** Who answers there: decides how token and namespace are said, and what messages call the variables. */
enum http_service { HTTP_NOMAD, HTTP_VAULT };

/** All borrowed during http_open(). Meaning of each: as in Nomad's api package (api/api.go), which its CLI
 * uses. */
struct http_config {
	enum http_service service;
	const char
		*addr; /* http://, https:// or unix://; anything after the host is dropped, as the CLI does */
	const char *token;      /* X-Nomad-Token, X-Vault-Token, or NULL */
	const char *namespace_; /* goes with every request, as region does; NULL = the server's default */
	const char *region;
	const char *cacert; /* a PEM file; when set, nothing else is trusted */
	const char *capath; /* a directory: every file in it is a PEM, not OpenSSL's hashed names */
	const char *client_cert;
	const char *client_key;
	const char *tls_server_name;
	bool skip_verify;
	const char *http_auth; /* "user:password" or "user" */
	const char *user_agent;
	int64_t connect_ms; /* to connect, TLS included; 0 = 10 s */
};

/** http_open() - checks the address and the files; connects to nothing yet. */
int http_open(const struct http_config *config, struct http **ret, struct err *e) MUST_CHECK;
void http_freep(struct http **p);
/** http_addr() - the address for messages, without user and password; borrowed. */
const char *http_addr(const struct http *h);

struct http_request {
	const char *method; /* NULL = GET */
	const char *path;   /* "/v1/…" with an own query where it has one; escaped by the caller */
	const char *body;   /* JSON, or NULL */
	char *header; /* "Name: value" of this request alone, or NULL; never logged, the caller's to wipe */
	int64_t timeout_ms; /* of the whole exchange, 0 = 30 s */
	uint64_t index;     /* a blocking query when not 0: answers when the index passes this one … */
	int64_t wait_ms;    /* … or after this time (the server adds up to a sixteenth) */
	const bool *cancel; /* or NULL: once it is true the call ends, with 0 and reply->status 0 (a stream
			       may set it) */
};

struct http_reply {
	int status;
	struct buf body; /* what it has allocated is used again, and its maximum is kept to */
	uint64_t index;  /* X-Nomad-Index, 0 when there was none */
	char *location;  /* of a redirect, or NULL; none is followed */
};

#define HTTP_REPLY_INIT                                                                                      \
	{                                                                                                    \
		0, BUF_INIT, 0, NULL                                                                         \
	}
void http_reply_clear(struct http_reply *r);

/**
 * http_do() - one request and its whole reply. Streams that are open go on meanwhile.
 * Return: 0 when the status is 2xx, or -1: ERR_CONNECT (no reply), ERR_TLS, ERR_TIMEOUT, ERR_INTERRUPTED,
 * ERR_AUTH (401, 403), ERR_NOT_FOUND (404), ERR_REMOTE (any other status, or a body over the maximum). The
 * message has method, path, status and the cleaned, bounded body; e->status is the status.
 */
int http_do(struct http *h, const struct http_request *rq, struct http_reply *reply,
	    struct err *e) MUST_CHECK;

/** http_error_text() - what a service says of a failure, without the count that Go's multierror puts before a
 * single error; borrowed from @body. */
const char *http_error_text(const char *body);

/** http_wait() - let open streams go on for that long, or until one of them got data or ended. */
int http_wait(struct http *h, int64_t ms, struct err *e) MUST_CHECK;

/**
 * A reply without an end (followed logs): on_data is called from http_do() and http_wait(), and once with
 * NULL and 0 when the stream has ended.
 * @path, @arg: the path is borrowed during the call, the argument until http_stream_freep().
 */
struct http_stream;
int http_stream_open(struct http *h, const char *path, void (*on_data)(void *arg, const char *data, size_t n),
		     void *arg, struct http_stream **ret, struct err *e) MUST_CHECK;
/** http_stream_ended() - true when the server ended it or the line broke. @ret_status: of the reply, 0 when
 * none. */
bool http_stream_ended(const struct http_stream *s, int *ret_status);
void http_stream_freep(struct http_stream **p);

/*
 * A WebSocket (RFC 6455) on a connection of its own: the opening handshake is done here, the frames
 * (websocket.h) are the caller's.
 */
struct http_ws;

/**
 * http_ws_open() - connect and upgrade. @timeout_ms: for both together.
 * Return: 0, or -1: as http_do(), a refused upgrade by its status; ERR_REMOTE when the answer is no valid
 * upgrade (RFC 6455, 4.1), with a hint when it looks like a proxy that dropped the Upgrade header.
 */
int http_ws_open(struct http *h, const char *path, int64_t timeout_ms, struct http_ws **ret,
		 struct err *e) MUST_CHECK;
void http_ws_freep(struct http_ws **p);

/** http_ws_fd() - to poll; read until it would block before every poll (TLS keeps data in its own buffer). */
int http_ws_fd(const struct http_ws *ws);

/** Both return 0 and *ret_n bytes moved, 0 = would block; -1 with ERR_CONNECT when the line is closed or
 * broken. */
int http_ws_recv(struct http_ws *ws, void *to, size_t n, size_t *ret_n, struct err *e) MUST_CHECK;
int http_ws_send(struct http_ws *ws, const void *data, size_t n, size_t *ret_n, struct err *e) MUST_CHECK;

#endif
