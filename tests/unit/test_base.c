#include "unit.h"

#include "buf.h"
#include "err.h"
#include "json.h"

#include <errno.h>

/* err */

static void err_is_set_once(void **state)
{
	(void)state;
	struct err e = ERR_INIT;

	assert_int_equal(err_exit_code(&e), 0);
	assert_int_equal(err_set(&e, ERR_AUTH, "HTTP %d", 403), -1);
	assert_int_equal(e.kind, ERR_AUTH);
	assert_string_equal(e.msg, "HTTP 403");
	assert_null(e.hint);
	err_clear(&e);
	assert_int_equal(e.kind, ERR_NONE);
	assert_null(e.msg);
	err_clear(&e);
}

static void err_wraps_and_keeps_the_first_hint(void **state)
{
	(void)state;
	struct err e = ERR_INIT;

	err_set(&e, ERR_NOT_FOUND, "no job");
	assert_int_equal(err_hint(&e, "look %s", "here"), -1);
	assert_int_equal(err_hint(&e, "or there"), -1);
	assert_int_equal(err_wrap(&e, "stop '%s'", "ws-1"), -1);
	assert_int_equal(err_wrap(&e, "main"), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.msg, "main: stop 'ws-1': no job");
	assert_string_equal(e.hint, "look here");
	err_clear(&e);
}

static void err_of_the_system(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	AUTO(freep) char *wanted = xasprintf("open '/x': %s", strerror(ENOENT));

	assert_int_equal(err_sys(&e, ENOENT, "open '%s'", "/x"), -1);
	assert_int_equal(e.kind, ERR_SYSTEM);
	assert_string_equal(e.msg, wanted);
	err_clear(&e);
}

static void err_moves_and_the_first_stays(void **state)
{
	(void)state;
	struct err a = ERR_INIT, b = ERR_INIT;

	err_set(&b, ERR_TIMEOUT, "late");
	err_move(&a, &b);
	assert_int_equal(b.kind, ERR_NONE);
	assert_string_equal(a.msg, "late");
	err_set(&b, ERR_SYSTEM, "second");
	err_move(&a, &b);
	assert_int_equal(b.kind, ERR_NONE);
	assert_null(b.msg);
	assert_string_equal(a.msg, "late");
	err_move(&a, &b);
	assert_string_equal(a.msg, "late");
	err_clear(&a);
}

static void err_exit_codes(void **state)
{
	(void)state;
	struct err e = ERR_INIT;

	for (enum err_kind k = ERR_USAGE; k <= ERR_OUTPUT; k++) {
		err_set(&e, k, "x");
		e.status = 15;
		assert_int_equal(err_exit_code(&e), k == ERR_USAGE ? 2 : k == ERR_INTERRUPTED ? 143 : 1);
		err_clear(&e);
	}
}

/* buf and mem */

static void buf_grows_and_is_terminated(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf b = BUF_INIT;

	assert_string_equal(buf_str(&b), "");
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(buf_add(&b, "x\0", 2), 0);
		assert_int_equal(b.len, 2 * i + 2);
		assert_int_equal(b.data[b.len], '\0');
	}
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(b.len, 2000);
	assert_memory_equal(b.data + 1998, "x\0", 3);
}

static void buf_has_a_maximum(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf b = BUF_INIT_MAX(4);

	assert_int_equal(buf_add(&b, "abc", 3), 0);
	assert_int_equal(buf_add(&b, "de", 2), -1);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -1);
	assert_string_equal(buf_str(&b), "abc");
	assert_int_equal(buf_reserve(&b, 1), 0);
	assert_int_equal(buf_add(&b, "d", 1), 0);
	assert_int_equal(buf_reserve(&b, 0), 0);
	assert_int_equal(buf_add(&b, "e", 1), -1);
	assert_string_equal(buf_str(&b), "abcd");
	buf_clear(&b);
	assert_int_equal(b.max, 4);
	assert_int_equal(buf_add(&b, "abcde", 5), -1);
}

static void buf_takes_and_consumes(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf b = BUF_INIT;

	buf_printf(&b, "%s-%d", "abc", 7);
	buf_puts(&b, "!");
	buf_consume(&b, 1);
	assert_string_equal(buf_str(&b), "bc-7!");
	buf_consume(&b, 5);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_str(&b), "");
	buf_puts(&b, "z");

	AUTO(freep) char *taken = buf_take(&b);
	assert_string_equal(taken, "z");
	assert_int_equal(b.len, 0);
	assert_null(b.data);
	AUTO(freep) char *nothing = buf_take(&b);
	assert_string_equal(nothing, "");
	buf_consume(&b, 0);
	buf_puts(&b, "secret");
	buf_wipe(&b);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
}

