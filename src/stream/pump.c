#include "pump.h"

#include "clock.h"
#include "frame.h"
#include "lines.h"
#include "log.h"
#include "marks.h"
#include "platform.h"
#include "terminal.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What bootstrap.sh prints first. */
#define READY_MARK     "\036dpn-ready\n"
#define READY_MARK_TTY "\036dpn-ready" /* what follows is before the start mark */
#define MARK_START     "\036"
#define NONCE_LEN                                                                                            \
	32 /* hexadecimal digits; decimal ones for a terminal, which may change the case of letters */
#define TERM_MAX 64   /* bytes */
#define PART_MS  1000 /* for the script's last word */

/*
 * Memory. The largest are stdin (1 MiB) and its frame (1.4 MiB), a message in the decoder (576 KiB) and once
 * more while cJSON has it, and two output queues (1 MiB each, a buffer's doubling included): below 6 MiB
 * together.
 */
#define MESSAGE_MAX     ((size_t)512 << 10)
#define STDIN_MAX       ((size_t)1 << 20) /* of data in one frame: Nomad takes in 1 MB frames fastest */
#define OUT_LIMIT       ((size_t)256 << 10)
#define OUT_MAX         (OUT_LIMIT + MESSAGE_MAX)
#define CONTROL_ROOM    ((size_t)16 << 10) /* for control frames behind a data frame that does not get off */
#define TX_MAX          (FRAME_STDIN_MAX(STDIN_MAX) + CONTROL_ROOM)
#define TURN_MAX        ((size_t)1 << 20) /* bytes received before the other descriptors get their turn */
#define FEW             4                 /* bytes of a mark: data begins like that once in 2^32 bytes */
#define RELEASE_MS      40
#define RELEASE_LATE_MS 2000
#define LATE_MS         2000          /* poll() returns so much too late only when we were stopped */
#define SAID_MAX        ((size_t)512) /* of what came instead of the ready mark, for the error */

/*
 * A command that never reads its stdin holds up everything between us and it, also Nomad's answers to our
 * pings. But not before the pipe at its stdin is full (64 KiB), so below that an answer is due.
 */
#define STDIN_SLACK ((size_t)32 << 10)

enum out_kind {
	OUT_FILE,   /* never blocks for long */
	OUT_PIPE,   /* takes PIPE_BUF bytes without blocking when poll() says so; terminals too */
	OUT_SOCKET, /* can be told not to block */
};
#define OUT_PIECE 4096 /* Linux's PIPE_BUF; POSIX asks for 512 at least, and larger writes may block */

struct out {
	const char *name;
	int fd;
	enum out_kind kind;
	struct marks marks;
	struct buf queue;
	size_t pos; /* in the queue: what is before has been written */
	bool gone;  /* nobody reads it any more */
};

struct pump {
	struct pump_config config;
	struct ws_decoder *decoder;
	struct out out[FRAME_STREAMS];
	struct buf said; /* stdout before the ready mark */

	/* to the machine's stdin: first what the script reads, then our stdin */
	struct buf head;
	size_t head_pos;
	char *in; /* STDIN_MAX bytes */
	size_t in_len;

	/* whole frames on their way out; they never move, because TLS wants a retry to be of the same memory
	 */
	char *tx; /* TX_MAX bytes */
	size_t tx_pos, tx_end;

	int64_t heard; /* when the last bytes came, or when we were last not listening */
	int64_t beat;  /* when the next heartbeat is due */
	uint64_t sent; /* bytes of stdin data, all together … */
	uint64_t read; /* … of which Nomad has read so many: our pings ask */

	char *reason;    /* the close frame's text, cleaned */
	int close_code;  /* of the close frame, 0: none came */
	struct err down; /* how the line broke */
	size_t masks_left;
	uint8_t masks[256];
	char nonce[NONCE_LEN + 1];

	bool ready;     /* the ready mark has come */
	bool running;   /* the command is sent, or being sent */
	bool started;   /* it runs: what comes is its own */
	bool in_eof;    /* our stdin is at its end */
	bool in_open;   /* the command was promised a stdin … */
	bool in_closed; /* … and was told that it has ended */
	bool tx_broken;
	bool closed;    /* a close frame has come */
	bool ended;     /* both marks have come, and all before them is written */
	bool cut_short; /* the line ended before */
	bool silent;    /* for silence_ms */
	bool exited;    /* an exit frame has come */
	int exit_code;
};

