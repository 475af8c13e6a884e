#include "unit.h"

#include "base64.h"
#include "mem.h"

#include <stdbool.h>
#include <stdlib.h>

static void rfc_4648_vectors(void **state)
{
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const char *plain = pairs[i][0], *code = pairs[i][1];
		char out[16];

		assert_int_equal(BASE64_LEN(strlen(plain)), strlen(code));
		assert_int_equal(base64_encode(out, plain, strlen(plain)), strlen(code));
		assert_memory_equal(out, code, strlen(code));
		assert_int_equal(base64_decode(out, code, strlen(code)), strlen(plain));
		assert_memory_equal(out, plain, strlen(plain));
	}
}

static void all_bytes_and_lengths(void **state)
{
	(void)state;
	for (size_t n = 0; n < 300; n++) {
		uint8_t data[300];
		char code[BASE64_LEN(300)];

		for (size_t i = 0; i < n; i++)
			data[i] = (uint8_t)(i * 31 + n);
		size_t len = base64_encode(code, data, n);
		assert_int_equal(len, BASE64_LEN(n));
		/* in place, too */
		assert_int_equal(base64_decode(code, code, len), n);
		assert_memory_equal(code, data, n);
	}
}

/* Memory as large as the header says and no larger (ASan sees a byte too far), at any address. */
static void nothing_beyond_its_memory(void **state)
{
	(void)state;
	for (size_t n = 1; n < 100; n++) {
		for (size_t off = 0; off < 3; off++) {
			char *data = malloc(n + off), *code = malloc(BASE64_LEN(n) + off);
			char *back = malloc(BASE64_LEN(n) / 4 * 3 + off);

			for (size_t i = 0; i < n; i++)
				data[off + i] = (char)(i * 77 + n);
			size_t len = base64_encode(code + off, data + off, n);
			assert_int_equal(len, BASE64_LEN(n));
			assert_int_equal(base64_decode(back + off, code + off, len), n);
			assert_memory_equal(back + off, data + off, n);
			assert_int_equal(base64_decode(code + off, code + off, len), n);
			assert_memory_equal(code + off, data + off, n);
			free(data);
			free(code);
			free(back);
		}
	}
}

/* All 64 times 64 pairs of characters, in each place. */
static void each_pair_of_bytes(void **state)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (unsigned v = 0; v < 1 << 16; v++) {
		const uint8_t data[12] = {(uint8_t)(v >> 8), (uint8_t)v, 0x5a, 0x5a,
					  (uint8_t)(v >> 8), (uint8_t)v};
		char code[16];
		uint8_t back[12];

		assert_int_equal(base64_encode(code, data, sizeof(data)), sizeof(code));
		assert_int_equal(code[0], alphabet[v >> 10]);
		assert_int_equal(code[1], alphabet[v >> 4 & 63]);
		assert_int_equal(code[2], alphabet[(v & 15) << 2 | 1]);
		assert_int_equal(code[3], alphabet[0x1a]);
		assert_int_equal(code[6], alphabet[(v >> 8 & 15) << 2 | (v >> 6 & 3)]);
		assert_int_equal(code[7], alphabet[v & 63]);
		assert_int_equal(base64_decode(back, code, sizeof(code)), sizeof(data));
		assert_memory_equal(back, data, sizeof(data));
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {"Z",     "Zg",       "Zg=",          "Zg===", "====",   "=AAA",
					  "A=AA",  "AA=A",     "Zh==",         "Zm9=",  "Zm9!",   "Zm9 ",
					  "Zm9\n", "Zg==Zg==", "Zm9vZg==Zm9v", "Zm9-",  "Zm9\xff"};
	char out[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(base64_decode(out, bad[i], strlen(bad[i])) == (size_t)-1);
	/* a NUL is no end */
	assert_true(base64_decode(out, "Zm9\0", 4) == (size_t)-1);
}

/* Enough for the loops that take several groups at a time and for those that take the rest. */
#define LONG 40

static void each_character_that_is_none(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < LONG; at++) {
			char code[LONG], out[LONG / 4 * 3];
			bool good =
				c &&
				strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c);

			memset(code, 'A', sizeof(code));
			code[at] = (char)c;
			if (c == '=' && at == LONG - 1)
				good = true;
			assert_int_equal(base64_decode(out, code, sizeof(code)) != (size_t)-1, good);
		}
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(rfc_4648_vectors),
	cmocka_unit_test(all_bytes_and_lengths),
	cmocka_unit_test(nothing_beyond_its_memory),
	cmocka_unit_test(each_pair_of_bytes),
	cmocka_unit_test(refused),
	cmocka_unit_test(each_character_that_is_none),
};

UNIT_MAIN(tests)
