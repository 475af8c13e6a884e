#ifndef BUF_H
#define BUF_H

#include "mem.h"

#include <stdbool.h>

/*
 * A growing byte buffer with a maximum. `data` is always NUL-terminated one byte past `len` (so it is never
 * NULL after the first append) and may hold NULs.
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max; /* bytes; 0 = BUF_DEFAULT_MAX */
};

#define BUF_DEFAULT_MAX ((size_t)64 << 20)

#define BUF_INIT                                                                                             \
	{                                                                                                    \
		NULL, 0, 0, 0                                                                                \
	}
#define BUF_INIT_MAX(n)                                                                                      \
	{                                                                                                    \
		NULL, 0, 0, (n)                                                                              \
	}

/** buf_add() - append. Return: 0, or -1 when that would pass the maximum (nothing is appended then). */
int buf_add(struct buf *b, const void *data, size_t n) MUST_CHECK;

/** buf_reserve() - room for n more bytes at data + len. Return: 0, or -1 as above. */
int buf_reserve(struct buf *b, size_t n) MUST_CHECK;

/** buf_puts(), buf_printf() - for what is known to be small: abort when it would pass the maximum. */
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);

/** buf_str() - the contents as a string ("" when empty); borrowed. */
const char *buf_str(const struct buf *b);

/** buf_take() - the contents as a string for free(); the buffer is empty afterwards. */
char *buf_take(struct buf *b);

/** buf_consume() - drop the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/** buf_clear() - free; the buffer is empty and usable. buf_wipe() overwrites first. */
void buf_clear(struct buf *b);
void buf_wipe(struct buf *b);

#endif