struct pump *pump_new(const struct pump_config *config)
{
	struct pump *p = xcalloc(1, sizeof(*p));
	static const char *const names[FRAME_STREAMS] = {"stdout", "stderr"};
	const int fds[FRAME_STREAMS] = {config->stdout_fd, config->stderr_fd};

	p->config = *config;
	if (!p->config.heartbeat_ms)
		p->config.heartbeat_ms = 10000;
	if (!p->config.silence_ms)
		p->config.silence_ms = 60000;
	if (!p->config.exit_ms)
		p->config.exit_ms = 5000;
	p->decoder = ws_decoder_new(MESSAGE_MAX);
	p->in = xmalloc(STDIN_MAX);
	p->tx = xmalloc(TX_MAX);
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		struct stat st;
		struct out *o = &p->out[i];

		o->name = names[i];
		o->fd = fds[i];
		o->kind = OUT_PIPE;
		o->queue.max = OUT_MAX;
		if (fstat(o->fd, &st) == 0 && S_ISSOCK(st.st_mode))
			o->kind = OUT_SOCKET;
		else if (fstat(o->fd, &st) == 0 &&
			 (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(o->fd))))
			o->kind = OUT_FILE;
	}
	marks_init(&p->out[FRAME_STDOUT].marks, config->tty ? READY_MARK_TTY : READY_MARK, false);
	p->said.max = SAID_MAX;
	p->heard = clock_ms();
	p->beat = p->heard + p->config.heartbeat_ms;
	return p;
}

void pump_freep(struct pump **pp)
{
	struct pump *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	for (size_t i = 0; i < FRAME_STREAMS; i++)
		buf_clear(&p->out[i].queue);
	ws_decoder_freep(&p->decoder);
	buf_clear(&p->said);
	buf_wipe(&p->head);
	free(p->in);
	free(p->tx);
	free(p->reason);
	err_clear(&p->down);
	free(p);
}

/* -- to the machine -- */

static int next_mask(struct pump *p, uint8_t mask[4], struct err *e)
{
	if (p->masks_left < 4) {
		if (platform_random(p->masks, sizeof(p->masks), e) < 0)
			return -1;
		p->masks_left = sizeof(p->masks);
	}
	p->masks_left -= 4;
	memcpy(mask, p->masks + p->masks_left, 4);
	return 0;
}

static bool tx_pending(const struct pump *p)
{
	return p->tx_pos < p->tx_end;
}

/* Where a small frame may go, or NULL: what asks for one can do without it when so many are waiting. */
static char *tx_room(struct pump *p)
{
	if (p->tx_broken || p->tx_end + FRAME_SMALL_MAX > TX_MAX)
		return NULL;
	return p->tx + p->tx_end;
}

static int queue_control(struct pump *p, enum ws_opcode opcode, const void *data, size_t n, struct err *e)
{
	char *room = tx_room(p);
	uint8_t mask[4];

	if (!room)
		return 0;
	if (next_mask(p, mask, e) < 0)
		return -1;
	p->tx_end += frame_control(room, opcode, data, n, mask);
	return 0;
}

/* Put the next of the stdin into the empty tx. Return: 1 = done, 0 = there is none, -1 = error. */
static int fill_tx(struct pump *p, struct err *e)
{
	const char *data = p->in;
	size_t n = p->in_len;
	uint8_t mask[4];

	if (p->head_pos < p->head.len) {
		data = p->head.data + p->head_pos;
		n = p->head.len - p->head_pos;
		if (n > STDIN_MAX)
			n = STDIN_MAX;
	}
	bool close = !n && p->in_eof && p->in_open && !p->in_closed && !p->config.tty;
	if (!n && !close)
		return 0;
	if (next_mask(p, mask, e) < 0)
		return -1;
	if (close) {
		p->tx_end = frame_stdin_close(p->tx, mask);
		p->in_closed = true;
		return 1;
	}
	p->tx_end = frame_stdin(p->tx, data, n, mask);
	if (data == p->in)
		p->in_len = 0;
	else
		p->head_pos += n;
	p->sent += n;
	return 1;
}

