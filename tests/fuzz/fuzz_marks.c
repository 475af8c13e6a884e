/* The first byte chooses the size of the pieces. Compared with a search that has the whole stream. */
#include "fuzz.h"

#include "buf.h"
#include "marks.h"

#define TEXT "\036ab"

/* Where the first mark begins, or n; *code is its code. */
static size_t search(const char *s, size_t n, int *code)
{
	const size_t len = sizeof(TEXT) - 1;

	for (size_t i = 0; i + len + 3 <= n; i++) {
		size_t p = i + len + 1, digits = p;
		int value = 0;

		if (memcmp(s + i, TEXT ":", len + 1) != 0)
			continue;
		while (p < n && p < digits + 3 && s[p] >= '0' && s[p] <= '9')
			value = value * 10 + (s[p++] - '0');
		const size_t end = p; /* a terminal's newline has up to two returns before it */
		while (p < n && p < end + 2 && s[p] == '\r')
			p++;
		if (end > digits && p < n && s[p] == '\n' && value <= 255) {
			*code = value;
			return i;
		}
	}
	return n;
}

static void collect(struct buf *to, struct marks_out out)
{
	HOLDS(buf_add(to, out.held, out.held_len) == 0 && buf_add(to, out.data, out.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(buf_clear) struct buf out = BUF_INIT;
	struct marks m;
	int code = -1;

	if (n < 1)
		return 0;
	const char *s = (const char *)data + 1;
	size_t step = 1 + data[0] % 16;
	size_t expect = search(s, --n, &code);

	marks_init(&m, TEXT, true);
	for (size_t at = 0; at < n; at += step)
		collect(&out, marks_feed(&m, s + at, step < n - at ? step : n - at));
	HOLDS(m.found == (expect < n));
	HOLDS(!m.found || m.code == code);
	collect(&out, marks_flush(&m));
	HOLDS(out.len == expect && (!expect || memcmp(out.data, s, expect) == 0));
	return 0;
}
