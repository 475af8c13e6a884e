/*
 * What Nomad's exec can do at best: one WebSocket to a known allocation, no script, no marks, stdin in frames
 * of 1 MiB, and not a copy more than that needs. The limit that bench/run compares the provider with.
 */
#include "clock.h"
#include "frame.h"
#include "nomad.h"
#include "platform.h"
#include "text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STDIN_MAX   ((size_t)1 << 20)
#define MESSAGE_MAX ((size_t)512 << 10)
#define OPEN_MS     10000

static const char usage[] =
	"usage: bench_raw --alloc JOB                               the ID of its newest allocation\n"
	"       bench_raw [-i] [-n BYTES] [-v] ALLOC TASK COMMAND...   run it there\n"
	"  -i        with our stdin; else there is none\n"
	"  -n BYTES  leave as soon as that many bytes of stdout have come\n"
	"  -v        say on stderr what came when, in milliseconds\n";

struct raw {
	struct http_ws *ws;
	struct ws_decoder *decoder;
	uint64_t enough; /* bytes of stdout to leave after; 0 = until the end */
	uint64_t got;
	bool verbose, said_first;
	int64_t begin;
	bool has_stdin, stdin_ended;
	char *in, *tx;
	size_t tx_pos, tx_end;
	bool ended;
	int status; /* -1 until the exit frame came */
};

static void say(const struct raw *r, const char *what)
{
	if (r->verbose)
		fprintf(stderr, "raw: %3lld ms: %s\n", (long long)(clock_ms() - r->begin), what);
}

static int open_nomad(struct nomad **ret, struct err *e)
{
	bool skip = false;
	const char *skip_verify = getenv("NOMAD_SKIP_VERIFY");
	const char *addr = getenv("NOMAD_ADDR");

	if (skip_verify && text_bool(skip_verify, &skip) < 0)
		return err_set(e, ERR_CONFIG, "NOMAD_SKIP_VERIFY is neither true nor false");
	const struct http_config config = {
		.addr = addr ? addr : "http://127.0.0.1:4646",
		.token = getenv("NOMAD_TOKEN"),
		.namespace_ = getenv("NOMAD_NAMESPACE"),
		.region = getenv("NOMAD_REGION"),
		.cacert = getenv("NOMAD_CACERT"),
		.capath = getenv("NOMAD_CAPATH"),
		.client_cert = getenv("NOMAD_CLIENT_CERT"),
		.client_key = getenv("NOMAD_CLIENT_KEY"),
		.tls_server_name = getenv("NOMAD_TLS_SERVER_NAME"),
		.skip_verify = skip,
		.http_auth = getenv("NOMAD_HTTP_AUTH"),
	};
	return nomad_open(&config, "NOMAD_TOKEN", ret, e);
}

static int print_allocation(const char *job, struct err *e)
{
	AUTO(nomad_freep) struct nomad *n = NULL;
	AUTO(json_freep) cJSON *list = NULL;

	if (open_nomad(&n, e) < 0 || nomad_job_allocations(n, job, NULL, &list, e) < 0)
		return -1;
	const char *id = json_str(nomad_newest(list), "ID");
	if (!id)
		return err_set(e, ERR_NOT_FOUND, "the job '%s' has no allocation", job);
	puts(id);
	return 0;
}

static int write_all(int fd, const char *data, size_t n, struct err *e)
{
	while (n) {
		ssize_t put = write(fd, data, n);

		if (put < 0)
			return err_sys(e, errno, "write");
		data += put;
		n -= (size_t)put;
	}
	return 0;
}

static int take_message(struct raw *r, const struct ws_event *ev, struct err *e)
{
	struct frame f;

	if (frame_decode(ev->data, ev->len, &f, e) < 0)
		return -1;
	if (f.out[FRAME_STDOUT].len && !r->said_first) {
		r->said_first = true;
		say(r, "first output");
	}
	for (int i = 0; i < FRAME_STREAMS; i++)
		if (write_all(i == FRAME_STDOUT ? 1 : 2, f.out[i].data, f.out[i].len, e) < 0)
			return -1;
	r->got += f.out[FRAME_STDOUT].len;
	if (f.exited) {
		say(r, "exit frame");
		r->status = f.exit_code;
	}
	if (r->enough && r->got >= r->enough) {
		r->status = 0;
		r->ended = true;
	}
	return 0;
}

static int receive(struct raw *r, struct err *e)
{
	while (!r->ended) {
		struct ws_event ev;
		struct err down = ERR_INIT;
		char *to;
		size_t n = 0;
		int got = ws_decoder_next(r->decoder, &ev, e);

		if (got < 0)
			return -1;
		if (got > 0) {
			if (ev.opcode == WS_CLOSE)
				r->ended = true;
			else if (ev.opcode == WS_TEXT && take_message(r, &ev, e) < 0)
				return -1;
			continue;
		}
		size_t room = ws_decoder_space(r->decoder, &to);
		if (http_ws_recv(r->ws, to, room, &n, &down) < 0) {
			err_clear(&down);
			r->ended = true;
		} else if (n == 0) {
			return 0;
		}
		ws_decoder_filled(r->decoder, n);
	}
	say(r, "closed");
	return 0;
}

