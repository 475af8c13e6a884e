#include "unit.h"

#include "frame.h"
#include "json.h"

static const uint8_t no_mask[4];
static const uint8_t mask[4] = {0xa5, 0x01, 0xff, 0x3c};

static void encoded_frames(void **state)
{
	char to[FRAME_SMALL_MAX];

	(void)state;
	assert_int_equal(frame_stdin(to, "hello\n", 6, no_mask), 35);
	assert_memory_equal(to, "\x81\x9d\0\0\0\0{\"stdin\":{\"data\":\"aGVsbG8K\"}}", 35);
	assert_int_equal(frame_stdin_close(to, no_mask), 6 + 24);
	assert_memory_equal(to, "\x81\x98\0\0\0\0{\"stdin\":{\"close\":true}}", 30);
	assert_int_equal(frame_heartbeat(to, no_mask), 8);
	assert_memory_equal(to, "\x81\x82\0\0\0\0{}", 8);
	assert_int_equal(frame_tty_size(to, 24, 80, no_mask), 6 + 37);
	assert_memory_equal(to, "\x81\xa5\0\0\0\0{\"tty_size\":{\"height\":24,\"width\":80}}", 43);
	assert_int_equal(frame_close(to, WS_CLOSE_NORMAL, no_mask), 8);
	assert_memory_equal(to, "\x88\x82\0\0\0\0\x03\xe8", 8);
	assert_int_equal(frame_control(to, WS_PONG, "abc", 3, mask), 9);
	assert_memory_equal(to, "\x8a\x83\xa5\x01\xff\x3c\xc4\x63\x9c", 9);
	assert_int_equal(frame_control(to, WS_PING, NULL, 0, mask), 6);
}

/* Each length of header: the frame begins where it was asked for, and holds what went in. */
static void stdin_of_any_size(void **state)
{
	static const size_t sizes[] = {0, 1, 77, 78, 79, 80, 81, 49134, 49135, 49136, 49137, 49140, 1 << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t n = sizes[i];
		AUTO(freep) char *data = xmalloc(n);
		AUTO(freep) char *to = xmalloc(FRAME_STDIN_MAX(n));

		for (size_t k = 0; k < n; k++)
			data[k] = (char)(k * 13);
		size_t len = frame_stdin(to, data, n, mask);
		size_t payload = sizeof(FRAME_STDIN_HEAD) - 1 + BASE64_LEN(n) + sizeof(FRAME_STDIN_TAIL) - 1;
		size_t header = ws_header_len(payload);

		assert_int_equal(len, header + payload);
		assert_true(len <= FRAME_STDIN_MAX(n));
		assert_int_equal((uint8_t)to[0], 0x81);
		ws_mask(to + header, payload, mask);
		assert_memory_equal(to + header, FRAME_STDIN_HEAD, sizeof(FRAME_STDIN_HEAD) - 1);
		assert_memory_equal(to + len - 3, "\"}}", 3);
		char *code = to + header + sizeof(FRAME_STDIN_HEAD) - 1;
		assert_int_equal(base64_decode(code, code, BASE64_LEN(n)), n);
		assert_memory_equal(code, data, n);
	}
}

/* Decodes a copy that ends where the text ends (ASan sees a byte too far). */
static int decode(const char *text, size_t n, char **keep, struct frame *f, struct err *e)
{
	*keep = malloc(n ? n : 1);
	memcpy(*keep, text, n);
	return frame_decode(*keep, n, f, e);
}

static void check_data(const char *text, const char *out, const char *err)
{
	AUTO(freep) char *keep = NULL;
	struct frame f;
	struct err e = ERR_INIT;

	assert_int_equal(decode(text, strlen(text), &keep, &f, &e), 0);
	assert_int_equal(f.out[FRAME_STDOUT].len, strlen(out));
	assert_memory_equal(f.out[FRAME_STDOUT].len ? f.out[FRAME_STDOUT].data : "", out, strlen(out));
	assert_int_equal(f.out[FRAME_STDERR].len, strlen(err));
	assert_memory_equal(f.out[FRAME_STDERR].len ? f.out[FRAME_STDERR].data : "", err, strlen(err));
	assert_false(f.exited);
}

static void plain_data(void **state)
{
	(void)state;
	check_data("{\"stdout\":{\"data\":\"aGVsbG8K\"}}", "hello\n", "");
	check_data("{\"stderr\":{\"data\":\"aGVsbG8K\"}}", "", "hello\n");
	check_data("{\"stdout\":{\"data\":\"aGVsbG8K\"}}\n", "hello\n", "");
	check_data("{\"stdout\":{\"data\":\"\"}}", "", "");
}

