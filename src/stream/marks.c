#include "marks.h"

#include <assert.h>

void marks_init(struct marks *m, const char *text, bool with_code)
{
	*m = (struct marks){.len = strlen(text), .with_code = with_code};
	assert(m->len >= 2 && m->len <= sizeof(m->text) && !strchr(text + 1, text[0]));
	memcpy(m->text, text, m->len);
}

enum match { MATCH_NO, MATCH_MORE, MATCH_WHOLE };

/* Does c go on with what is held, behind the mark's text? */
static enum match match_code(struct marks *m, char c)
{
	const char *digits = m->held + m->len + 1;
	/* 0: the colon; then up to three digits, up to two carriage returns, a newline */
	size_t at = m->held_len - m->len, n = 0, returns = 0;
	int code = 0;

	if (at == 0)
		return c == ':' ? MATCH_MORE : MATCH_NO;
	for (; n < at - 1 && digits[n] != '\r'; n++)
		code = code * 10 + (digits[n] - '0');
	returns = at - 1 - n;
	if (c >= '0' && c <= '9')
		return n < 3 && !returns ? MATCH_MORE : MATCH_NO;
	if (c == '\r' && n)
		return returns < 2 ? MATCH_MORE : MATCH_NO;
	if (c != '\n' || !n)
		return MATCH_NO;
	if (code > 255)
		return MATCH_NO;
	m->code = code;
	return MATCH_WHOLE;
}

static enum match match(struct marks *m, char c)
{
	if (m->held_len < m->len) {
		if (c != m->text[m->held_len])
			return MATCH_NO;
		return m->held_len + 1 == m->len && !m->with_code ? MATCH_WHOLE : MATCH_MORE;
	}
	return match_code(m, c);
}

struct marks_out marks_feed(struct marks *m, const char *data, size_t n)
{
	struct marks_out out = {m->passed, 0, data, n};
	size_t earlier = m->held_len; /* of what is held, so many bytes came with earlier pieces */
	size_t begin = 0;             /* where in this piece the rest of what is held begins */

	if (m->found) {
		out.len = 0;
		return out;
	}
	memcpy(m->passed, m->held, m->held_len);
	out.held += m->released;
	for (size_t i = 0; i < n;) {
		if (m->held_len == 0) {
			const char *start = memchr(data + i, m->text[0], n - i);

			if (!start)
				return out;
			i = begin = (size_t)(start - data);
		}
		switch (match(m, data[i])) {
		case MATCH_MORE:
			m->held[m->held_len++] = data[i++];
			break;
		case MATCH_WHOLE:
			m->found = true;
			m->rest = i + 1;
			m->leaked = m->released;
			m->released = 0;
			m->held_len = 0;
			out.len = begin;
			return out;
		case MATCH_NO: /* it was data; this byte may begin the mark, so it's looked at again */
			out.held_len += earlier - m->released;
			earlier = 0;
			m->released = 0;
			m->held_len = 0;
			break;
		}
	}
	if (m->held_len)
		out.len = begin;
	return out;
}

struct marks_out marks_release(struct marks *m)
{
	struct marks_out out = {m->passed + m->released, m->held_len - m->released, m->passed, 0};

	memcpy(m->passed, m->held, m->held_len);
	m->released = m->held_len;
	return out;
}

struct marks_out marks_flush(struct marks *m)
{
	struct marks_out out = marks_release(m);

	m->held_len = 0;
	m->released = 0;
	return out;
}
