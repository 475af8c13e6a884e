#include "buf.h"

#include <assert.h>

int buf_reserve(struct buf *b, size_t n)
{
	size_t max = b->max ? b->max : BUF_DEFAULT_MAX;

	if (n > max || b->len > max - n)
		return -1;
	size_t need = b->len + n + 1;
	if (need > b->cap) {
		size_t cap = b->cap ? b->cap : 64;
		while (cap < need)
			cap *= 2;
		b->data = xrealloc(b->data, cap);
		b->cap = cap;
	}
	b->data[b->len] = '\0';
	return 0;
}

int buf_add(struct buf *b, const void *data, size_t n)
{
	if (buf_reserve(b, n) < 0)
		return -1;
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

void buf_puts(struct buf *b, const char *s)
{
	if (buf_add(b, s, strlen(s)) < 0)
		abort();
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO(freep) char *s = xvasprintf(fmt, ap);
	va_end(ap);
	buf_puts(b, s);
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	char *s = b->data ? b->data : xstrdup("");
	size_t max = b->max;

	*b = (struct buf)BUF_INIT_MAX(max);
	return s;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	if (b->data) {
		memmove(b->data, b->data + n, b->len);
		b->data[b->len] = '\0';
	}
}

void buf_clear(struct buf *b)
{
	size_t max = b->max;

	free(b->data);
	*b = (struct buf)BUF_INIT_MAX(max);
}

void buf_wipe(struct buf *b)
{
	mem_wipe(b->data, b->cap);
	buf_clear(b);
}
