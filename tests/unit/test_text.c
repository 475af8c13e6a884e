#include "unit.h"

#include "text.h"

static void equal_and_starts(void **state)
{
	(void)state;
	assert_true(text_eq("a", "a"));
	assert_false(text_eq("a", "A"));
	assert_false(text_eq(NULL, "a"));
	assert_true(text_starts("abc", "ab"));
	assert_true(text_starts("abc", ""));
	assert_false(text_starts("a", "ab"));
	assert_false(text_starts(NULL, ""));
}

static void utf8_len(void **state)
{
	(void)state;
	static const struct {
		const char *s;
		size_t n, len;
	} all[] = {
		{"a", 1, 1},
		{"\0", 1, 1},
		{"\xc3\xa4", 2, 2},
		{"\xe2\x82\xac", 3, 3},
		{"\xf0\x9f\x90\xb3", 4, 4},
		{"\xf4\x8f\xbf\xbf", 4, 4},
		{"", 0, 0},
		{"\xc3\xa4", 1, 0},         /* cut */
		{"\xf0\x9f\x90\xb3", 3, 0}, /* cut */
		{"\x80", 1, 0},             /* a continuation alone */
		{"\xc3(", 2, 0},            /* none where one must be */
		{"\xc0\xaf", 2, 0},         /* overlong / */
		{"\xe0\x80\xaf", 3, 0},     /* overlong / */
		{"\xed\xa0\x80", 3, 0},     /* a surrogate */
		{"\xf4\x90\x80\x80", 4, 0}, /* past U+10FFFF */
		{"\xf8\x88\x80\x80\x80", 5, 0},
		{"\xff", 1, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(text_utf8_len(all[i].s, all[i].n), all[i].len);
}

static void clean(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		size_t n, max;
		const char *out;
	} all[] = {
		{"plain", 5, 100, "plain"},
		{"", 0, 100, ""},
		{" \t\n ", 4, 100, ""},
		{"  two\tlines\r\nhere\n", 18, 100, "two lines  here"},
		{"\x1b[31mred\x07\x7f.", 11, 100, "?[31mred??."},
		{"a\0b", 3, 100, "a?b"},
		{"a\xc2\x9b"
		 "b",
		 4, 100, "a?b"},
		{"\xc3\xa4\xe2\x82\xac", 5, 100, "\xc3\xa4\xe2\x82\xac"},
		{"a\xff"
		 "b\xe2\x82",
		 5, 100, "a?b??"},
		{"abc", 3, 3, "abc"},
		{"abcd", 4, 3, "abc..."},
		{"abcd", 4, 0, "..."},
		{"ab\xe2\x82\xac", 5, 4, "ab..."}, /* not within a character */
		{"abc", 2, 100, "ab"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO(freep) char *out = text_clean(all[i].in, all[i].n, all[i].max);
		assert_string_equal(out, all[i].out);
	}
}

static void u64(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "0x1", "1.0", "18446744073709551616", "99999999999999999999"};
	uint64_t v = 5;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_u64(bad[i], &v), -1);
	assert_int_equal(v, 5);
	assert_int_equal(text_u64("0", &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(text_u64("007", &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(text_u64("18446744073709551615", &v), 0);
	assert_true(v == UINT64_MAX);
}

static void boolean(void **state)
{
	(void)state;
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	static const char *const bad[] = {"", "yes", "tRUE", "on", "2", "true "};
	bool v;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		v = false;
		assert_int_equal(text_bool(yes[i], &v), 0);
		assert_true(v);
		assert_int_equal(text_bool(no[i], &v), 0);
		assert_false(v);
	}
	v = true;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_bool(bad[i], &v), -1);
	assert_true(v);
}

static void duration(void **state)
{
	(void)state;
	static const struct {
		const char *s;
		int64_t ms;
	} good[] = {
		{"0s", 0},          {"500ms", 500},     {"90s", 90000},        {"30m", 1800000},
		{"1h30m", 5400000}, {"1m1s1ms", 61001}, {"1000h", 3600000000}, {"3600000000ms", 3600000000},
	};
	static const char *const bad[] = {"",     "5",   "s",     "1h30",     "-1s",
					  "1.5h", "1 s", "1d",    "1hm",      "1sm",
					  "1S",   "1us", "1001h", "1000h1ms", "9999999999999999999s"};
	int64_t v = 7;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_duration_ms(bad[i], &v), -1);
	assert_int_equal(v, 7);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(text_duration_ms(good[i].s, &v), 0);
		assert_int_equal(v, good[i].ms);
	}
}

static void url_escape(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf out = BUF_INIT;

	text_url_escape(&out, "aZ09-._~");
	assert_string_equal(buf_str(&out), "aZ09-._~");
	buf_clear(&out);
	text_url_escape(&out, "a b/c?d=e&f%\xc3\xa4+");
	assert_string_equal(buf_str(&out), "a%20b%2Fc%3Fd%3De%26f%25%C3%A4%2B");
}

static void shell_quote(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf out = BUF_INIT;

	text_shell_quote(&out, "");
	buf_puts(&out, " ");
	text_shell_quote(&out, "it's $(x) \"y\"\n");
	assert_string_equal(buf_str(&out), "'' 'it'\\''s $(x) \"y\"\n'");
}

static void glob(void **state)
{
	(void)state;
	assert_true(text_glob("*", ""));
	assert_true(text_glob("*", "dc1"));
	assert_true(text_glob("dc*", "dc"));
	assert_true(text_glob("*1", "dc1"));
	AUTO(buf_clear) struct buf regexp = BUF_INIT;
	text_glob_regexp(&regexp, "eu-*.(1)");
	assert_string_equal(buf_str(&regexp), "eu-.*\\.\\(1\\)");
	assert_true(text_glob("d*c*1", "dc-c-11"));
	assert_true(text_glob("", ""));
	assert_false(text_glob("", "a"));
	assert_false(text_glob("dc", "dc1"));
	assert_false(text_glob("dc1", "dc"));
	assert_false(text_glob("a*b", "abc"));
}

static void distance(void **state)
{
	(void)state;
	char longer[100];

	memset(longer, 'a', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(text_distance("", ""), 0);
	assert_int_equal(text_distance("start", "START"), 0);
	assert_int_equal(text_distance("strat", "start"), 2);
	assert_int_equal(text_distance("stats", "status"), 1);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("abc", ""), 3);
	assert_true(text_distance("a", longer) >= 63);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(equal_and_starts),
	cmocka_unit_test(utf8_len),
	cmocka_unit_test(clean),
	cmocka_unit_test(u64),
	cmocka_unit_test(boolean),
	cmocka_unit_test(duration),
	cmocka_unit_test(url_escape),
	cmocka_unit_test(shell_quote),
	cmocka_unit_test(glob),
	cmocka_unit_test(distance),
};

UNIT_MAIN(tests)