/* Send what there is until the line takes no more. A line that broke may still have something to say: see
 * receive(). */
static int transmit(struct pump *p, struct err *e)
{
	while (!p->tx_broken) {
		struct err why = ERR_INIT;
		size_t n = 0;

		if (!tx_pending(p)) {
			p->tx_pos = 0;
			p->tx_end = 0;
			int got = fill_tx(p, e);
			if (got <= 0)
				return got;
		}
		if (p->config.line.send(p->config.line.arg, p->tx + p->tx_pos, p->tx_end - p->tx_pos, &n,
					&why) < 0) {
			log_debug("exec: sending: %s", why.msg);
			err_clear(&why);
			p->tx_broken = true;
			break;
		}
		if (n == 0)
			return 0;
		p->tx_pos += n;
	}
	/* nobody will read it, but whoever writes to us must not wait for us either */
	p->tx_pos = p->tx_end = 0;
	p->in_len = 0;
	return 0;
}

static bool stdin_wanted(const struct pump *p)
{
	return p->started && p->in_open && !p->in_eof && p->in_len < STDIN_MAX;
}

static bool poll_one(int fd, short events)
{
	struct pollfd f = {fd, events, 0};

	return poll(&f, 1, 0) > 0;
}

static bool poll_hung_up(int fd)
{
	struct pollfd f = {fd, 0, 0};

	return poll(&f, 1, 0) > 0;
}

/* stdin is readable: take what is there, as much as fits a frame. */
static int read_stdin(struct pump *p, struct err *e)
{
	do {
		ssize_t n = read(p->config.stdin_fd, p->in + p->in_len, STDIN_MAX - p->in_len);

		if (n > 0) {
			p->in_len += (size_t)n;
		} else if (n == 0 || errno == EIO || errno == EBADF) {
			/* EIO: a terminal that is gone, or whose foreground we are not; 0: a ^D before it was
			 * raw again */
			p->in_eof = n < 0 || !p->config.tty || poll_hung_up(p->config.stdin_fd);
			if (!p->in_eof)
				break;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			return err_sys(e, errno, "read stdin");
		}
	} while (!p->in_eof && p->in_len < STDIN_MAX && poll_one(p->config.stdin_fd, POLLIN));
	return 0;
}

/* -- from the machine -- */

static size_t queued(const struct out *o)
{
	return o->queue.len - o->pos;
}

static bool listening(const struct pump *p)
{
	return queued(&p->out[FRAME_STDOUT]) < OUT_LIMIT && queued(&p->out[FRAME_STDERR]) < OUT_LIMIT;
}

static int queue_output(struct out *o, const char *data, size_t n, struct err *e)
{
	if (o->gone || n == 0)
		return 0;
	if (o->pos && o->queue.len + n > OUT_LIMIT) {
		buf_consume(&o->queue, o->pos);
		o->pos = 0;
	}
	if (buf_add(&o->queue, data, n) < 0)
		return err_set(e, ERR_REMOTE, "Nomad sent more %s than fits",
			       o->name); /* not with listening() */
	return 0;
}

/* After the head: a mark of the script's, with a code. */
static void expect_mark(struct pump *p, enum frame_stream which)
{
	char mark[sizeof(MARK_START) + NONCE_LEN];

	snprintf(mark, sizeof(mark), MARK_START "%s", p->nonce);
	marks_init(&p->out[which].marks, mark, true);
}

/* The start mark has come. Until now ^C ended us; now it is the command's. */
static int start_tty(struct pump *p, struct err *e)
{
	p->started = true;
	expect_mark(p, FRAME_STDOUT);
	return terminal_raw(p->config.stdin_fd, e);
}

static int take_output(struct pump *p, enum frame_stream which, const char *data, size_t n, struct err *e)
{
	struct out *o = &p->out[which];

	if (!p->running && which == FRAME_STDERR)
		return queue_output(o, data, n, e);

	struct marks_out pass = marks_feed(&o->marks, data, n);
	if (!p->running) {
		/* before the ready mark is nothing of the command's; an error of docker's, perhaps */
		size_t room = SAID_MAX - p->said.len;

		if (buf_add(&p->said, pass.data, pass.len < room ? pass.len : room) < 0)
			return err_set(e, ERR_SYSTEM, "too long"); /* cannot be */
		p->ready = o->marks.found;
		return 0;
	}
	if (!p->started) { /* echo */
		size_t rest = o->marks.rest;

		if (!o->marks.found)
			return 0;
		return start_tty(p, e) < 0 ? -1 : take_output(p, which, data + rest, n - rest, e);
	}
	if (queue_output(o, pass.held, pass.held_len, e) < 0)
		return -1;
	return queue_output(o, pass.data, pass.len, e);
}