static void memory(void **state)
{
	(void)state;
	char secret[] = "secret";
	AUTO(freep) char *a = xstrdup("abc");
	AUTO(freep) char *b = xstrndup("abc", 2);
	AUTO(secret_freep) char *c = NULL;

	assert_null(xstrdup(NULL));
	assert_string_equal(b, "ab");
	c = TAKE(a);
	assert_null(a);
	assert_string_equal(c, "abc");
	mem_wipe(secret, sizeof secret);
	assert_memory_equal(secret, "\0\0\0\0\0\0", sizeof secret);
	mem_wipe(NULL, 0);
	free(xmalloc(0));
	free(xcalloc(0, 0));
}

/* json */

static cJSON *parsed(const char *text)
{
	struct err e = ERR_INIT;
	cJSON *v = json_parse(text, strlen(text), "T", &e);

	if (!v)
		fail_msg("%s", e.msg);
	return v;
}

static void json_says_where(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"", "T: invalid JSON at line 1, column 1"},
		{"[1,", "T: invalid JSON at line 1, column 3"},
		{"{\n  \"a\": x}", "T: invalid JSON at line 2, column 8"},
		{"[1] 2", "T: invalid JSON at line 1, column 5"},
		{"[1]\n\n]", "T: invalid JSON at line 3, column 1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;
		assert_null(json_parse(bad[i].text, strlen(bad[i].text), "T", &e));
		assert_int_equal(e.kind, ERR_CONFIG);
		assert_string_equal(e.msg, bad[i].message);
		err_clear(&e);
	}
}

static void json_takes_what_is_within_its_length(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	AUTO(json_freep) cJSON *v = json_parse("[1] \r\n\t]", 7, "T", &e);

	assert_non_null(v);
	assert_null(json_parse("[1]\0]", 5, "T", &e));
	err_clear(&e);
	assert_null(json_parse("[1]", 2, "T", &e));
	err_clear(&e);
}

static void json_reads_what_is_there(void **state)
{
	(void)state;
	AUTO(json_freep)
	cJSON *v = parsed("{\"s\": \"x\", \"n\": 7, \"t\": true, \"f\": false, \"big\": 9007199254740992, "
			  "\"bigger\": 9007199254740994, \"half\": 0.5, \"minus\": -1, \"huge\": 1e300}");

	assert_string_equal(json_str(v, "s"), "x");
	assert_null(json_str(v, "S"));
	assert_null(json_str(v, "n"));
	assert_null(json_str(NULL, "s"));
	assert_null(json_get(json_get(v, "s"), "x"));
	assert_true(json_u64(v, "n", 1) == 7);
	assert_true(json_u64(v, "s", 1) == 1);
	assert_true(json_u64(v, "none", 1) == 1);
	assert_true(json_u64(v, "big", 1) == UINT64_C(9007199254740992));
	assert_true(json_u64(v, "bigger", 1) == 1);
	assert_true(json_u64(v, "half", 1) == 1);
	assert_true(json_u64(v, "minus", 1) == 1);
	assert_true(json_u64(v, "huge", 1) == 1);
	assert_true(json_u64(NULL, "n", 1) == 1);
	assert_true(json_is_true(v, "t"));
	assert_false(json_is_true(v, "f"));
	assert_false(json_is_true(v, "n"));
	assert_false(json_is_true(NULL, "t"));
}

static void json_writes_what_is_put(void **state)
{
	(void)state;
	static const char *const list[] = {"a", "b\n\"", NULL};
	AUTO(json_freep) cJSON *v = json_object();
	cJSON *array = json_put(v, "list", json_strings(list));

	json_push_str(array, "c");
	json_push(array, json_array());
	json_put_str(v, "s", "\xc3\xa4/");
	json_put_int(v, "least", INT64_MIN);
	json_put_int(v, "most", INT64_MAX);
	json_put_bool(v, "yes", true);

	AUTO(freep) char *text = json_print(v);
	assert_string_equal(text,
			    "{\"list\":[\"a\",\"b\\n\\\"\",\"c\",[]],\"s\":\"\xc3\xa4/\","
			    "\"least\":-9223372036854775808,\"most\":9223372036854775807,\"yes\":true}");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(err_is_set_once),
	cmocka_unit_test(err_wraps_and_keeps_the_first_hint),
	cmocka_unit_test(err_of_the_system),
	cmocka_unit_test(err_moves_and_the_first_stays),
	cmocka_unit_test(err_exit_codes),
	cmocka_unit_test(buf_grows_and_is_terminated),
	cmocka_unit_test(buf_has_a_maximum),
	cmocka_unit_test(buf_takes_and_consumes),
	cmocka_unit_test(memory),
	cmocka_unit_test(json_says_where),
	cmocka_unit_test(json_takes_what_is_within_its_length),
	cmocka_unit_test(json_reads_what_is_there),
	cmocka_unit_test(json_writes_what_is_put),
};

UNIT_MAIN(tests)
