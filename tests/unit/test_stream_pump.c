/* The pump against a fake Nomad: a child process at the other end of a socketpair, which does what the test
 * says. */
/* NOLINTBEGIN(bugprone-not-null-terminated-result): these are bytes, not strings */
#include "unit.h"

#include "base64.h"
#include "buf.h"
#include "clock.h"
#include "platform.h"
#include "pump.h"
#include "websocket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define READY   "\036dpn-ready\n"
#define PATTERN 16777216 /* bytes that the large tests carry */

static char pattern(size_t i)
{
	return (char)((i * 2654435761U) >> 11);
}

/* -- the line, and what is at its other end -- */

static int sock_fd(void *arg)
{
	return *(int *)arg;
}

static int moved(ssize_t n, size_t *ret_n, struct err *e)
{
	*ret_n = n > 0 ? (size_t)n : 0;
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return 0;
	return err_set(e, ERR_CONNECT, "the line broke");
}

static int sock_recv(void *arg, void *to, size_t n, size_t *ret_n, struct err *e)
{
	return moved(recv(*(int *)arg, to, n, MSG_DONTWAIT), ret_n, e);
}

static int sock_send(void *arg, const void *data, size_t n, size_t *ret_n, struct err *e)
{
	return moved(send(*(int *)arg, data, n, MSG_DONTWAIT | MSG_NOSIGNAL), ret_n, e);
}

/* In the child: a failed check ends it with a code that the parent sees. */
#define NEED(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "peer, line %d: %s\n", __LINE__, #condition);                        \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

struct peer {
	int fd;
	uint32_t seed;
	bool pieces; /* write to the line in random small pieces */
	char nonce[33];
	int flag;         /* what the head said of stdin */
	struct buf input; /* stdin data not taken yet */
	bool input_closed;
	bool line_closed; /* a WebSocket close came */
	unsigned heartbeats, pings, pongs, sizes;
	char ping[8]; /* the payload of the last one */
};

static uint32_t next_random(struct peer *p)
{
	p->seed = p->seed * 1103515245 + 12345;
	return p->seed >> 8;
}

static void put(struct peer *p, const char *data, size_t n)
{
	while (n) {
		size_t piece = p->pieces ? 1 + next_random(p) % 3000 : n;
		ssize_t put;

		if (piece > n)
			piece = n;
		put = send(p->fd, data, piece, MSG_NOSIGNAL);
		if (put < 0)
			_exit(3); /* hung up on us */
		data += put;
		n -= (size_t)put;
	}
}

static void put_frame(struct peer *p, int first, const void *payload, size_t n)
{
	AUTO(freep) char *frame = xmalloc(n + 10);
	size_t head = 2;

	frame[0] = (char)first;
	if (n < 126) {
		frame[1] = (char)n;
	} else if (n < 65536) {
		frame[1] = 126;
		frame[2] = (char)(n >> 8);
		frame[3] = (char)n;
		head = 4;
	} else {
		frame[1] = 127;
		for (int i = 0; i < 8; i++)
			frame[2 + i] = (char)((uint64_t)n >> (8 * (7 - i)));
		head = 10;
	}
	if (n)
		memcpy(frame + head, payload, n);
	put(p, frame, head + n);
}

static void put_text(struct peer *p, const char *json)
{
	put_frame(p, 0x81, json, strlen(json));
}

static void put_data(struct peer *p, int stream, const char *data, size_t n)
{
	static const char *const heads[] = {"", "{\"stdout\":{\"data\":\"", "{\"stderr\":{\"data\":\""};
	AUTO(freep) char *json = xmalloc(BASE64_LEN(n) + 32);
	size_t at = strlen(heads[stream]);

	memcpy(json, heads[stream], at);
	at += base64_encode(json + at, data, n);
	memcpy(json + at, "\"}}", 3);
	put_frame(p, 0x81, json, at + 3);
}

static void put_string(struct peer *p, int stream, const char *s)
{
	put_data(p, stream, s, strlen(s));
}

static void put_marks(struct peer *p, int code)
{
	for (int stream = 1; stream <= 2; stream++) {
		AUTO(freep) char *mark = xasprintf("\036%s:%d\n", p->nonce, code);

		put_string(p, stream, mark);
	}
}

static void put_close(struct peer *p, int code, const char *reason)
{
	AUTO(freep) char *payload = xasprintf("%c%c%s", code >> 8, code & 0xff, reason);

	put_frame(p, 0x88, payload, 2 + strlen(reason));
}

static bool get(struct peer *p, void *to, size_t n)
{
	for (char *c = to; n;) {
		ssize_t got = recv(p->fd, c, n, 0);

		if (got <= 0)
			return false;
		c += got;
		n -= (size_t)got;
	}
	return true;
}

