/*
 * `command`: find the machine's allocation, start the fixed script there (bootstrap.sh), and once it says
 * that it runs, give it the command and carry the streams (pump.c). Why so and not by Nomad's exec alone:
 * with the docker driver a command may silently not run at all, and the end of its output may be lost
 * (hashicorp/nomad#27146).
 */
#include "stream.h"

#include "aftermath.h"
#include "bootstrap_sh.h"
#include "bootstrap_tty_sh.h"
#include "clock.h"
#include "log.h"
#include "nomad.h"
#include "platform.h"
#include "pump.h"
#include "target.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define CONNECT_MS  30000 /* when the caller gave none */
#define READY_MS    5000  /* for one try: it takes some 60 ms */
#define PAUSE_MS    1000  /* between tries at most */
#define END_MS      2000  /* to end in the machine what we leave there */
#define FIRST_PAUSE 25    /* milliseconds after the second try; then twice as long each time */

static int line_fd(void *arg)
{
	return http_ws_fd(arg);
}

static int line_recv(void *arg, void *to, size_t n, size_t *ret_n, struct err *e)
{
	return http_ws_recv(arg, to, n, ret_n, e);
}

static int line_send(void *arg, const void *data, size_t n, size_t *ret_n, struct err *e)
{
	return http_ws_send(arg, data, n, ret_n, e);
}

/* May another try to connect help? A refusal is an answer; what is 5xx, or no answer at all, may pass. */
static bool may_pass(const struct err *e)
{
	return e->kind == ERR_CONNECT || e->kind == ERR_TIMEOUT ||
	       (e->kind == ERR_REMOTE && e->status >= 500);
}

/* One try. @ret_again: on failure: nothing has run, and another try may help. */
static int attempt(struct nomad *n, const struct stream_request *rq, struct stream_route *route,
		   int64_t deadline, struct aftermath *after, int *ret_status, bool *ret_again, struct err *e)
{
	/* the tag is how a second exec finds the first one's processes */
	AUTO(freep)
	char *script = xasprintf("%s#%s\n", after->tty ? bootstrap_tty_sh : bootstrap_sh, after->tag);
	const char *const shell[] = {"/bin/sh", "-c", script, NULL};
	AUTO(http_ws_freep) struct http_ws *ws = NULL;
	AUTO(pump_freep) struct pump *pump = NULL;
	struct target t;
	int64_t begin = clock_ms(), left = clock_left(deadline);

	*ret_again = false;
	if (target_choose(n, route, &t, e) < 0)
		return -1;
	if (nomad_exec_open(t.nomad, t.alloc, rq->task, after->tty, shell, left < 1 ? 1 : left, &ws, e) < 0) {
		/* a server without an answer says nothing against the allocation */
		*ret_again = (t.direct || !may_pass(e)) ? target_failed(&t, e, route) : true;
		return err_wrap(e, "open a shell in allocation %.8s", t.alloc);
	}

	const struct pump_config config = {
		.line = {ws, line_fd, line_recv, line_send},
		.stdin_fd = rq->stdin_fd,
		.stdout_fd = rq->stdout_fd,
		.stderr_fd = rq->stderr_fd,
		.tty = after->tty,
		.term = rq->term,
	};
	int64_t ready = clock_ms() + READY_MS;
	pump = pump_new(&config);
	if (pump_wait_ready(pump, ready < deadline ? ready : deadline, ret_again, e) < 0) {
		/* a reason (a close frame's code) speaks against the target, a mere end does not: see
		 * bootstrap.sh */
		if (!*ret_again || e->status || e->kind == ERR_TIMEOUT)
			*ret_again |= target_failed(&t, e, route);
		return err_wrap(e, "open a shell in allocation %.8s", t.alloc);
	}
	target_worked(&t, route);
	log_debug("exec: ready after %lld ms in allocation %.8s", (long long)(clock_ms() - begin), t.alloc);
	memcpy(after->alloc, t.alloc, sizeof(after->alloc));
	int failed = pump_run(pump, rq->command, ret_status, e);
	after->left = pump_left(pump);
	after->silent = pump_silent(pump);
	after->cut_short = pump_cut_short(pump) || after->silent;
	after->exited = pump_exited(pump);
	after->stdin_ended = pump_stdin_ended(pump);
	return failed;
}

/* Return: 0, or -1 when interrupted. */
static int pause_for(int64_t ms, struct err *e)
{
	struct pollfd f = {interrupt_fd(), POLLIN, 0};

	if (poll(&f, 1, (int)ms) < 0 && errno != EINTR)
		return err_sys(e, errno, "poll");
	return interrupt_signal() ? interrupt_error(e) : 0;
}

static int run(struct nomad *n, const struct stream_request *rq, struct stream_route *route,
	       struct aftermath *after, int *ret_status, struct err *e)
{
	int64_t deadline = clock_ms() + (rq->connect_ms ? rq->connect_ms : CONNECT_MS);
	int64_t pause = 0;

	for (unsigned tries = 1;; tries++) {
		struct err why = ERR_INIT;
		bool again;

		if (attempt(n, rq, route, deadline, after, ret_status, &again, &why) == 0)
			return 0;
		if (!again || clock_left(deadline) <= pause) {
			err_move(e, &why);
			return again && tries > 1 ? err_wrap(e, "gave up after %u tries", tries) : -1;
		}
		log_debug("exec: try %u: %s", tries, why.msg);
		err_clear(&why);
		if (pause_for(pause, e) < 0)
			return -1;
		pause = pause ? pause * 2 : FIRST_PAUSE;
		if (pause > PAUSE_MS)
			pause = PAUSE_MS;
	}
}

/* End in the machine what we cannot carry any more. That it may fail is in the nature of it. */
static void end_remote(struct nomad *n, const struct stream_request *rq, const struct stream_route *route,
		       const struct aftermath *first)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), status = 0;
	AUTO(freep) char *command = aftermath_command(first);
	AUTO(err_clear) struct err e = ERR_INIT;
	struct stream_request second = {.task = rq->task,
					.command = command,
					.connect_ms = END_MS,
					.stdin_fd = null,
					.stdout_fd = null,
					.stderr_fd = null};
	struct stream_route way = *route;
	struct aftermath own = {0};

	interrupt_acknowledge(); /* a second signal ends this too */
	if (null >= 0 && aftermath_tag(&own, &e) == 0 && run(n, &second, &way, &own, &status, &e) == 0)
		log_debug("exec: told the processes in the machine that we go");
	else
		log_debug("exec: what runs in the machine was not told that we go: %s", e.msg ? e.msg : "?");
	if (null >= 0)
		close(null);
}

int stream_run(struct nomad *n, const struct stream_request *rq, struct stream_route *route, int *ret_status,
	       struct err *e)
{
	struct aftermath after = {.tty = rq->tty && terminal_is(rq->stdin_fd) && terminal_is(rq->stdout_fd)};

	if (aftermath_tag(&after, e) < 0)
		return -1;
	if (run(n, rq, route, &after, ret_status, e) == 0)
		return 0;
	bool nobody_listens = e->kind == ERR_OUTPUT || e->kind == ERR_INTERRUPTED;
	if (after.left && (after.tty || nobody_listens))
		end_remote(n, rq, route, &after);
	return aftermath_explain(n, rq, &after, e);
}
