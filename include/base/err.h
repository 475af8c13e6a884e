#ifndef ERR_H
#define ERR_H

#include "mem.h"

/*
 * Errors (crun's error_handling.md). A function that can fail returns 0 or -1 (or a pointer, or NULL) and
 * takes a `struct err *` last, which it sets on failure only and exactly once; callers add meaning with
 * err_wrap(), once per layer. Only main() prints: one `error:` line, one `hint:` line that says what to do.
 */

enum err_kind {
	ERR_NONE = 0,
	ERR_USAGE,       /* the command line; exit code 2 */
	ERR_CONFIG,      /* an option's value, a file */
	ERR_SYSTEM,      /* the operating system said no */
	ERR_CONNECT,     /* no answer: DNS, TCP, a line that broke */
	ERR_TLS,         /* no TLS with that server: certificates, files; the same the next time */
	ERR_AUTH,        /* 401, 403 */
	ERR_NOT_FOUND,   /* 404, or what Nomad says instead */
	ERR_CONFLICT,    /* exists already, or belongs to someone else */
	ERR_REMOTE,      /* the server or the machine reported a failure, or broke its protocol */
	ERR_TIMEOUT,     /* a deadline of ours passed */
	ERR_INTERRUPTED, /* SIGINT, SIGTERM, SIGHUP; err.status is the signal */
	ERR_OUTPUT,      /* our stdout is gone */
};

struct err {
	enum err_kind kind;
	int status; /* the HTTP status, the WebSocket close code, the signal, or 0 */
	char *msg;  /* owned; one line, no newline at the end (the log lines of a failed task may follow) */
	char *hint; /* owned, or NULL */
};

#define ERR_INIT                                                                                             \
	{                                                                                                    \
		ERR_NONE, 0, NULL, NULL                                                                      \
	}

/** err_set() - record a failure. @e must be empty. Return: -1, always. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF(3, 4);

/** err_sys() - like err_set(ERR_SYSTEM), with ": " and the text of errno value @errnum at the end. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) PRINTF(3, 4);

/** err_wrap() - put "what: " before the message. Return: -1, always. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);

/** err_hint() - what to do about it; the first hint (the one nearest to the cause) stays. Return: -1, always.
 */
int err_hint(struct err *e, const char *fmt, ...) PRINTF(2, 3);

/** err_clear() - forget it; @e is empty and may be set again. */
void err_clear(struct err *e);

/** err_move() - @to takes what @from holds; @from is empty afterwards. A failure already in @to stays, @from
 * is lost. */
void err_move(struct err *to, struct err *from);

/** err_exit_code() - what the process ends with: 0, 1, 2, or 128 + the signal. */
int err_exit_code(const struct err *e);

#endif
