#ifndef MARKS_H
#define MARKS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Finds a mark in a stream that comes in pieces: `TEXT` (the ready mark), or `TEXT:CODE` and a newline with
 * CODE being 0 to 255 (the end marks; a terminal makes of the newline \r\n, or \r\r\n). All else passes
 * through, in order, without a copy; what could be the beginning of the mark is held back until it is known.
 * Pure.
 */

#define MARKS_TEXT_MAX 64 /* bytes */
#define MARKS_CODE_MAX 7  /* bytes: a colon, three digits, two carriage returns, a newline */

struct marks {
	char text[MARKS_TEXT_MAX]; /* the first byte is nowhere else in it, so a mark begins anew only there
				    */
	size_t len;
	bool with_code;

	char held[MARKS_TEXT_MAX + MARKS_CODE_MAX]; /* what has matched so far */
	size_t held_len;
	char passed[MARKS_TEXT_MAX + MARKS_CODE_MAX]; /* what had been held when the last piece came */
	size_t released; /* of what is held, so many bytes were passed on all the same: marks_release() */
	size_t leaked;   /* when found: bytes of the mark itself that were passed on that way */
	bool found;
	int code;    /* when found, and with a code */
	size_t rest; /* when found: where in that piece the bytes behind the mark begin */
};

/* What may be passed on of a piece: first `held`, then `data`. */
struct marks_out {
	const char *held; /* valid until the next call */
	size_t held_len;
	const char *data; /* within the piece */
	size_t len;
};

/** marks_init() - @text: 2 to MARKS_TEXT_MAX bytes, copied. @with_code: a colon, a number and a newline
 * follow it. */
void marks_init(struct marks *m, const char *text, bool with_code);

/** marks_feed() - look at the next n bytes. Once m->found, nothing is passed on any more. */
struct marks_out marks_feed(struct marks *m, const char *data, size_t n);

/**
 * marks_release() - pass on what is held back, because nothing follows: it may well be data. What comes next
 * is still matched against it, so that a mark is found in any case.
 */
struct marks_out marks_release(struct marks *m);

/** marks_flush() - the stream has ended: what was held back. */
struct marks_out marks_flush(struct marks *m);

#endif