/* Read one frame of the client's. Return: false when it has hung up. */
static bool get_frame(struct peer *p)
{
	uint8_t head[14];
	size_t n, size = 0;

	if (!get(p, head, 2))
		return false;
	NEED(head[0] & 0x80 && head[1] & 0x80);
	n = head[1] & 0x7f;
	if (n == 126)
		size = 2;
	else if (n == 127)
		size = 8;
	NEED(get(p, head + 2, size + 4));
	for (size_t i = 0; i < size; i++)
		n = (i ? n << 8 : 0) | head[2 + i];
	AUTO(freep) char *payload = xmalloc(n + 1);
	NEED(get(p, payload, n));
	ws_mask(payload, n, head + 2 + size);
	payload[n] = '\0';
	switch (head[0] & 0x0f) {
	case WS_PING:
		NEED(n == sizeof(p->ping));
		memcpy(p->ping, payload, n);
		p->pings++;
		return true;
	case WS_PONG:
		p->pongs++;
		return true;
	case WS_CLOSE:
		NEED(n == 2 && (uint8_t)payload[0] == 3 && (uint8_t)payload[1] == 0xe8);
		p->line_closed = true;
		return true;
	default:
		NEED((head[0] & 0x0f) == WS_TEXT);
	}
	if (strcmp(payload, "{}") == 0) {
		p->heartbeats++;
	} else if (strcmp(payload, "{\"stdin\":{\"close\":true}}") == 0) {
		NEED(!p->input_closed);
		p->input_closed = true;
	} else if (strcmp(payload, "{\"tty_size\":{\"height\":33,\"width\":101}}") == 0) {
		p->sizes++;
	} else {
		NEED(n > 21 && memcmp(payload, "{\"stdin\":{\"data\":\"", 18) == 0 && !p->input_closed);
		size_t len = base64_decode(payload, payload + 18, n - 21);
		NEED(len != (size_t)-1 && buf_add(&p->input, payload, len) == 0);
	}
	return true;
}

static char *get_line(struct peer *p)
{
	char *end;

	while (!p->input.data || !(end = memchr(p->input.data, '\n', p->input.len)))
		NEED(get_frame(p));
	size_t n = (size_t)(end - p->input.data);
	char *line = xstrndup(p->input.data, n);
	buf_consume(&p->input, n + 1);
	return line;
}

/* What bootstrap.sh does first; the command's line is returned. */
static char *begin(struct peer *p)
{
	put_string(p, 1, READY);
	AUTO(freep) char *first = get_line(p);
	NEED(strlen(first) == 34 && first[32] == ' ');
	memcpy(p->nonce, first, 32);
	p->flag = first[33] - '0';
	return get_line(p);
}

static void skip_begin(struct peer *p)
{
	free(begin(p));
}

/* Read until the client hangs up. */
static void until_gone(struct peer *p)
{
	while (get_frame(p))
		;
}

/* -- one session -- */

struct session {
	void (*peer)(struct peer *p);
	bool pieces;
	const char *command;         /* NULL = "true" */
	const char *input;           /* NULL = /dev/null */
	size_t input_pattern;        /* or so many bytes of the pattern, from a process */
	bool input_open;             /* stdin never ends */
	bool slow;                   /* stdout and stderr are read slowly */
	size_t out_close, err_close; /* hang up stdout or stderr after so many bytes; 0 = read all */
	int stdout_file;             /* when not 0, instead of a pipe */
	bool out_socket;
	int64_t heartbeat_ms, silence_ms, exit_ms, ready_ms;
	/* what came of it */
	int ready, result, status, peer_status;
	bool again;
	struct err e;
	struct buf out, err;
};

static pid_t child(void)
{
	fflush(NULL);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		alarm(60);
	return pid;
}

/* A process that writes the pattern to a pipe. */
static int start_writer(const struct session *s, pid_t *ret_pid)
{
	int p[2];

	if (!s->input && !s->input_pattern && !s->input_open)
		return open("/dev/null", O_RDONLY);
	assert_int_equal(pipe(p), 0);
	*ret_pid = child();
	if (*ret_pid == 0) {
		size_t n = s->input ? strlen(s->input) : s->input_pattern;
		uint32_t seed = 7;

		close(p[0]);
		signal(SIGPIPE, SIG_DFL);
		for (size_t at = 0; at < n;) {
			char piece[100000];
			seed = seed * 1103515245 + 12345;
			size_t len = 1 + (seed >> 8) % sizeof(piece);

			if (len > n - at)
				len = n - at;
			for (size_t i = 0; i < len; i++)
				piece[i] = (char)(s->input ? s->input[at + i] : pattern(at + i));
			for (size_t done = 0; done < len;) {
				ssize_t put = write(p[1], piece + done, len - done);

				if (put <= 0)
					_exit(0);
				done += (size_t)put;
			}
			at += len;
		}
		if (s->input_open)
			pause();
		_exit(0);
	}
	close(p[1]);
	return p[0];
}

/*
 * A process that reads an output and gives it back through a temporary file, so that the session can be read
 * slowly, or not to its end.
 */