static int take_message(struct pump *p, const struct ws_event *ev, struct err *e)
{
	struct frame frame;

	if (frame_decode(ev->data, ev->len, &frame, e) < 0)
		return -1;
	for (int i = 0; i < FRAME_STREAMS; i++)
		if (frame.out[i].len &&
		    take_output(p, (enum frame_stream)i, frame.out[i].data, frame.out[i].len, e) < 0)
			return -1;
	if (frame.exited && !p->exited) {
		log_debug("exec: Nomad says that it exited with code %d", frame.exit_code);
		p->exited = true;
		p->exit_code = frame.exit_code;
	}
	return 0;
}

static int take_event(struct pump *p, const struct ws_event *ev, struct err *e)
{
	switch (ev->opcode) {
	case WS_PING:
		return queue_control(p, WS_PONG, ev->data, ev->len, e);
	case WS_CLOSE:
		p->closed = true;
		p->close_code = ev->close_code;
		if (ev->len)
			p->reason = text_clean(ev->data, ev->len, 300);
		log_debug("exec: Nomad closed the line: %d %s", ev->close_code, p->reason ? p->reason : "");
		return 0;
	case WS_TEXT:
	case WS_BINARY:
		return take_message(p, ev, e);
	case WS_PONG:
		if (ev->len == sizeof(p->read))
			memcpy(&p->read, ev->data, sizeof(p->read));
		return 0;
	case WS_CONTINUATION:
		break;
	}
	return 0;
}

/* Nothing more will come. */
static bool line_ended(const struct pump *p)
{
	return p->closed || p->down.kind != ERR_NONE;
}

/*
 * Decode and read until the line would block or an output queue is full. What is decoded already comes first,
 * so nothing is read while the decoder still holds a whole message.
 * @ret_more: stopped before it would block, so poll() would not tell.
 */
static int receive(struct pump *p, bool *ret_more, struct err *e)
{
	size_t total = 0;

	*ret_more = true;
	while (listening(p) && !line_ended(p)) {
		struct ws_event ev;
		int got = ws_decoder_next(p->decoder, &ev, e);

		if (got < 0)
			return -1;
		if (got > 0) {
			if (take_event(p, &ev, e) < 0)
				return -1;
			continue;
		}
		if (total >= TURN_MAX)
			break;
		char *to;
		size_t n = 0, room = ws_decoder_space(p->decoder, &to);
		if (p->config.line.recv(p->config.line.arg, to, room, &n, &p->down) < 0 || n == 0) {
			*ret_more = false;
			break;
		}
		ws_decoder_filled(p->decoder, n);
		total += n;
		p->heard = clock_ms();
	}
	return 0;
}

/* One write of what is queued. Return: bytes, 0 = would block, -1 with errno. */
static ssize_t write_some(const struct out *o)
{
	const char *data = o->queue.data + o->pos;
	size_t n = queued(o);
	ssize_t put;

	do {
		if (o->kind == OUT_SOCKET) {
			put = send(o->fd, data, n, MSG_DONTWAIT);
		} else if (o->kind == OUT_FILE) {
			put = write(o->fd, data, n);
		} else {
			/* without O_NONBLOCK, which whoever shares the descriptor would see too */
			if (!poll_one(o->fd, POLLOUT))
				return 0;
			put = write(o->fd, data, n < OUT_PIECE ? n : OUT_PIECE);
		}
	} while (put < 0 && errno == EINTR);
	if (put < 0 && errno == EAGAIN)
		return 0;
	return put;
}

/* Nobody reads that output any more. Without stdout there is nothing to go on for. */
static int reader_gone(struct pump *p, enum frame_stream which, int errnum, struct err *e)
{
	struct out *o = &p->out[which];

	buf_clear(&o->queue);
	o->pos = 0;
	o->gone = true;
	if (which == FRAME_STDOUT)
		return err_set(e, ERR_OUTPUT, "write %s: %s", o->name, strerror(errnum));
	log_debug("exec: write %s: %s", o->name, strerror(errnum));
	return 0;
}

