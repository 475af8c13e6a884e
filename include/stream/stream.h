#ifndef STREAM_H
#define STREAM_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct nomad;

struct stream_request {
	const char *task;    /* its task */
	const char *command; /* for the machine's /bin/sh */
	int64_t connect_ms;  /* until the remote side said that it is ready, all tries together; 0 = 30 s */
	int stdin_fd, stdout_fd, stderr_fd; /* borrowed; never closed, never set non-blocking */
	bool tty;                           /* if stdin and stdout are terminals, the command gets one too */
	const char *term;                   /* its TERM then, or NULL */
};

/**
 * The way there, in and out: what the caller remembers is tried first, and what worked is left in it.
 * A hint that has gone stale costs one more try and never leads to another machine: an allocation's ID is
 * unique.
 */
struct stream_route {
	char alloc_id[37];    /* or "" */
	struct nomad *direct; /* the node's own agent, or NULL; borrowed */
	bool changed;         /* out: something else than what came in worked */

	/* the machine's running allocation, when nothing is remembered; 37 bytes */
	int (*find)(void *arg, char *ret_id, struct err *e);
	void *arg;
};

/**
 * stream_run() - run a command in the job's newest running allocation, attached to our stdio
 * (CONTRIBUTING.md tells why in this way).
 *
 * The exec'd script is fixed (src/stream/bootstrap.sh); the command and a nonce go over stdin once the script
 * has said that it runs. It ends both outputs with a mark, so that not a byte is missing and the exit code is
 * exact. Everything is retried until the command has been sent, nothing afterwards. Buffers stay below 8 MiB
 * whatever flows.
 *
 * EOF on stdin (also a closed one) goes on as a half-close. When stdout's reader is gone, the stream ends
 * with ERR_OUTPUT, also while nothing is printed.
 *
 * With a terminal (src/stream/bootstrap_tty.sh): raw mode while the command runs, restored on every way out
 * (terminal.h); stdout has stderr in it; the window's size and its changes go over.
 *
 * Nomad cannot kill what was exec'd. When we end before the command, its stdin gets EOF; and through a second
 * exec, which must succeed within some seconds, its terminal is hung up (SIGHUP), or those who hold its
 * stdout get the SIGPIPE that they would have got here. Nothing of that happens when we are killed ourselves.
 *
 * @route: in and out, also on failure.
 * @ret_status: written on success only: the remote exit code, 0..255.
 * Return: 0, or -1 with @e: ERR_NOT_FOUND (no running allocation), ERR_AUTH, ERR_TLS, ERR_CONNECT (the line
 * broke), ERR_REMOTE (ended without a status), ERR_TIMEOUT, ERR_INTERRUPTED, ERR_OUTPUT, ERR_SYSTEM.
 */
int stream_run(struct nomad *n, const struct stream_request *rq, struct stream_route *route, int *ret_status,
	       struct err *e) MUST_CHECK;

#endif
