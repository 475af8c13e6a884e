#include "lines.h"

void lines_one(struct buf *to, const char *text)
{
	for (const char *c = text; *c;) {
		size_t plain = strcspn(c, "\\\n");

		if (buf_add(to, c, plain) < 0)
			abort();
		c += plain;
		if (*c)
			buf_puts(to, *c++ == '\n' ? "\\n" : "\\\\");
	}
	buf_puts(to, "\n");
}

void lines_many(struct buf *to, const char *text)
{
	size_t line = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		char piece[8];
		int n;

		if (*c == '\\')
			n = snprintf(piece, sizeof(piece), "\\\\");
		else if (*c < ' ' || *c == 0x7f)
			n = snprintf(piece, sizeof(piece), "\\0%03o", *c);
		else
			n = snprintf(piece, sizeof(piece), "%c", *c);
		if (line + (size_t)n + 1 > LINES_MAX) {
			buf_puts(to, "\n");
			line = 0;
		}
		if (buf_add(to, piece, (size_t)n) < 0)
			abort();
		line += (size_t)n;
	}
	buf_puts(to, line ? "\n\n" : "\n");
}