static void the_same_written_otherwise(void **state)
{
	(void)state;
	check_data(" { \"stdout\" : { \"data\" : \"aGVsbG8K\" } } ", "hello\n", "");
	check_data("{\"stdout\":{\"data\":\"aGVsbG8K\",\"close\":false}}", "hello\n", "");
	check_data("{\"stdout\":{\"data\":\"aGVsbG8K\"},\"stderr\":{\"data\":\"ZXJy\"}}", "hello\n", "err");
	check_data("{\"stderr\":{\"data\":\"ZXJy\"},\"stdout\":{\"data\":\"aGVsbG8K\"}}", "hello\n", "err");
	check_data("{\"stdout\":{\"data\":\"Pz8\\/\"}}", "???", "");
	check_data("{\"stdout\":{\"data\":\"\\u0061GVsbG8K\"}}", "hello\n", "");
	check_data("{\"stdout\":{\"data\":null}}", "", "");
	check_data("{\"stdout\":null}", "", "");
}

static void unknown_members(void **state)
{
	(void)state;
	check_data("{}", "", "");
	check_data(
		"{\"new\":[1,{\"a\":null}],\"stdout\":{\"data\":\"aGVsbG8K\",\"seq\":18446744073709551615}}",
		"hello\n", "");
	check_data("{\"stdout\":\"text\",\"Stdout\":{\"data\":\"aGVsbG8K\"}}", "", "");
}

static void closed_streams(void **state)
{
	AUTO(freep) char *keep = NULL;
	struct frame f;
	struct err e = ERR_INIT;
	static const char text[] = "{\"stderr\":{\"close\":true}}";

	(void)state;
	assert_int_equal(decode(text, sizeof(text) - 1, &keep, &f, &e), 0);
	assert_true(f.out[FRAME_STDERR].closed);
	assert_false(f.out[FRAME_STDOUT].closed);
	assert_int_equal(f.out[FRAME_STDERR].len, 0);
}

static void exit_frames(void **state)
{
	static const struct {
		const char *text;
		bool exited;
		int code;
	} cases[] = {
		{"{\"exited\":true,\"result\":{\"exit_code\":3}}", true, 3},
		{"{\"exited\":true,\"result\":{\"exit_code\":255}}\n", true, 255},
		{"{\"exited\":true,\"result\":{}}", true, 0},
		{"{\"exited\":true}", true, 0},
		{"{\"exited\":false,\"result\":{\"exit_code\":3}}", false, 0},
		{"{\"exited\":\"true\"}", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(freep) char *keep = NULL;
		struct frame f;
		struct err e = ERR_INIT;

		assert_int_equal(decode(cases[i].text, strlen(cases[i].text), &keep, &f, &e), 0);
		assert_int_equal(f.exited, cases[i].exited);
		assert_int_equal(f.exit_code, cases[i].code);
	}
}

static void check_error(const char *text, const char *message)
{
	AUTO(freep) char *keep = NULL;
	struct frame f = {.exit_code = 77};
	struct err e = ERR_INIT;

	assert_int_equal(decode(text, strlen(text), &keep, &f, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_string_equal(e.msg, message);
	assert_int_equal(f.exit_code, 77);
	err_clear(&e);
}

static void bad_frames(void **state)
{
	(void)state;
	check_error("{\"stdout\":{\"data\":\"aGVsbG8\"}}",
		    "Nomad sent a frame whose stdout is no valid base64");
	check_error("{\"stderr\":{\"data\":\"aGV*bG8K\"}}",
		    "Nomad sent a frame whose stderr is no valid base64");
	check_error("{\"stderr\": {\"data\":\"aGV*bG8K\"}}",
		    "Nomad sent a frame whose stderr is no valid base64");
	check_error("{\"stdout\":{\"data\":5}}", "Nomad sent a frame whose stdout data is no string");
	check_error("[]", "Nomad sent a frame that is no JSON object");
	check_error("null", "Nomad sent a frame that is no JSON object");
	check_error("", "a frame from Nomad: invalid JSON at line 1, column 1");
	check_error("{\"stdout\":{\"data\":\"aGVs", "a frame from Nomad: invalid JSON at line 1, column 20");
	check_error("{} {}", "a frame from Nomad: invalid JSON at line 1, column 4");
}

/* Every beginning of a valid frame is an error, none reads too far. */
static void cut_anywhere(void **state)
{
	static const char text[] =
		"{\"stdout\":{\"data\":\"aGVsbG8K\"},\"exited\":true,\"result\":{\"exit_code\":3}}";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		AUTO(freep) char *keep = NULL;
		struct frame f;
		struct err e = ERR_INIT;

		assert_int_equal(decode(text, n, &keep, &f, &e), -1);
		assert_int_equal(e.kind, ERR_REMOTE);
		err_clear(&e);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(encoded_frames),  cmocka_unit_test(stdin_of_any_size),
	cmocka_unit_test(plain_data),      cmocka_unit_test(the_same_written_otherwise),
	cmocka_unit_test(unknown_members), cmocka_unit_test(closed_streams),
	cmocka_unit_test(exit_frames),     cmocka_unit_test(bad_frames),
	cmocka_unit_test(cut_anywhere),
};

UNIT_MAIN(tests)