static int start_reader(const struct session *s, size_t stop, bool is_socket, FILE *keep, pid_t *ret_pid)
{
	int p[2];

	if (is_socket)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	else
		assert_int_equal(pipe(p), 0);
	*ret_pid = child();
	if (*ret_pid == 0) {
		char piece[50000];
		size_t total = 0;
		ssize_t n;

		close(p[1]);
		while ((!stop || total < stop) &&
		       (n = read(p[0], piece, s->slow ? 20000 : sizeof(piece))) > 0) {
			NEED(write(fileno(keep), piece, (size_t)n) == n);
			total += (size_t)n;
			if (s->slow && total % 7 == 0)
				poll(NULL, 0, 1);
		}
		_exit(0);
	}
	close(p[0]);
	return p[1];
}

static void read_back(FILE *f, struct buf *to)
{
	char piece[65536];
	size_t n;

	rewind(f);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		assert_int_equal(buf_add(to, piece, n), 0);
	fclose(f);
}

static int reap(pid_t pid)
{
	int status = 0;

	if (pid > 0)
		assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run(struct session *s)
{
	int line[2], flags[3];
	pid_t peer, writer = 0, readers[2] = {0, 0};
	FILE *keep[2] = {tmpfile(), tmpfile()};

	assert_true(keep[0] && keep[1]);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
	for (int i = 0; i < 2; i++)
		fcntl(line[i], F_SETFD, FD_CLOEXEC);
	peer = child();
	if (peer == 0) {
		struct peer p = {.fd = line[1], .seed = 42, .pieces = s->pieces};

		close(line[0]);
		s->peer(&p);
		_exit(0);
	}
	close(line[1]);
	int in = start_writer(s, &writer);
	int out = s->stdout_file ? s->stdout_file
				 : start_reader(s, s->out_close, s->out_socket, keep[0], &readers[0]);
	int err = start_reader(s, s->err_close, false, keep[1], &readers[1]);
	const int fds[3] = {in, out, err};
	for (int i = 0; i < 3; i++)
		flags[i] = fcntl(fds[i], F_GETFL);

	struct pump_config config = {
		.line = {&line[0], sock_fd, sock_recv, sock_send},
		.stdin_fd = in,
		.stdout_fd = out,
		.stderr_fd = err,
		.heartbeat_ms = s->heartbeat_ms,
		.silence_ms = s->silence_ms,
		.exit_ms = s->exit_ms,
	};
	AUTO(pump_freep) struct pump *pump = pump_new(&config);
	s->again = false;
	s->result = -1;
	s->ready = pump_wait_ready(pump, clock_ms() + (s->ready_ms ? s->ready_ms : 20000), &s->again, &s->e);
	if (s->ready == 0)
		s->result = pump_run(pump, s->command ? s->command : "true", &s->status, &s->e);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fcntl(fds[i], F_GETFL), flags[i]);
	close(line[0]);
	close(in);
	if (!s->stdout_file)
		close(out);
	close(err);
	if (s->input_open)
		kill(writer, SIGKILL);
	s->peer_status = reap(peer);
	reap(writer);
	for (int i = 0; i < 2; i++)
		assert_int_equal(reap(readers[i]), 0);
	read_back(keep[0], &s->out);
	read_back(keep[1], &s->err);
}

static void done(struct session *s)
{
	buf_clear(&s->out);
	buf_clear(&s->err);
	err_clear(&s->e);
}

static void expect_success(struct session *s, int status)
{
	if (s->e.msg)
		fprintf(stderr, "%s\n", s->e.msg);
	assert_int_equal(s->result, 0);
	assert_int_equal(s->status, status);
	assert_int_equal(s->peer_status, 0);
}

static void expect_failure(struct session *s, enum err_kind kind, const char *message)
{
	assert_int_equal(s->result, -1);
	assert_int_equal(s->e.kind, kind);
	assert_string_equal(s->e.msg, message);
}

static void assert_pattern(const struct buf *b, size_t n)
{
	assert_int_equal(b->len, n);
	for (size_t i = 0; i < n; i++)
		if (b->data[i] != pattern(i))
			fail_msg("byte %zu differs", i);
}

/* -- tests -- */

static void peer_hello(struct peer *p)
{
	AUTO(freep) char *command = begin(p);

	NEED(p->flag == 0 && strcmp(command, "echo \\\\ a\\nb") == 0 && p->input.len == 0 &&
	     !p->input_closed);
	put_string(p, 1, "hello ");
	put_string(p, 2, "oops\n");
	put_string(p, 1, "world\n");
	put_marks(p, 3);
	until_gone(p);
	/* closed only now, to let the script end */
	NEED(p->input_closed && p->line_closed && p->input.len == 0);
}

static void hello(void **state)
{
	struct session s = {.peer = peer_hello, .command = "echo \\ a\nb"};

	(void)state;
	run(&s);
	expect_success(&s, 3);
	assert_string_equal(buf_str(&s.out), "hello world\n");
	assert_string_equal(buf_str(&s.err), "oops\n");
	done(&s);
	struct session bits = {
		.peer = peer_hello, .command = "echo \\ a\nb", .pieces = true, .out_socket = true};
	run(&bits);
	expect_success(&bits, 3);
	assert_string_equal(buf_str(&bits.out), "hello world\n");
	done(&bits);
}

