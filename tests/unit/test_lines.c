#include "unit.h"

#include "lines.h"

/* What the shell's read and printf %b make of lines_many()'s lines. */
static void decode(const char *lines, struct buf *to)
{
	for (const char *c = lines; *c; c++) {
		char out = *c;

		if (*c == '\n')
			continue;
		if (*c == '\\' && c[1] == '0') {
			assert_true(strspn(c + 2, "01234567") >= 3);
			out = (char)((c[2] - '0') * 64 + (c[3] - '0') * 8 + (c[4] - '0'));
			c += 4;
		} else if (*c == '\\') {
			assert_int_equal(c[1], '\\');
			c++;
		}
		assert_int_equal(buf_add(to, &out, 1), 0);
	}
}

static void check(const char *text)
{
	AUTO(buf_clear) struct buf lines = BUF_INIT, back = BUF_INIT;

	lines_many(&lines, text);
	const char *line = buf_str(&lines);
	for (;;) {
		size_t n = strcspn(line, "\n");

		assert_int_equal(line[n], '\n');
		assert_true(n + 1 <= LINES_MAX);
		for (size_t i = 0; i < n; i++)
			assert_true((unsigned char)line[i] >= ' ' && line[i] != 0x7f);
		line += n + 1;
		if (n == 0)
			break;
		/* an escape is whole in its line */
		assert_true(n < 2 || line[-2] != '\\' || line[-3] == '\\');
	}
	assert_string_equal(line, "");
	decode(buf_str(&lines), &back);
	assert_string_equal(buf_str(&back), text);
}

static void every_byte(void **state)
{
	char text[256];

	(void)state;
	for (int i = 0; i < 255; i++)
		text[i] = (char)(i + 1);
	text[255] = '\0';
	check(text);
	check("");
	check("x");
	check("\n\n");
	check("\\0101\\n\\");
}

/* Around the end of a line, with escapes of each length that begin before, at and after it. */
static void every_length(void **state)
{
	static const char *const escapes[] = {"x", "\\", "\x1b", "\n7", "\\\\\\", "\x7f\x01"};

	(void)state;
	for (size_t e = 0; e < ARRAY_SIZE(escapes); e++) {
		for (size_t n = LINES_MAX - 12; n < LINES_MAX + 4; n++) {
			AUTO(buf_clear) struct buf text = BUF_INIT;

			for (size_t i = 0; i < n; i++)
				buf_puts(&text, "a");
			for (int i = 0; i < 1000; i++)
				buf_puts(&text, escapes[e]);
			check(buf_str(&text));
		}
	}
}

static void empty_is_the_end_alone(void **state)
{
	AUTO(buf_clear) struct buf lines = BUF_INIT;

	(void)state;
	lines_many(&lines, "");
	assert_string_equal(buf_str(&lines), "\n");
	buf_clear(&lines);
	lines_many(&lines, "a\tb\\");
	assert_string_equal(buf_str(&lines), "a\\0011b\\\\\n\n");
}

static void one_line(void **state)
{
	AUTO(buf_clear) struct buf lines = BUF_INIT;

	(void)state;
	lines_one(&lines, "a\nb\\c\t");
	assert_string_equal(buf_str(&lines), "a\\nb\\\\c\t\n");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_byte),
	cmocka_unit_test(every_length),
	cmocka_unit_test(empty_is_the_end_alone),
	cmocka_unit_test(one_line),
};

UNIT_MAIN(tests)