static int write_out(struct pump *p, struct err *e)
{
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		struct out *o = &p->out[i];

		while (queued(o)) {
			ssize_t put = write_some(o);

			if (put == 0)
				break;
			if (put < 0) {
				if (reader_gone(p, (enum frame_stream)i, errno, e) < 0)
					return -1;
				break;
			}
			o->pos += (size_t)put;
		}
		if (!queued(o)) {
			o->queue.len = 0;
			o->pos = 0;
		}
	}
	return 0;
}

/* -- the loop -- */

/*
 * When the line counts as dead. Never while we don't listen, nor while a command that leaves its stdin unread
 * may be what keeps Nomad from answering (TCP's own timeouts stay).
 */
static int64_t silence_deadline(const struct pump *p)
{
	if (!listening(p) || line_ended(p) || (p->sent != p->read && p->sent > STDIN_SLACK))
		return INT64_MAX;
	return p->heard + p->config.silence_ms;
}

/* After Nomad's exit frame only what is already on its way can come. */
static int64_t exit_deadline(const struct pump *p)
{
	return p->exited && listening(p) ? p->heard + p->config.exit_ms : INT64_MAX;
}

static int heartbeat(struct pump *p, struct err *e)
{
	uint8_t mask[4];

	if (clock_left(p->beat) > 0)
		return 0;
	p->beat = clock_ms() + p->config.heartbeat_ms;
	/* what waits to be sent is sign of life enough */
	if (tx_pending(p) || p->tx_broken)
		return 0;
	if (next_mask(p, mask, e) < 0)
		return -1;
	p->tx_pos = 0;
	p->tx_end = frame_heartbeat(p->tx, mask);
	return queue_control(p, WS_PING, &p->sent, sizeof(p->sent), e);
}

/* The terminal's size, where it is known. */
static int send_size(struct pump *p, struct err *e)
{
	unsigned rows, columns;
	char *room = tx_room(p);
	uint8_t mask[4];

	if (!room || !terminal_size(p->config.stdout_fd, &rows, &columns))
		return 0;
	if (next_mask(p, mask, e) < 0)
		return -1;
	p->tx_end += frame_tty_size(room, rows, columns, mask);
	return 0;
}

static int watch_terminal(struct pump *p, struct err *e)
{
	if (p->in_eof)
		return err_set(e, ERR_OUTPUT, "the terminal is gone");
	if (!terminal_changed())
		return 0;
	/* while we were stopped nobody listened */
	p->heard = clock_ms();
	return send_size(p, e);
}

/*
 * What may be the beginning of the end mark is held back. It may as well be data, which somebody waits for:
 * an ssh packet ends in any byte. So when nothing follows it goes on its way; the mark is found all the same.
 * More than a few bytes of the mark are hardly data, and wait longer.
 */
static int64_t release_time(const struct pump *p, const struct out *o)
{
	if (!p->started || o->marks.found || o->marks.held_len == o->marks.released)
		return INT64_MAX;
	return p->heard + (o->marks.held_len < FEW ? RELEASE_MS : RELEASE_LATE_MS);
}

static int release_late(struct pump *p, struct err *e)
{
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		struct out *o = &p->out[i];

		if (clock_left(release_time(p, o)))
			continue;
		struct marks_out pass = marks_release(&o->marks);
		if (queue_output(o, pass.held, pass.held_len, e) < 0)
			return -1;
	}
	return 0;
}

/* Everything that can be done now. */
static int work(struct pump *p, bool *ret_more, struct err *e)
{
	if (interrupt_signal())
		return interrupt_error(e);
	if (heartbeat(p, e) < 0)
		return -1;
	if (p->config.tty && p->started && !p->out[FRAME_STDOUT].gone && watch_terminal(p, e) < 0)
		return -1;
	if (receive(p, ret_more, e) < 0 || transmit(p, e) < 0)
		return -1;
	if (release_late(p, e) < 0 || (p->running && write_out(p, e) < 0))
		return -1;
	if (clock_left(silence_deadline(p)) == 0) {
		p->silent = true;
		return err_set(e, ERR_CONNECT, "the line to Nomad is silent for %lld s",
			       (long long)(p->config.silence_ms / 1000));
	}
	return 0;
}

