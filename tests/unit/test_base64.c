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

static void each_character_that_is_none(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 8; at++) {
			char code[8] = {'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'}, out[8];
			bool good =
				c &&
				strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c);

			code[at] = (char)c;
			if (c == '=' && at == 7)
				good = true;
			assert_int_equal(base64_decode(out, code, 8) != (size_t)-1, good);
		}
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(rfc_4648_vectors),
	cmocka_unit_test(all_bytes_and_lengths),
	cmocka_unit_test(refused),
	cmocka_unit_test(each_character_that_is_none),
};

UNIT_MAIN(tests)
