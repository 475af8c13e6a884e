#include "text.h"

#include <ctype.h>

bool text_eq(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

bool text_starts(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

size_t text_utf8_len(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len;
	uint32_t c, least;

	if (n == 0)
		return 0;
	if (u[0] < 0x80)
		return 1;
	if ((u[0] & 0xe0) == 0xc0) {
		len = 2, c = u[0] & 0x1f, least = 0x80;
	} else if ((u[0] & 0xf0) == 0xe0) {
		len = 3, c = u[0] & 0x0f, least = 0x800;
	} else if ((u[0] & 0xf8) == 0xf0) {
		len = 4, c = u[0] & 0x07, least = 0x10000;
	} else {
		return 0;
	}
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

static bool is_control(const char *s, size_t len)
{
	unsigned char c = (unsigned char)s[0];

	/* C1 controls are U+0080 to U+009F: c2 80 to c2 9f */
	return c < 0x20 || c == 0x7f || (len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

char *text_clean(const char *s, size_t n, size_t max)
{
	AUTO(buf_clear) struct buf out = BUF_INIT;

	while (n && isspace((unsigned char)*s))
		s++, n--;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	for (size_t i = 0; i < n;) {
		size_t len = text_utf8_len(s + i, n - i);
		const char *put = s + i;
		size_t put_len = len;

		if (len == 0 || is_control(s + i, len)) {
			bool space = len == 1 && isspace((unsigned char)s[i]);
			put = space ? " " : "?";
			put_len = 1;
		}
		if (out.len + put_len > max) {
			buf_puts(&out, "...");
			break;
		}
		if (buf_add(&out, put, put_len) < 0)
			break;
		i += len ? len : 1;
	}
	return buf_take(&out);
}

char *text_cleaned(const char *s, size_t max)
{
	return text_clean(s ? s : "", s ? strlen(s) : 0, max);
}

int text_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		uint64_t digit = (uint64_t)(*s - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return -1;
		v = v * 10 + digit;
	}
	*ret = v;
	return 0;
}

int text_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcmp(s, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcmp(s, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -1;
}

int text_duration_ms(const char *s, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	const int64_t most = INT64_C(1000) * 3600000;
	int64_t total = 0;

	if (!*s)
		return -1;
	while (*s) {
		int64_t v = 0;
		const char *digits = s;

		for (; *s >= '0' && *s <= '9'; s++) {
			v = v * 10 + (*s - '0');
			if (v > most)
				return -1;
		}
		if (s == digits)
			return -1;
		size_t n = strspn(s, "hms");
		size_t u;
		for (u = 0; u < ARRAY_SIZE(units); u++)
			if (strlen(units[u].name) == n && strncmp(s, units[u].name, n) == 0)
				break;
		if (u == ARRAY_SIZE(units) || v > most / units[u].ms)
			return -1;
		total += v * units[u].ms;
		if (total > most)
			return -1;
		s += n;
	}
	*ret_ms = total;
	return 0;
}

void text_url_escape(struct buf *to, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c < 0x80 && isalnum(c)) || strchr("-._~", c))
			buf_printf(to, "%c", c);
		else
			buf_printf(to, "%%%02X", c);
	}
}

void text_shell_quote(struct buf *to, const char *s)
{
	buf_puts(to, "'");
	for (; *s; s++)
		buf_printf(to, *s == '\'' ? "'\\''" : "%c", *s);
	buf_puts(to, "'");
}

bool text_glob(const char *pattern, const char *s)
{
	const char *star = NULL, *resume = NULL;

	while (*s) {
		if (*pattern == '*') {
			star = pattern++;
			resume = s;
		} else if (*pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star + 1;
			s = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

void text_glob_regexp(struct buf *to, const char *pattern)
{
	for (; *pattern; pattern++) {
		if (*pattern == '*')
			buf_puts(to, ".*");
		else
			buf_printf(to, strchr("\\^$.|?+()[]{}", *pattern) ? "\\%c" : "%c", *pattern);
	}
}

unsigned text_distance(const char *a, const char *b)
{
	unsigned row[65];
	size_t n = strnlen(b, ARRAY_SIZE(row) - 1);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 1; j <= n; j++) {
			bool same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[j - 1]);
			unsigned best = diagonal + (same ? 0 : 1);

			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[n];
}