/* To poll: one that is full, or has lost its reader, which poll() tells unasked. */
static struct pollfd poll_out(const struct pump *p, enum frame_stream which)
{
	const struct out *o = &p->out[which];
	bool full = p->running && queued(o);

	return (struct pollfd){o->gone || (o->marks.found && !full) ? -1 : o->fd, full ? POLLOUT : 0, 0};
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Wait until there is something to do again, at most until the deadline. */
static int wait_any(struct pump *p, bool more, int64_t deadline, struct err *e)
{
	bool listen = listening(p) && !line_ended(p);
	struct pollfd fds[] = {
		{interrupt_fd(), POLLIN, 0},
		{-1, (short)((listen ? POLLIN : 0) | (tx_pending(p) ? POLLOUT : 0)), 0},
		{stdin_wanted(p) ? p->config.stdin_fd : -1, POLLIN, 0},
		{p->config.tty ? terminal_fd() : -1, POLLIN, 0},
		poll_out(p, FRAME_STDOUT),
		poll_out(p, FRAME_STDERR),
	};

	if (fds[1].events && !line_ended(p))
		fds[1].fd = p->config.line.fd(p->config.line.arg);
	deadline = earliest(deadline, earliest(p->beat, earliest(silence_deadline(p), exit_deadline(p))));
	for (size_t i = 0; i < FRAME_STREAMS; i++)
		deadline = earliest(deadline, release_time(p, &p->out[i]));
	int64_t begin = clock_ms(), ms = more && listen ? 0 : clock_left(deadline);
	if (ms > 60000)
		ms = 60000;
	if (poll(fds, ARRAY_SIZE(fds), (int)ms) < 0) {
		if (errno != EINTR)
			return err_sys(e, errno, "poll");
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i].revents = 0;
	}
	/* nor does anybody listen while we are stopped (^Z) */
	if (!listen || clock_ms() > begin + ms + LATE_MS)
		p->heard = clock_ms();
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		/* a socket's POLLHUP is its end in both directions; a terminal's, that it has gone */
		bool lost = fds[4 + i].revents & (POLLERR | POLLHUP | POLLNVAL);
		int errnum = p->out[i].kind == OUT_PIPE && isatty(p->out[i].fd) ? EIO : EPIPE;

		if (lost && reader_gone(p, (enum frame_stream)i, errnum, e) < 0)
			return -1;
	}
	if (fds[2].revents)
		return read_stdin(p, e);
	return 0;
}

static int auth_error(const struct pump *p, struct err *e)
{
	err_set(e, ERR_AUTH, "Nomad closed the line: %s", p->reason);
	return err_hint(
		e, "the token needs the capability alloc-exec in this namespace, and the node must not have "
		   "disable_remote_exec set");
}

/* Why the line ended, as well as it is known; called when it has. */
static int end_error(struct pump *p, struct err *e)
{
	if (p->reason && strstr(p->reason, "ermission denied"))
		return auth_error(p, e);
	if (p->reason) {
		err_set(e, ERR_REMOTE, "Nomad closed the line: %s", p->reason);
		e->status = p->close_code;
		return -1;
	}
	if (p->exited && !p->running)
		return err_set(e, ERR_REMOTE, "the remote shell ended at once with code %d%s%s", p->exit_code,
			       p->said.len ? ": " : "", buf_str(&p->said));
	if (p->exited)
		return err_set(e, ERR_REMOTE, "the remote shell ended before its command, with code %d",
			       p->exit_code);
	if (p->down.kind != ERR_NONE) {
		err_move(e, &p->down);
		return -1;
	}
	return err_set(e, p->closed ? ERR_REMOTE : ERR_CONNECT, "Nomad closed the line");
}

static int wait_ready(struct pump *p, int64_t deadline, bool *ret_again, struct err *e)
{
	while (!p->ready) {
		bool more = false;

		if (work(p, &more, e) < 0) {
			*ret_again = e->kind == ERR_CONNECT;
			return -1;
		}
		if (p->ready)
			break;
		if (p->exited || line_ended(p)) {
			AUTO(freep) char *said = text_clean(buf_str(&p->said), p->said.len, SAID_MAX);

			p->said.len = 0;
			buf_puts(&p->said, said);
			end_error(p, e);
			*ret_again = e->kind != ERR_AUTH;
			return -1;
		}
		if (clock_left(deadline) == 0) {
			*ret_again = true;
			return err_set(e, ERR_TIMEOUT, "the remote shell says nothing");
		}
		if (wait_any(p, more, deadline, e) < 0)
			return -1;
	}
	return 0;
}