static void peer_bytewise(struct peer *p)
{
	skip_begin(p);
	for (const char *c = "hello\n"; *c; c++)
		put_data(p, 1, c, 1);
	AUTO(freep) char *mark = xasprintf("\036%s:42\n", p->nonce);
	for (const char *c = mark; *c; c++) {
		/* both marks, a byte each in turn, and fragmented frames between */
		put_data(p, 1, c, 1);
		put_frame(p, 0x01, "{\"std", 5);
		put_frame(p, 0x89, "x", 1);
		AUTO(freep) char *json = xmalloc(64);
		size_t n = strlen("err\":{\"data\":\"");
		memcpy(json, "err\":{\"data\":\"", n);
		n += base64_encode(json + n, c, 1);
		memcpy(json + n, "\"}}", 3);
		put_frame(p, 0x80, json, n + 3);
	}
	until_gone(p);
	NEED(p->pongs == strlen(mark));
}

static void marks_byte_by_byte(void **state)
{
	struct session s = {.peer = peer_bytewise};

	(void)state;
	run(&s);
	expect_success(&s, 42);
	assert_string_equal(buf_str(&s.out), "hello\n");
	assert_string_equal(buf_str(&s.err), "");
	done(&s);
}

/* Everything comes back as it went, in pieces of random size. */
static void peer_echo(struct peer *p)
{
	skip_begin(p);
	NEED(p->flag == 1);
	while (!p->input_closed || p->input.len) {
		while (p->input.len) {
			size_t n = 1 + next_random(p) % (next_random(p) % 8 ? 1024 : 100000);

			if (n > p->input.len)
				n = p->input.len;
			put_data(p, 1, p->input.data, n);
			put_data(p, 2, p->input.data, n);
			buf_consume(&p->input, n);
		}
		if (!p->input_closed)
			NEED(get_frame(p));
	}
	put_marks(p, 0);
	until_gone(p);
}

static void large_echo(void **state)
{
	struct session s = {.peer = peer_echo, .input_pattern = PATTERN};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	assert_pattern(&s.out, PATTERN);
	assert_pattern(&s.err, PATTERN);
	done(&s);
}

static void large_echo_to_slow_readers(void **state)
{
	struct session s = {.peer = peer_echo, .input_pattern = PATTERN / 2, .slow = true, .pieces = true};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	assert_pattern(&s.out, PATTERN / 2);
	assert_pattern(&s.err, PATTERN / 2);
	done(&s);
}

static void large_echo_to_a_file_and_a_socket(void **state)
{
	FILE *f = tmpfile();
	struct session s = {.peer = peer_echo, .input_pattern = PATTERN / 4, .stdout_file = fileno(f)};
	struct session socket = {
		.peer = peer_echo, .input_pattern = PATTERN / 4, .out_socket = true, .slow = true};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	read_back(f, &s.out);
	assert_pattern(&s.out, PATTERN / 4);
	done(&s);
	run(&socket);
	expect_success(&socket, 0);
	assert_pattern(&socket.out, PATTERN / 4);
	done(&socket);
}

/* stdin to its end, then the answer: a slow reader of the line. */
static void peer_count(struct peer *p)
{
	size_t total = 0;

	skip_begin(p);
	for (;;) {
		for (size_t i = 0; i < p->input.len; i++)
			NEED(p->input.data[i] == pattern(total + i));
		total += p->input.len;
		p->input.len = 0;
		if (p->input_closed)
			break;
		if (next_random(p) % 4 == 0)
			poll(NULL, 0, 3);
		NEED(get_frame(p));
	}
	AUTO(freep) char *text = xasprintf("%zu\n", total);
	put_string(p, 1, text);
	put_marks(p, 0);
	until_gone(p);
	NEED(p->input.len == 0);
}

static void half_close(void **state)
{
	struct session s = {.peer = peer_count, .input_pattern = PATTERN};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	assert_string_equal(buf_str(&s.out), "16777216\n");
	done(&s);
}

static void peer_goodbye(struct peer *p)
{
	skip_begin(p);
	NEED(p->flag == 1);
	while (p->input.len < 6)
		NEED(get_frame(p));
	put_data(p, 1, p->input.data, 6);
	p->input.len = 0;
	put_marks(p, 0);
	until_gone(p);
	NEED(p->input_closed && p->line_closed);
	NEED(p->input.len == 32 && memcmp(p->input.data, p->nonce, 32) == 0);
}

static void goodbye_on_an_open_stdin(void **state)
{
	struct session s = {.peer = peer_goodbye, .input = "typed\n", .input_open = true};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	assert_string_equal(buf_str(&s.out), "typed\n");
	done(&s);
}

