/*
 * How fast the codec is without Nomad: frames of stdin encoded, and Nomad's frames of stdout decoded, in
 * memory and through a local socket with another process at its end. Prints one JSON object: MB (10^6 bytes)
 * of the user's data per second, the best of some rounds, because whatever else runs on the machine only
 * makes it slower.
 */
#include "base64.h"
#include "frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS      9
#define ROUND_BYTES ((size_t)64 << 20) /* of data in one round */
#define SENT        ((size_t)1 << 20)  /* data in a frame that we send */
#define READ        ((size_t)64 << 10) /* bytes that one recv() brings at most */
#define MESSAGE_MAX ((size_t)512 << 10)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	fprintf(stderr, "error: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void fail_err(const struct err *e)
{
	fprintf(stderr, "error: %s\n", e->msg);
	exit(1);
}

/* Bytes that do not compress, the same ones each time. */
static char *some_data(size_t n)
{
	char *data = xmalloc(n);
	uint32_t seed = 1;

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		data[i] = (char)(seed >> 24);
	}
	return data;
}

/* What Nomad sends for n bytes of stdout, in messages of that many bytes each. */
static char *server_frames(const char *data, size_t n, size_t piece, size_t *ret_len)
{
	static const char head[] = "{\"stdout\":{\"data\":\"", tail[] = "\"}}\n";
	char *frames = xmalloc((n / piece + 1) * (10 + sizeof(head) + sizeof(tail) + BASE64_LEN(piece)));
	char *p = frames;

	for (size_t at = 0; at < n; at += piece) {
		size_t take = n - at < piece ? n - at : piece;
		size_t len = sizeof(head) - 1 + BASE64_LEN(take) + sizeof(tail) - 1;

		*p++ = (char)0x81;
		if (len < 126) {
			*p++ = (char)len;
		} else {
			size_t wide = len <= UINT16_MAX ? 2 : 8;

			*p++ = wide == 2 ? 126 : 127;
			while (wide--)
				*p++ = (char)((uint64_t)len >> (8 * wide));
		}
		memcpy(p, head, sizeof(head) - 1);
		p += sizeof(head) - 1;
		p += base64_encode(p, data + at, take);
		memcpy(p, tail, sizeof(tail) - 1);
		p += sizeof(tail) - 1;
	}
	*ret_len = (size_t)(p - frames);
	return frames;
}

/* Takes all messages out of the decoder. Return: how many bytes of output they held. */
static size_t drain(struct ws_decoder *d)
{
	size_t total = 0;
	struct ws_event ev;
	struct err e = ERR_INIT;
	int got;

	while ((got = ws_decoder_next(d, &ev, &e)) > 0) {
		struct frame f;

		if (frame_decode(ev.data, ev.len, &f, &e) < 0)
			fail_err(&e);
		total += f.out[FRAME_STDOUT].len;
	}
	if (got < 0)
		fail_err(&e);
	return total;
}

static void write_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t put = write(fd, data, n);

		if (put < 0)
			fail("write");
		data += put;
		n -= (size_t)put;
	}
}

/* Another process that runs work(arg, fd). Return: our end of the socket between. */
static int other_end(void (*work)(void *arg, int fd), void *arg)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		fail("socketpair");
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(pair[0]);
		work(arg, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

/* -- the figures: each runs one round, and returns the bytes of data that went through -- */

static const uint8_t mask[4] = {0x5a, 0x01, 0xfe, 0x33};
static char *data, *frame;

static size_t encode_base64(void)
{
	size_t total = 0;

	for (; total < ROUND_BYTES; total += SENT)
		base64_encode(frame, data, SENT);
	return total;
}

static size_t decode_base64(void)
{
	AUTO(freep) char *code = xmalloc(BASE64_LEN(SENT));
	size_t len = base64_encode(code, data, SENT), total = 0;

	while (total < ROUND_BYTES)
		total += base64_decode(frame, code, len);
	return total;
}

static size_t encode_frames(size_t n)
{
	size_t total = 0;

	for (; total < ROUND_BYTES; total += n)
		frame_stdin(frame, data, n, mask);
	return total;
}

static size_t encode_1m(void)
{
	return encode_frames(SENT);
}

static size_t encode_64k(void)
{
	return encode_frames((size_t)64 << 10);
}

/* Decoding is in place, so each piece is copied to where recv() would have put it: that is in the figure. */
static size_t decode_frames(size_t piece)
{
	size_t len, total = 0;
	AUTO(freep) char *frames = server_frames(data, SENT, piece, &len);
	AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(MESSAGE_MAX);

	while (total < ROUND_BYTES) {
		for (size_t at = 0; at < len;) {
			char *to;
			size_t n = ws_decoder_space(d, &to);

			if (n > READ)
				n = READ;
			if (n > len - at)
				n = len - at;
			memcpy(to, frames + at, n);
			at += n;
			ws_decoder_filled(d, n);
			total += drain(d);
		}
	}
	return total;
}

static size_t decode_1k(void)
{
	return decode_frames(1024);
}

static size_t decode_64k(void)
{
	return decode_frames((size_t)64 << 10);
}

static void swallow(void *arg, int fd)
{
	static char buffer[1 << 18];

	(void)arg;
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
}

/* The whole of what `command` does with stdin on its way out. */
static size_t encode_socket(void)
{
	int fd = other_end(swallow, NULL);
	size_t total = 0;

	for (; total < ROUND_BYTES; total += SENT)
		write_all(fd, frame, frame_stdin(frame, data, SENT, mask));
	close(fd);
	wait(NULL);
	return total;
}

struct frames {
	char *data;
	size_t len, times;
};

static void pour(void *arg, int fd)
{
	const struct frames *f = arg;

	for (size_t i = 0; i < f->times; i++)
		write_all(fd, f->data, f->len);
}

/* The whole of what it does with 1 KiB messages on their way in. */
static size_t decode_socket(void)
{
	struct frames f = {.times = ROUND_BYTES / SENT};
	AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(MESSAGE_MAX);
	size_t total = 0;

	f.data = server_frames(data, SENT, 1024, &f.len);
	int fd = other_end(pour, &f);
	for (;;) {
		char *to;
		size_t room = ws_decoder_space(d, &to);
		ssize_t n = read(fd, to, room);

		if (n < 0)
			fail("read");
		if (n == 0)
			break;
		ws_decoder_filled(d, (size_t)n);
		total += drain(d);
	}
	close(fd);
	wait(NULL);
	free(f.data);
	return total;
}

static const struct {
	const char *name;
	size_t (*run)(void);
} figures[] = {
	{"base64_encode", encode_base64},
	{"base64_decode", decode_base64},
	{"encode_1m", encode_1m},
	{"encode_64k", encode_64k},
	{"decode_1k", decode_1k},
	{"decode_64k", decode_64k},
	{"encode_1m_to_socket", encode_socket},
	{"decode_1k_from_socket", decode_socket},
};

int main(void)
{
	double best[ARRAY_SIZE(figures)] = {0};

	data = some_data(SENT);
	frame = xmalloc(FRAME_STDIN_MAX(SENT));
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
			double begin = now();
			size_t bytes = figures[i].run();
			double speed = (double)bytes / (now() - begin) / 1e6;

			if (bytes < ROUND_BYTES) {
				fprintf(stderr, "error: %s: bytes are missing\n", figures[i].name);
				return 1;
			}
			if (speed > best[i])
				best[i] = speed;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		printf("%s\"%s\": %.0f", i ? ", " : "{", figures[i].name, best[i]);
	puts("}");
	free(data);
	free(frame);
	return 0;
}