/* TERM goes into a shell's words and to whoever reads terminfo: nothing odd. "" when it will not do. */
static const char *safe_term(const char *term)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";

	return term && strlen(term) <= TERM_MAX && term[strspn(term, good)] == '\0' ? term : "";
}

/* What bootstrap.sh reads: the nonce and whether there is a stdin, then the command in one line.
 * bootstrap_tty.sh: the nonce, the terminal, then the command in lines. */
static int make_head(struct pump *p, const char *command, struct err *e)
{
	uint8_t random[NONCE_LEN / 2];
	unsigned rows = 0, columns = 0;

	if (platform_random(random, sizeof(random), e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(random); i++) {
		if (p->config.tty)
			snprintf(p->nonce + 2 * i, 3, "%02u", random[i] % 100U);
		else
			snprintf(p->nonce + 2 * i, 3, "%02x", random[i]);
	}
	expect_mark(p, FRAME_STDOUT);
	if (p->config.tty) {
		p->head.max = 6 * strlen(command) + 256;
		if (!terminal_size(p->config.stdout_fd, &rows, &columns))
			rows = 24, columns = 80;
		buf_printf(&p->head, "%s %u %u %s\n", p->nonce, rows, columns, safe_term(p->config.term));
		lines_many(&p->head, command);
		return 0;
	}
	expect_mark(p, FRAME_STDERR);
	p->head.max = 2 * strlen(command) + NONCE_LEN + 8;
	buf_printf(&p->head, "%s %d\n", p->nonce, p->in_open);
	lines_one(&p->head, command);
	return 0;
}

/* One more frame behind what waits, if there is room and randomness; nothing here may wait or fail. */
static bool add_last(struct pump *p, size_t (*encode)(const struct pump *p, char *to, const uint8_t mask[4]))
{
	struct err ignored = ERR_INIT;
	char *room = tx_room(p);
	uint8_t mask[4];

	if (!room || next_mask(p, mask, &ignored) < 0) {
		err_clear(&ignored);
		return false;
	}
	p->tx_end += encode(p, room, mask);
	return true;
}

static size_t encode_nonce(const struct pump *p, char *to, const uint8_t mask[4])
{
	return frame_stdin(to, p->nonce, NONCE_LEN, mask);
}

static size_t encode_stdin_close(const struct pump *p, char *to, const uint8_t mask[4])
{
	(void)p;
	return frame_stdin_close(to, mask);
}

static size_t encode_close(const struct pump *p, char *to, const uint8_t mask[4])
{
	(void)p;
	return frame_close(to, WS_CLOSE_NORMAL, mask);
}

/*
 * Hang up. Nomad notices that only at the next output, and until then the process's stdin stays open
 * (measured), so it is closed by a frame of its own; the script would wait for it for good. @whole: we have
 * all of the output, which the script is told where its stdin was open.
 */
static void say_goodbye(struct pump *p, bool whole)
{
	struct err ignored = ERR_INIT;
	size_t n = 0;

	if (!p->config.tty) {
		if (whole && p->in_open && !p->in_closed && !tx_pending(p))
			add_last(p, encode_nonce);
		if (!p->in_closed)
			add_last(p, encode_stdin_close);
	}
	add_last(p, encode_close);
	if (tx_pending(p) && !p->tx_broken &&
	    p->config.line.send(p->config.line.arg, p->tx + p->tx_pos, p->tx_end - p->tx_pos, &n, &ignored) <
		    0)
		err_clear(&ignored);
}

int pump_wait_ready(struct pump *p, int64_t deadline, bool *ret_again, struct err *e)
{
	*ret_again = false;
	if (wait_ready(p, deadline, ret_again, e) == 0)
		return 0;
	say_goodbye(p, false);
	return -1;
}

static bool complete(const struct pump *p)
{
	return p->started && p->out[FRAME_STDOUT].marks.found &&
	       (p->config.tty || p->out[FRAME_STDERR].marks.found);
}

/* Nothing more will come: what looked like the beginning of a mark was none. */
static int release_held(struct pump *p, struct err *e)
{
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		struct marks_out rest = marks_flush(&p->out[i].marks);

		if (queue_output(&p->out[i], rest.held, rest.held_len, e) < 0)
			return -1;
	}
	return 0;
}

