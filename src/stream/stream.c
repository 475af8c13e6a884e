/*
 * `command`: find the machine's allocation, start the fixed script there (bootstrap.sh), and once it says
 * that it runs, give it the command and carry the streams (pump.c). Why so and not by Nomad's exec alone:
 * with the docker driver a command may silently not run at all, and the end of its output may be lost
 * (hashicorp/nomad#27146).
 */
#include "stream.h"

#include "bootstrap_sh.h"
#include "clock.h"
#include "log.h"
#include "nomad.h"
#include "platform.h"
#include "pump.h"
#include "target.h"

#include <errno.h>
#include <poll.h>

#define CONNECT_MS  30000 /* when the caller gave none */
#define READY_MS    5000  /* for one try: it takes some 60 ms */
#define PAUSE_MS    1000  /* between tries at most */
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
		   int64_t deadline, int *ret_status, bool *ret_again, struct err *e)
{
	const char *const shell[] = {"/bin/sh", "-c", bootstrap_sh, NULL};
	AUTO(http_ws_freep) struct http_ws *ws = NULL;
	AUTO(pump_freep) struct pump *pump = NULL;
	struct target t;
	int64_t begin = clock_ms(), left = clock_left(deadline);

	*ret_again = false;
	if (target_choose(n, rq, route, &t, e) < 0)
		return -1;
	if (nomad_exec_open(t.nomad, t.alloc, rq->task, false, shell, left < 1 ? 1 : left, &ws, e) < 0) {
		/* a server without an answer says nothing against the allocation */
		*ret_again = (t.direct || !may_pass(e)) ? target_failed(&t, e, route) : true;
		return err_wrap(e, "open a shell in allocation %.8s", t.alloc);
	}

	const struct pump_config config = {
		.line = {ws, line_fd, line_recv, line_send},
		.stdin_fd = rq->stdin_fd,
		.stdout_fd = rq->stdout_fd,
		.stderr_fd = rq->stderr_fd,
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
	return pump_run(pump, rq->command, ret_status, e);
}

/* Return: 0, or -1 when interrupted. */
static int pause_for(int64_t ms, struct err *e)
{
	struct pollfd f = {interrupt_fd(), POLLIN, 0};

	if (poll(&f, 1, (int)ms) < 0 && errno != EINTR)
		return err_sys(e, errno, "poll");
	return interrupt_signal() ? interrupt_error(e) : 0;
}

int stream_run(struct nomad *n, const struct stream_request *rq, struct stream_route *route, int *ret_status,
	       struct err *e)
{
	int64_t deadline = clock_ms() + (rq->connect_ms ? rq->connect_ms : CONNECT_MS);
	int64_t pause = 0;

	for (unsigned tries = 1;; tries++) {
		struct err why = ERR_INIT;
		bool again;

		if (attempt(n, rq, route, deadline, ret_status, &again, &why) == 0)
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
