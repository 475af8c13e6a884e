#include "unit.h"

#include "buf.h"
#include "marks.h"

#define NONCE                                                                                                \
	"\036"                                                                                               \
	"0123456789abcdef"

static void collect(struct buf *to, struct marks_out out)
{
	assert_int_equal(buf_add(to, out.held, out.held_len), 0);
	assert_int_equal(buf_add(to, out.data, out.len), 0);
}

/* The stream in two pieces split anywhere, in three, and byte by byte. Each piece is memory of its own (ASan
 * sees). */
static void feed_copy(struct marks *m, const char *data, size_t n, struct buf *to)
{
	char *copy = malloc(n ? n : 1);

	memcpy(copy, data, n);
	collect(to, marks_feed(m, copy, n));
	free(copy);
}

static void check(const char *stream, size_t n, bool with_code, const char *expect, size_t expect_n, int code)
{
	for (size_t a = 0; a <= n; a++) {
		for (size_t b = a; b <= n + 1; b++) {
			AUTO(buf_clear) struct buf out = BUF_INIT;
			struct marks m;

			marks_init(&m, NONCE, with_code);
			if (b <= n) {
				feed_copy(&m, stream, a, &out);
				feed_copy(&m, stream + a, b - a, &out);
				feed_copy(&m, stream + b, n - b, &out);
			} else {
				for (size_t i = 0; i < n; i++)
					feed_copy(&m, stream + i, 1, &out);
			}
			assert_int_equal(m.found, code >= 0);
			if (code >= 0 && with_code)
				assert_int_equal(m.code, code);
			collect(&out, marks_flush(&m));
			assert_int_equal(out.len, expect_n);
			assert_memory_equal(buf_str(&out), expect, expect_n);
		}
	}
}

#define CHECK(stream, expect, code) check(stream, sizeof(stream) - 1, true, expect, sizeof(expect) - 1, code)

static void found_at_every_split(void **state)
{
	(void)state;
	CHECK(NONCE ":0\n", "", 0);
	CHECK("hello\n" NONCE ":3\n", "hello\n", 3);
	CHECK("no newline" NONCE ":255\n", "no newline", 255);
	CHECK("a\0b" NONCE ":12\n", "a\0b", 12);
}

static void what_follows_is_dropped(void **state)
{
	(void)state;
	CHECK("x" NONCE ":7\nmore and " NONCE ":8\n", "x", 7);
}

static void without_code(void **state)
{
	static const char stream[] = "banner\n" NONCE "rest";

	(void)state;
	check(stream, sizeof(stream) - 1, false, "banner\n", 7, 0);
}

static void looks_like_one(void **state)
{
	(void)state;
	/* the first bytes of the mark again and again, and the real one right behind */
	CHECK("\036" NONCE ":1\n", "\036", 1);
	CHECK("\036\036\036"
	      "0" NONCE ":1\n",
	      "\036\036\036"
	      "0",
	      1);
	CHECK("\036"
	      "0123456789abcde" NONCE ":1\n",
	      "\036"
	      "0123456789abcde",
	      1);
	CHECK("\036"
	      "0123456789abcdeg" NONCE ":1\n",
	      "\036"
	      "0123456789abcdeg",
	      1);
	/* a text, but no code of ours */
	CHECK(NONCE NONCE ":1\n", NONCE, 1);
	CHECK(NONCE ":\n" NONCE ":1\n", NONCE ":\n", 1);
	CHECK(NONCE ":256\n" NONCE ":1\n", NONCE ":256\n", 1);
	CHECK(NONCE ":1234" NONCE ":1\n", NONCE ":1234", 1);
	CHECK(NONCE ":1" NONCE ":1\n", NONCE ":1", 1);
	CHECK(NONCE ":-1\n" NONCE ":1\n", NONCE ":-1\n", 1);
	CHECK(NONCE "1\n", NONCE "1\n", -1);
}

