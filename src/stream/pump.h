#ifndef PUMP_H
#define PUMP_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One exec session: it carries stdin, stdout and stderr over one WebSocket to src/stream/bootstrap.sh and
 * back. One poll() loop, no thread. Nothing waits for anything but the place it goes to: stdin is left unread
 * while the line takes no more, the line while stdout or stderr take no more.
 */

/* The line, as http_ws_* of http.h; tests have others. */
struct pump_line {
	void *arg;
	int (*fd)(void *arg); /* to poll */
	/* 0 and *ret_n bytes, 0 of them = would block; -1 = the line is closed or broken */
	int (*recv)(void *arg, void *to, size_t n, size_t *ret_n, struct err *e);
	int (*send)(void *arg, const void *data, size_t n, size_t *ret_n, struct err *e);
};

struct pump_config {
	struct pump_line line;
	int stdin_fd, stdout_fd, stderr_fd; /* borrowed; their flags are never changed */
	/*
	 * stdin and stdout are terminals, and the script is bootstrap_tty.sh: raw mode while the command
	 * runs, the window's size goes over, stderr comes with stdout.
	 */
	bool tty;
	const char *term; /* TERM for the command, or NULL; borrowed */

	/* milliseconds; 0 = what the comment says */
	int64_t heartbeat_ms; /* 10 s: a heartbeat and a ping, as idle lines get cut (hashicorp/nomad#10579)
			       */
	int64_t silence_ms; /* 60 s: without a byte from the line it is dead; see silence_deadline() in pump.c
			     */
	int64_t exit_ms;    /* 5 s: after Nomad's exit frame, how long to wait for what is still missing */
};

struct pump;

struct pump *pump_new(const struct pump_config *config);
void pump_freep(struct pump **p);

/**
 * pump_wait_ready() - until the remote script says that it runs. Nothing is sent and stdin is not touched
 * before that.
 * @deadline: of clock_ms().
 * @ret_again: written on failure: another try is safe, and may help.
 * Return: 0, or -1: ERR_TIMEOUT (nobody spoke), ERR_REMOTE (ended before), ERR_AUTH, ERR_CONNECT,
 * ERR_INTERRUPTED.
 */
int pump_wait_ready(struct pump *p, int64_t deadline, bool *ret_again, struct err *e) MUST_CHECK;

/**
 * pump_run() - send the command, then carry all three streams until both outputs have ended. After
 * pump_wait_ready().
 * @ret_status: the exit code, 0..255; written on success only.
 * Return: 0, or -1: as stream_run(). The line is of no use afterwards.
 */
int pump_run(struct pump *p, const char *command, int *ret_status, struct err *e) MUST_CHECK;

/** pump_left() - the command was sent, and runs for all we know. */
bool pump_left(const struct pump *p);

/** pump_cut_short() - the line ended before both outputs had. */
bool pump_cut_short(const struct pump *p);

/** pump_silent() - the line counts as dead: nothing came from it for too long. */
bool pump_silent(const struct pump *p);

/** pump_exited() - Nomad says that the script has. */
bool pump_exited(const struct pump *p);

/** pump_stdin_ended() - the command was promised a stdin, and told that it has ended. */
bool pump_stdin_ended(const struct pump *p);

#endif