/* Much output from a command that never reads its stdin: nothing may wait for the stdin. */
static void peer_deaf(struct peer *p)
{
	char piece[1000];

	skip_begin(p);
	for (size_t at = 0; at < PATTERN / 4; at += sizeof(piece)) {
		size_t n = PATTERN / 4 - at < sizeof(piece) ? PATTERN / 4 - at : sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(at + i);
		put_data(p, 1, piece, n);
	}
	/* also longer than the silence that is taken for a dead line */
	poll(NULL, 0, 600);
	put_marks(p, 9);
}

static void stdin_never_read(void **state)
{
	struct session s = {.peer = peer_deaf, .input_pattern = PATTERN, .slow = true, .silence_ms = 200};

	(void)state;
	run(&s);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.status, 9);
	assert_pattern(&s.out, PATTERN / 4);
	done(&s);
}

static void peer_flood(struct peer *p)
{
	char piece[1000];

	memset(piece, 'y', sizeof(piece));
	skip_begin(p);
	for (;;) {
		put_data(p, 1, piece, sizeof(piece));
		put_data(p, 2, piece, sizeof(piece));
	}
}

static void reader_of_stdout_gone(void **state)
{
	struct session s = {.peer = peer_flood, .out_close = 10};

	(void)state;
	run(&s);
	expect_failure(&s, ERR_OUTPUT, "write stdout: Broken pipe");
	assert_int_equal(s.peer_status, 3);
	done(&s);
	int full = open("/dev/full", O_WRONLY);
	struct session no_room = {.peer = peer_flood, .stdout_file = full};
	run(&no_room);
	expect_failure(&no_room, ERR_OUTPUT, "write stdout: No space left on device");
	done(&no_room);
	close(full);
}

static void peer_both(struct peer *p)
{
	char piece[1000];

	memset(piece, 'y', sizeof(piece));
	skip_begin(p);
	for (int i = 0; i < 1000; i++) {
		put_data(p, 2, piece, sizeof(piece));
		put_data(p, 1, piece, sizeof(piece));
	}
	put_marks(p, 5);
	until_gone(p);
}

static void reader_of_stderr_gone(void **state)
{
	struct session s = {.peer = peer_both, .err_close = 10};

	(void)state;
	run(&s);
	expect_success(&s, 5);
	assert_int_equal(s.out.len, 1000000);
	done(&s);
}

static void peer_exit_first(struct peer *p)
{
	skip_begin(p);
	put_text(p, "{\"exited\":true,\"result\":{\"exit_code\":99}}");
	put_string(p, 1, "late\n");
	put_marks(p, 4);
	until_gone(p);
}

static void exit_frame_before_the_output(void **state)
{
	struct session s = {.peer = peer_exit_first};

	(void)state;
	run(&s);
	expect_success(&s, 4);
	assert_string_equal(buf_str(&s.out), "late\n");
	done(&s);
}

static void peer_after_mark(struct peer *p)
{
	skip_begin(p);
	put_marks(p, 6);
	put_string(p, 1, "a background process");
	put_string(p, 2, "a background process");
	until_gone(p);
}

/* poll() tells of a reader that has gone, so nothing need be written. */
static void peer_silent_command(struct peer *p)
{
	skip_begin(p);
	put_string(p, 1, "x");
	until_gone(p);
	NEED(p->line_closed);
}

static void reader_gone_while_silent(void **state)
{
	struct session s = {.peer = peer_silent_command, .out_close = 1};

	(void)state;
	for (int i = 0; i < 2; i++) {
		s.out_socket = i == 1;
		run(&s);
		expect_failure(&s, ERR_OUTPUT, "write stdout: Broken pipe");
		assert_int_equal(s.peer_status, 0);
		done(&s);
	}
}

static void output_behind_the_marks_is_dropped(void **state)
{
	struct session s = {.peer = peer_after_mark};

	(void)state;
	run(&s);
	expect_success(&s, 6);
	assert_int_equal(s.out.len + s.err.len, 0);
	done(&s);
}

/* Without the marks it is a failure, and all that came is there, also what looked like a mark. */
static void peer_cut(struct peer *p)
{
	skip_begin(p);
	put_string(p, 1, "some\036");
	put_data(p, 1, p->nonce, 10);
}

static void peer_killed(struct peer *p)
{
	peer_cut(p);
	put_text(p, "{\"exited\":true,\"result\":{\"exit_code\":137}}");
	put_close(p, 1000, "");
}

static void peer_killed_and_still(struct peer *p)
{
	peer_cut(p);
	put_text(p, "{\"exited\":true,\"result\":{\"exit_code\":137}}");
	until_gone(p);
}

static void peer_one_mark(struct peer *p)
{
	peer_cut(p);
	AUTO(freep) char *mark = xasprintf("\036%s:0\n", p->nonce);
	put_string(p, 2, mark);
}

static void peer_reason(struct peer *p)
{
	peer_cut(p);
	put_close(p, 1011, "node \033[31mlost");
}