/* What a terminal makes of the newline. */
static void carriage_returns(void **state)
{
	(void)state;
	CHECK("x\r\n" NONCE ":7\r\n", "x\r\n", 7);
	CHECK(NONCE ":255\r\r\nmore", "", 255);
	CHECK(NONCE ":1\r\r\r\n", NONCE ":1\r\r\r\n", -1);
	CHECK(NONCE ":\r\n", NONCE ":\r\n", -1);
	CHECK(NONCE ":1\r2\n" NONCE ":3\n", NONCE ":1\r2\n", 3);
	CHECK(NONCE ":1\r", NONCE ":1\r", -1);
}

static void tells_what_follows(void **state)
{
	static const char stream[] = "echo" NONCE ":0\r\nits own";
	struct marks m;

	(void)state;
	marks_init(&m, NONCE, true);
	marks_feed(&m, stream, 10);
	marks_feed(&m, stream + 10, sizeof(stream) - 11);
	assert_true(m.found);
	assert_string_equal(stream + 10 + m.rest, "its own");
}

static void held_is_given_back(void **state)
{
	(void)state;
	CHECK("", "", -1);
	CHECK("plain", "plain", -1);
	CHECK("x\036", "x\036", -1);
	CHECK("x" NONCE, "x" NONCE, -1);
	CHECK("x" NONCE ":12", "x" NONCE ":12", -1);
}

/* What is held for too long goes on its way, once, whatever follows. */
static void released(void **state)
{
	(void)state;
	const char stream[] = "a" NONCE ":1x" NONCE ":2\n";
	const char data[] = "a" NONCE ":1x";
	const size_t n = sizeof(stream) - 1, data_n = sizeof(data) - 1;

	for (size_t cut = 0; cut <= n; cut++) {
		for (size_t again = cut; again <= n; again++) {
			AUTO(buf_clear) struct buf out = BUF_INIT;
			struct marks m;

			marks_init(&m, NONCE, true);
			feed_copy(&m, stream, cut, &out);
			collect(&out, marks_release(&m));
			assert_int_equal(out.len, cut < n ? cut : data_n);
			feed_copy(&m, stream + cut, again - cut, &out);
			feed_copy(&m, stream + again, n - again, &out);
			assert_true(m.found);
			assert_int_equal(m.code, 2);
			assert_int_equal(out.len, data_n + m.leaked);
			assert_int_equal(m.leaked, cut > data_n && cut < n ? cut - data_n : 0);
			assert_memory_equal(out.data, stream, out.len);
		}
	}
}

static void holds_no_more_than_the_mark(void **state)
{
	struct marks m;
	size_t most = 0;

	(void)state;
	marks_init(&m, NONCE, true);
	for (size_t i = 0; i < 100000; i++) {
		char c = (NONCE ":123")[i % 21 < 21 ? i % 21 : 0];

		(void)marks_feed(&m, &c, 1);
		if (m.held_len > most)
			most = m.held_len;
	}
	assert_true(most <= sizeof(NONCE) - 1 + MARKS_CODE_MAX);
	assert_false(m.found);
}

static void data_is_not_copied(void **state)
{
	static const char stream[] = "some data" NONCE ":0\n";
	struct marks m;

	(void)state;
	marks_init(&m, NONCE, true);
	struct marks_out out = marks_feed(&m, stream, sizeof(stream) - 1);
	assert_ptr_equal(out.data, stream);
	assert_int_equal(out.len, 9);
	assert_int_equal(out.held_len, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(found_at_every_split),
	cmocka_unit_test(what_follows_is_dropped),
	cmocka_unit_test(without_code),
	cmocka_unit_test(looks_like_one),
	cmocka_unit_test(held_is_given_back),
	cmocka_unit_test(released),
	cmocka_unit_test(holds_no_more_than_the_mark),
	cmocka_unit_test(data_is_not_copied),
	cmocka_unit_test(carriage_returns),
	cmocka_unit_test(tells_what_follows),
};

UNIT_MAIN(tests)