/* Until both marks are here, or all that came without them, and it has been written. @ret_complete: which of
 * both. */
static int carry(struct pump *p, bool *ret_complete, struct err *e)
{
	for (;;) {
		bool more = false;

		if (work(p, &more, e) < 0)
			return -1;
		bool ended = line_ended(p) || clock_left(exit_deadline(p)) == 0;
		if (!complete(p) && ended) {
			if (release_held(p, e) < 0 || write_out(p, e) < 0)
				return -1;
		}
		if ((complete(p) || ended) && !queued(&p->out[FRAME_STDOUT]) &&
		    !queued(&p->out[FRAME_STDERR])) {
			*ret_complete = complete(p);
			return 0;
		}
		if (wait_any(p, more, INT64_MAX, e) < 0)
			return -1;
	}
}

/*
 * A terminal has no end that would tell the script that we are done: it waits for the nonce, and says the
 * mark once more. We wait for that, or the nonce might be lost with the line. Nothing here changes what has
 * come of it.
 */
static void part(struct pump *p)
{
	int64_t deadline = clock_ms() + PART_MS;
	struct out *o = &p->out[FRAME_STDOUT];
	struct err ignored = ERR_INIT;
	bool more = false;

	o->gone = true; /* what comes is an echo */
	p->in_eof = true;
	p->in[0] = '\n';
	memcpy(p->in + 1, p->nonce, NONCE_LEN);
	p->in[1 + NONCE_LEN] = '\n';
	p->in_len = NONCE_LEN + 2;
	expect_mark(p, FRAME_STDOUT);
	while (!o->marks.found && !p->exited && !line_ended(p) && clock_left(deadline) > 0)
		if (work(p, &more, &ignored) < 0 || wait_any(p, more, deadline, &ignored) < 0)
			break;
	log_debug("exec: the script has %sparted", o->marks.found || p->exited ? "" : "not ");
	err_clear(&ignored);
}

/* The head, then all until the end. */
static int run(struct pump *p, const char *command, bool *ret_whole, struct err *e)
{
	if (p->config.tty) {
		p->in_open = true;
		if (send_size(p, e) < 0)
			return -1;
	} else {
		/* A stdin at its end from the start is better known to the script before it runs: see
		 * bootstrap.sh.
		 */
		if (poll_one(p->config.stdin_fd, POLLIN) && read_stdin(p, e) < 0)
			return -1;
		p->in_open = !p->in_eof || p->in_len;
	}
	if (make_head(p, command, e) < 0)
		return -1;
	p->running = true;
	p->started = !p->config.tty;
	return carry(p, ret_whole, e);
}

int pump_run(struct pump *p, const char *command, int *ret_status, struct err *e)
{
	bool whole = false;

	assert(p->ready && !p->running);
	int failed = run(p, command, &whole, e);
	terminal_restore();
	if (whole) {
		*ret_status = p->out[FRAME_STDOUT].marks.code;
		p->ended = true;
		if (p->config.tty)
			part(p);
	}
	say_goodbye(p, whole);
	if (failed < 0)
		return -1;
	if (whole && (p->out[FRAME_STDOUT].marks.leaked || p->out[FRAME_STDERR].marks.leaked))
		return err_set(e, ERR_REMOTE,
			       "the output has a few bytes too many at its end: the line paused within the "
			       "end mark");
	if (!whole) {
		p->cut_short = true;
		return end_error(p, e);
	}
	return 0;
}

bool pump_left(const struct pump *p)
{
	return p->running && !p->ended && !p->exited;
}

bool pump_cut_short(const struct pump *p)
{
	return p->cut_short;
}

bool pump_silent(const struct pump *p)
{
	return p->silent;
}

bool pump_exited(const struct pump *p)
{
	return p->exited;
}

bool pump_stdin_ended(const struct pump *p)
{
	return p->in_closed;
}