static void ends_without_marks(void **state)
{
	static const struct {
		void (*peer)(struct peer *p);
		enum err_kind kind;
		const char *message;
	} cases[] = {
		{peer_cut, ERR_CONNECT, "the line broke"},
		{peer_one_mark, ERR_CONNECT, "the line broke"},
		{peer_killed, ERR_REMOTE, "the remote shell ended before its command, with code 137"},
		{peer_killed_and_still, ERR_REMOTE,
		 "the remote shell ended before its command, with code 137"},
		{peer_reason, ERR_REMOTE, "Nomad closed the line: node ?[31mlost"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct session s = {.peer = cases[i].peer, .exit_ms = 200};

		run(&s);
		assert_int_equal(s.ready, 0);
		expect_failure(&s, cases[i].kind, cases[i].message);
		assert_int_equal(s.out.len, 15);
		assert_memory_equal(s.out.data, "some\036", 5);
		done(&s);
	}
}

static void peer_not_run(struct peer *p)
{
	put_text(p, "{\"exited\":true,\"result\":{}}");
	until_gone(p);
	NEED(p->input.len == 0);
}

static void peer_no_shell(struct peer *p)
{
	put_string(p, 1, "OCI runtime exec failed: \"/bin/sh\": no such file\r\n");
	put_text(p, "{\"exited\":true,\"result\":{\"exit_code\":127}}");
	until_gone(p);
}

static void peer_mute(struct peer *p)
{
	put_string(p, 2, "a warning\n");
	until_gone(p);
	NEED(p->input.len == 0 && p->input_closed && p->line_closed);
}

static void peer_denied(struct peer *p)
{
	put_close(p, 1011, "Permission denied");
	until_gone(p);
}

static void peer_gone(struct peer *p)
{
	put_close(p, 1008, "Unknown allocation \"x\"");
	until_gone(p);
}

static void peer_breaks(struct peer *p)
{
	put(p, "\x81", 1);
}

static void peer_garbage(struct peer *p)
{
	put(p, "HTTP/1.1 400 Bad", 16);
	until_gone(p);
}

/* Nothing of the command's was sent, so it can be tried again, unless that is of no use. */
static void ends_before_ready(void **state)
{
	static const struct {
		void (*peer)(struct peer *p);
		enum err_kind kind;
		bool again;
		const char *message;
	} cases[] = {
		{peer_not_run, ERR_REMOTE, true, "the remote shell ended at once with code 0"},
		{peer_no_shell, ERR_REMOTE, true,
		 "the remote shell ended at once with code 127: OCI runtime exec failed: \"/bin/sh\": no "
		 "such file"},
		{peer_mute, ERR_TIMEOUT, true, "the remote shell says nothing"},
		{peer_denied, ERR_AUTH, false, "Nomad closed the line: Permission denied"},
		{peer_gone, ERR_REMOTE, true, "Nomad closed the line: Unknown allocation \"x\""},
		{peer_breaks, ERR_CONNECT, true, "the line broke"},
		{peer_garbage, ERR_REMOTE, false, "WebSocket: a reserved bit is set"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct session s = {.peer = cases[i].peer, .ready_ms = 300, .input = "kept"};

		run(&s);
		assert_int_equal(s.ready, -1);
		expect_failure(&s, cases[i].kind, cases[i].message);
		assert_int_equal(s.again, cases[i].again);
		assert_int_equal(s.peer_status, 0);
		done(&s);
	}
}

static void peer_early_stderr(struct peer *p)
{
	put_string(p, 1, "a banner\n");
	put_string(p, 2, "sh: warning: no such locale\n");
	skip_begin(p);
	put_string(p, 2, "then\n");
	put_marks(p, 0);
	until_gone(p);
}

static void what_the_shell_says_before_ready(void **state)
{
	struct session s = {.peer = peer_early_stderr};

	(void)state;
	run(&s);
	expect_success(&s, 0);
	assert_string_equal(buf_str(&s.out), "");
	assert_string_equal(buf_str(&s.err), "sh: warning: no such locale\nthen\n");
	done(&s);
}

static void peer_bad_base64(struct peer *p)
{
	skip_begin(p);
	put_text(p, "{\"stdout\":{\"data\":\"a\"}}");
	until_gone(p);
	NEED(p->line_closed);
}

static void peer_bad_json(struct peer *p)
{
	skip_begin(p);
	put_text(p, "{\"stdout\":}");
	until_gone(p);
}

static void peer_bad_utf8(struct peer *p)
{
	skip_begin(p);
	put_text(p, "{\"\xff\":1}");
	until_gone(p);
}

static void peer_masked(struct peer *p)
{
	skip_begin(p);
	put(p, "\x81\x82xxxx{}", 8);
	until_gone(p);
}

static void peer_oversized(struct peer *p)
{
	skip_begin(p);
	put(p, "\x82\x7f\0\0\0\0\x7f\0\0\0", 10);
	until_gone(p);
}

static void broken_protocol(void **state)
{
	static const struct {
		void (*peer)(struct peer *p);
		const char *message;
	} cases[] = {
		{peer_bad_base64, "Nomad sent a frame whose stdout is no valid base64"},
		{peer_bad_json, "a frame from Nomad: invalid JSON at line 1, column 11"},
		{peer_bad_utf8, "WebSocket: a text message is no UTF-8"},
		{peer_masked, "WebSocket: a frame from the server is masked"},
		{peer_oversized, "WebSocket: a message is larger than we take"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct session s = {.peer = cases[i].peer};

		run(&s);
		assert_int_equal(s.ready, 0);
		expect_failure(&s, ERR_REMOTE, cases[i].message);
		assert_int_equal(s.peer_status, 0);
		done(&s);
	}
}

static void peer_answers_pings(struct peer *p)
{
	skip_begin(p);
	while (p->pings < 20 || p->heartbeats < 20) {
		unsigned before = p->pings;

		NEED(get_frame(p));
		if (p->pings != before)
			put_frame(p, 0x8a, p->ping, sizeof(p->ping));
	}
	put_marks(p, 0);
	until_gone(p);
}

/* It answers the pings until all of a large stdin is read; the silence after that counts again. */
static void peer_silent_later(struct peer *p)
{
	skip_begin(p);
	while (p->input.len < 200000 || p->pings < 3) {
		unsigned before = p->pings;

		NEED(get_frame(p));
		if (p->pings != before)
			put_frame(p, 0x8a, p->ping, sizeof(p->ping));
		if (p->input.len == 200000)
			p->pings++;
	}
	until_gone(p);
}

static void peer_silent(struct peer *p)
{
	skip_begin(p);
	until_gone(p);
	NEED(p->heartbeats && p->pings);
}

static void heartbeats_and_silence(void **state)
{
	struct session idle = {.peer = peer_answers_pings, .heartbeat_ms = 20, .silence_ms = 300};
	struct session dead = {.peer = peer_silent, .heartbeat_ms = 200, .silence_ms = 1000};

	(void)state;
	run(&idle);
	expect_success(&idle, 0);
	done(&idle);
	run(&dead);
	expect_failure(&dead, ERR_CONNECT, "the line to Nomad is silent for 1 s");
	assert_int_equal(dead.peer_status, 0);
	done(&dead);
	struct session later = {.peer = peer_silent_later,
				.heartbeat_ms = 100,
				.silence_ms = 1000,
				.input_pattern = 200000,
				.input_open = true};
	run(&later);
	expect_failure(&later, ERR_CONNECT, "the line to Nomad is silent for 1 s");
	assert_int_equal(later.peer_status, 0);
	done(&later);
}

static void peer_interrupts(struct peer *p)
{
	skip_begin(p);
	put_string(p, 1, "x");
	kill(getppid(), SIGTERM);
	until_gone(p);
	NEED(p->line_closed && p->input_closed && p->input.len == 0);
}

static void interrupted(void **state)
{
	struct session s = {.peer = peer_interrupts, .input = "", .input_open = true};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(interrupt_install(&e), 0);
	run(&s);
	interrupt_acknowledge();
	expect_failure(&s, ERR_INTERRUPTED, "interrupted (SIGTERM)");
	assert_int_equal(s.e.status, SIGTERM);
	assert_int_equal(s.peer_status, 0);
	done(&s);
}

static void peer_long_command(struct peer *p)
{
	AUTO(freep) char *command = begin(p);

	NEED(strlen(command) == 6000000);
	for (size_t i = 0; i < 6000000; i += 2)
		NEED(memcmp(command + i, i % 4 ? "\\\\" : "\\n", 2) == 0);
	while (p->input.len < 5)
		NEED(get_frame(p));
	NEED(memcmp(p->input.data, "input", 5) == 0);
	put_marks(p, 0);
	until_gone(p);
}

static void long_command(void **state)
{
	AUTO(freep) char *command = xmalloc(3000001);
	struct session s = {.peer = peer_long_command, .command = command, .input = "input"};

	(void)state;
	for (size_t i = 0; i < 3000000; i++)
		command[i] = i % 2 ? '\\' : '\n';
	command[3000000] = '\0';
	run(&s);
	expect_success(&s, 0);
	done(&s);
}

/* A stdin that cannot be read is at its end. */
static void closed_stdin(void **state)
{
	int line[2] = {-1, -1};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
	pid_t pid = child();
	if (pid == 0) {
		struct peer p = {.fd = line[1]};

		close(line[0]);
		skip_begin(&p);
		NEED(p.flag == 0);
		put_marks(&p, 0);
		until_gone(&p);
		_exit(0);
	}
	close(line[1]);
	struct pump_config config = {.line = {&line[0], sock_fd, sock_recv, sock_send},
				     .stdin_fd = 9999,
				     .stdout_fd = 1,
				     .stderr_fd = 2};
	AUTO(pump_freep) struct pump *pump = pump_new(&config);
	bool again;
	int status = -1;
	assert_int_equal(pump_wait_ready(pump, clock_ms() + 20000, &again, &e), 0);
	assert_int_equal(pump_run(pump, "true", &status, &e), 0);
	assert_int_equal(status, 0);
	close(line[0]);
	assert_int_equal(reap(pid), 0);
}

/* -- on a terminal -- */

static void peer_tty(struct peer *p)
{
	put_string(p, 1,
		   "sh: a warning\r\n"
		   "\036dpn-ready\r\n");
	AUTO(freep) char *first = get_line(p);
	AUTO(freep) char *second = get_line(p);
	AUTO(freep) char *third = get_line(p);
	NEED(p->heartbeats == 0 && strspn(first, "0123456789") == 32);
	NEED(strcmp(first + 32, " 33 101 xterm-1.2+x") == 0);
	NEED(strcmp(second, "echo\\0011\\\\x") == 0 && strcmp(third, "") == 0);
	memcpy(p->nonce, first, 32);
	/* echo, then the start mark and output in one piece */
	put_string(p, 1, first);
	AUTO(freep) char *start = xasprintf("\r\n\036%s:0\r\nits own\r\n", p->nonce);
	put_string(p, 1, start);
	AUTO(freep) char *typed = get_line(p);
	NEED(strcmp(typed, "\003\032key") == 0);
	AUTO(freep) char *end = xasprintf("more\036%s:7\r\n", p->nonce);
	put_string(p, 1, end);
	AUTO(freep) char *empty = get_line(p);
	AUTO(freep) char *told = get_line(p);
	NEED(strcmp(empty, "") == 0 && strcmp(told, p->nonce) == 0);
	put_string(p, 1, "an echo");
	put_string(p, 1, end + 4);
	until_gone(p);
	NEED(p->line_closed && !p->input_closed && p->sizes == 1);
}

static void tty_session(void **state)
{
	const struct winsize size = {.ws_row = 33, .ws_col = 101};
	struct termios before, during, after;
	int line[2], master, slave, status = -1;
	struct err e = ERR_INIT;
	char out[256] = "";
	bool again;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	pid_t pid = child();
	if (pid == 0) {
		struct peer p = {.fd = line[1]};

		close(line[0]);
		peer_tty(&p);
		_exit(0);
	}
	/* the user types once he sees something, in raw mode */
	pid_t user = child();
	if (user == 0) {
		size_t n = 0;

		while (!strstr(out, "its own\r\n")) {
			ssize_t got = read(master, out + n, sizeof(out) - 1 - n);
			NEED(got > 0);
			n += (size_t)got;
		}
		NEED(strcmp(out, "its own\r\n") == 0);
		NEED(tcgetattr(slave, &during) == 0 && !(during.c_lflag & (ICANON | ECHO | ISIG)));
		NEED(write(master, "\003\032key\n", 6) == 6);
		n = 0;
		while (n < 4) {
			ssize_t got = read(master, out + n, sizeof(out) - 1 - n);
			NEED(got > 0);
			n += (size_t)got;
		}
		NEED(n == 4 && memcmp(out, "more", 4) == 0);
		_exit(0);
	}
	close(line[1]);
	struct pump_config config = {.line = {&line[0], sock_fd, sock_recv, sock_send},
				     .stdin_fd = slave,
				     .stdout_fd = slave,
				     .stderr_fd = 2,
				     .tty = true,
				     .term = "xterm-1.2+x"};
	AUTO(pump_freep) struct pump *pump = pump_new(&config);
	assert_int_equal(pump_wait_ready(pump, clock_ms() + 20000, &again, &e), 0);
	int result = pump_run(pump, "echo\t\\x", &status, &e);
	assert_int_equal(tcgetattr(slave, &after), 0);
	if (e.msg)
		fprintf(stderr, "%s\n", e.msg);
	assert_int_equal(result, 0);
	assert_int_equal(status, 7);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	assert_false(pump_left(pump));
	close(line[0]);
	assert_int_equal(reap(pid), 0);
	assert_int_equal(reap(user), 0);
	close(master);
	close(slave);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(hello),
	cmocka_unit_test(marks_byte_by_byte),
	cmocka_unit_test(large_echo),
	cmocka_unit_test(large_echo_to_slow_readers),
	cmocka_unit_test(large_echo_to_a_file_and_a_socket),
	cmocka_unit_test(half_close),
	cmocka_unit_test(goodbye_on_an_open_stdin),
	cmocka_unit_test(stdin_never_read),
	cmocka_unit_test(reader_of_stdout_gone),
	cmocka_unit_test(reader_of_stderr_gone),
	cmocka_unit_test(exit_frame_before_the_output),
	cmocka_unit_test(output_behind_the_marks_is_dropped),
	cmocka_unit_test(ends_without_marks),
	cmocka_unit_test(ends_before_ready),
	cmocka_unit_test(what_the_shell_says_before_ready),
	cmocka_unit_test(broken_protocol),
	cmocka_unit_test(heartbeats_and_silence),
	cmocka_unit_test(interrupted),
	cmocka_unit_test(long_command),
	cmocka_unit_test(closed_stdin),
	cmocka_unit_test(tty_session),
	cmocka_unit_test(reader_gone_while_silent),
};

UNIT_MAIN(tests)
/* NOLINTEND(bugprone-not-null-terminated-result) */