static int read_stdin(struct raw *r, struct err *e)
{
	const uint8_t mask[4] = {0x5a, 0x01, 0xfe, 0x33};
	size_t len = 0;

	while (len < STDIN_MAX) {
		struct pollfd more = {0, POLLIN, 0};
		ssize_t n = read(0, r->in + len, STDIN_MAX - len);

		if (n < 0)
			return err_sys(e, errno, "read stdin");
		len += (size_t)n;
		if (n == 0)
			r->stdin_ended = true;
		if (n == 0 || poll(&more, 1, 0) <= 0)
			break;
	}
	r->tx_pos = r->tx_end = 0;
	if (len)
		r->tx_end = frame_stdin(r->tx, r->in, len, mask);
	if (r->stdin_ended)
		r->tx_end += frame_stdin_close(r->tx + r->tx_end, mask);
	return 0;
}

static int transmit(struct raw *r, struct err *e)
{
	while (r->tx_pos < r->tx_end) {
		size_t n = 0;

		if (http_ws_send(r->ws, r->tx + r->tx_pos, r->tx_end - r->tx_pos, &n, e) < 0)
			return -1;
		if (n == 0)
			break;
		r->tx_pos += n;
	}
	return 0;
}

static int carry(struct raw *r, struct err *e)
{
	while (receive(r, e) == 0) {
		if (r->ended)
			return 0;
		if (transmit(r, e) < 0)
			return -1;

		bool pending = r->tx_pos < r->tx_end;
		bool take = r->has_stdin && !r->stdin_ended && !pending;
		struct pollfd fds[2] = {
			{http_ws_fd(r->ws), (short)(POLLIN | (pending ? POLLOUT : 0)), 0},
			{take ? 0 : -1, POLLIN, 0},
		};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "poll");
		if (fds[1].revents && read_stdin(r, e) < 0)
			return -1;
	}
	return -1;
}

/* Hang up, so that what runs there sees the end of its stdin. */
static void say_goodbye(struct raw *r)
{
	const uint8_t mask[4] = {0};
	struct err ignored = ERR_INIT;

	r->tx_pos = 0;
	r->tx_end = r->stdin_ended ? 0 : frame_stdin_close(r->tx, mask);
	r->tx_end += frame_close(r->tx + r->tx_end, WS_CLOSE_NORMAL, mask);
	if (transmit(r, &ignored) < 0)
		err_clear(&ignored);
}

static int run(struct raw *r, char **argv, struct err *e)
{
	AUTO(nomad_freep) struct nomad *n = NULL;
	AUTO(http_ws_freep) struct http_ws *ws = NULL;
	AUTO(ws_decoder_freep) struct ws_decoder *decoder = ws_decoder_new(MESSAGE_MAX);
	AUTO(freep) char *in = xmalloc(STDIN_MAX);
	AUTO(freep) char *tx = xmalloc(FRAME_STDIN_MAX(STDIN_MAX) + FRAME_SMALL_MAX);

	if (open_nomad(&n, e) < 0)
		return -1;
	if (nomad_exec_open(n, argv[0], argv[1], false, (const char *const *)(argv + 2), OPEN_MS, &ws, e) < 0)
		return -1;
	say(r, "open");
	r->ws = ws;
	r->decoder = decoder;
	r->in = in;
	r->tx = tx;
	if (carry(r, e) < 0)
		return -1;
	say_goodbye(r);
	return r->status < 0 ? err_set(e, ERR_REMOTE, "it ended without an exit code") : 0;
}

int main(int argc, char **argv)
{
	struct raw r = {.begin = clock_ms(), .status = -1};
	struct err e = ERR_INIT;
	int option, failed;

	if (argc == 3 && strcmp(argv[1], "--alloc") == 0) {
		r.status = 0;
		failed = print_allocation(argv[2], &e);
	} else {
		while ((option = getopt(argc, argv, "+in:v")) != -1) {
			if (option == 'i')
				r.has_stdin = true;
			else if (option == 'v')
				r.verbose = true;
			else if (option != 'n' || text_u64(optarg, &r.enough) < 0)
				argc = 0;
		}
		if (argc - optind < 3) {
			fputs(usage, stderr);
			return 2;
		}
		failed = platform_start(&e) < 0 || run(&r, argv + optind, &e) < 0;
	}
	if (failed) {
		fprintf(stderr, "error: %s\n", e.msg);
		err_clear(&e);
		return 125;
	}
	return r.status;
}
