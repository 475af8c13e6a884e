/* NOLINTBEGIN(bugprone-not-null-terminated-result): these are bytes, not strings */
#include "unit.h"

#include "buf.h"
#include "websocket.h"

/* A decoder that was fed in pieces, and what came out of it, one line an event. */
static void drain(struct ws_decoder *d, struct buf *log, bool *stop)
{
	for (;;) {
		struct ws_event ev;
		struct err e = ERR_INIT;
		int got = ws_decoder_next(d, &ev, &e);

		if (got < 0) {
			assert_int_equal(e.kind, ERR_REMOTE);
			if (!*stop)
				buf_printf(log, "! %d %s\n", ws_decoder_close_code(d), e.msg);
			*stop = true;
			err_clear(&e);
			return;
		}
		if (got == 0)
			return;
		buf_printf(log, "%x %d ", (unsigned)ev.opcode, ev.close_code);
		if (ev.len > 64)
			buf_printf(log, "(%zu %c%c)", ev.len, ev.data[0], ev.data[ev.len - 1]);
		else
			assert_int_equal(buf_add(log, ev.data, ev.len), 0);
		buf_puts(log, "\n");
		memset(ev.data, 'X', ev.len); /* it's the caller's to change */
	}
}

static void feed(struct ws_decoder *d, const void *data, size_t n, struct buf *log, bool *stop)
{
	const char *p = data;

	while (n) {
		char *to;
		size_t room = ws_decoder_space(d, &to);

		assert_true(room > 0);
		if (room > n)
			room = n;
		memcpy(to, p, room);
		ws_decoder_filled(d, room);
		p += room;
		n -= room;
		drain(d, log, stop);
	}
}

/* The bytes at once, byte by byte, and split at each position: always the same events. */
static void check(const void *data, size_t n, size_t max, const char *expect)
{
	for (size_t split = 0; split <= n + 1; split++) {
		AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(max);
		AUTO(buf_clear) struct buf log = BUF_INIT;
		const char *p = data;
		bool stop = false;

		if (split <= n) {
			feed(d, p, split, &log, &stop);
			feed(d, p + split, n - split, &log, &stop);
		} else {
			for (size_t i = 0; i < n; i++)
				feed(d, p + i, 1, &log, &stop);
		}
		assert_string_equal(buf_str(&log), expect);
	}
}

#define CHECK(bytes, expect) check(bytes, sizeof(bytes) - 1, 1024, expect)

static void accept_of_rfc_example(void **state)
{
	char accept[29], key[25];

	(void)state;
	/* 1.3 */
	ws_accept_for_key(accept, "dGhlIHNhbXBsZSBub25jZQ==");
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	ws_make_key(key, (const uint8_t *)"the sample nonce");
	assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ==");
}

static void accept_of_any_length(void **state)
{
	char accept[29];

	(void)state;
	/* the block's boundaries: 36 + 19, + 20 (no room for the length), + 28; made with Python's hashlib */
	ws_accept_for_key(accept, "");
	assert_string_equal(accept, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
	ws_accept_for_key(accept, "aaaaaaaaaaaaaaaaaaa");
	assert_string_equal(accept, "yzaGyu0mcUukN7CdsSwa30tnCpc=");
	ws_accept_for_key(accept, "aaaaaaaaaaaaaaaaaaaa");
	assert_string_equal(accept, "dUYRM7bOMwDmbriNIPr11x+r3E0=");
	ws_accept_for_key(accept, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_string_equal(accept, "xMWmCBqYJY4uXzUs8PNU1t+Pzro=");
}

static void rfc_examples(void **state)
{
	(void)state;
	/* 5.7, those a server may send */
	CHECK("\x81\x05Hello", "1 0 Hello\n");
	CHECK("\x01\x03Hel\x80\x02lo", "1 0 Hello\n");
	CHECK("\x89\x05Hello", "9 0 Hello\n");
	CHECK("\x8a\x05Hello", "a 0 Hello\n");

	char big[10 + 65536] = {(char)0x82, 0x7e, 0x01, 0x00};
	memset(big + 4, 'a', 256);
	check(big, 4 + 256, 1024, "2 0 (256 aa)\n");
	/* 64 KiB: not each split, that would take long */
	memcpy(big, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
	memset(big + 10, 'b', 65536);
	for (size_t split = 0; split < 65546; split += 1009) {
		AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(65536);
		AUTO(buf_clear) struct buf log = BUF_INIT;
		bool stop = false;

		feed(d, big, split, &log, &stop);
		feed(d, big + split, 65546 - split, &log, &stop);
		assert_string_equal(buf_str(&log), "2 0 (65536 bb)\n");
	}
}

static void encode_rfc_example(void **state)
{
	const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	char room[WS_HEADER_MAX + 5];

	(void)state;
	/* 5.7: a single-frame masked text message */
	memcpy(room + WS_HEADER_MAX, "Hello", 5);
	assert_int_equal(ws_encode(WS_TEXT, room + WS_HEADER_MAX, 5, mask), 6);
	assert_memory_equal(room + WS_HEADER_MAX - 6, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
}

static void encode_lengths(void **state)
{
	static const struct {
		size_t n, header;
		const char *bytes;
	} cases[] = {
		{0, 6, "\x82\x80"},
		{125, 6, "\x82\xfd"},
		{126, 8, "\x82\xfe\x00\x7e"},
		{65535, 8, "\x82\xfe\xff\xff"},
		{65536, 14, "\x82\xff\0\0\0\0\0\x01\0\0"},
	};
	const uint8_t mask[4] = {1, 2, 3, 4};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(freep) char *room = xcalloc(1, WS_HEADER_MAX + cases[i].n);
		char *payload = room + WS_HEADER_MAX;

		assert_int_equal(ws_header_len(cases[i].n), cases[i].header);
		assert_int_equal(ws_encode(WS_BINARY, payload, cases[i].n, mask), cases[i].header);
		assert_memory_equal(payload - cases[i].header, cases[i].bytes, cases[i].header - 4);
		assert_memory_equal(payload - 4, mask, 4);
		for (size_t k = 0; k < cases[i].n; k++)
			assert_int_equal((uint8_t)payload[k], mask[k % 4]);
	}
}

static void mask_any_length_and_place(void **state)
{
	const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};

	(void)state;
	for (size_t at = 0; at < 9; at++) {
		for (size_t n = 0; n < 70; n++) {
			uint8_t data[80], expect[80];

			for (size_t i = 0; i < sizeof(data); i++)
				data[i] = expect[i] = (uint8_t)(i * 7);
			for (size_t i = 0; i < n; i++)
				expect[at + i] ^= mask[i % 4];
			ws_mask(data + at, n, mask);
			assert_memory_equal(data, expect, sizeof(data));
		}
	}
}

static void fragments_with_control_between(void **state)
{
	(void)state;
	CHECK("\x01\x02"
	      "ab"
	      "\x89\x02"
	      "pi"
	      "\x00\x00"
	      "\x8a\x00"
	      "\x80\x03"
	      "cde"
	      "\x82\x01"
	      "z",
	      "9 0 pi\na 0 \n1 0 abcde\n2 0 z\n");
	/* a character split between fragments is whole in the message */
	CHECK("\x01\x01\xc3\x80\x01\xa9", "1 0 \xc3\xa9\n");
	CHECK("\x81\x00\x82\x00\x01\x00\x80\x00", "1 0 \n2 0 \n1 0 \n");
}

static void close_frames(void **state)
{
	(void)state;
	CHECK("\x88\x00", "8 1005 \n");
	CHECK("\x88\x02\x03\xe8", "8 1000 \n");
	CHECK("\x88\x06\x03\xf3gone", "8 1011 gone\n");
	CHECK("\x88\x06\x03\xf0r\xc3\xa9q", "8 1008 r\xc3\xa9q\n");
	/* nothing follows it */
	CHECK("\x88\x02\x03\xe8\x81\x01x\xff\xff", "8 1000 \n");
	CHECK("\x88\x01\x03", "! 1002 WebSocket: a close frame of one byte\n");
	CHECK("\x88\x03\x03\xe8\xff", "! 1007 WebSocket: a close reason is no UTF-8\n");
}

static void close_codes(void **state)
{
	static const struct {
		int from, to;
		bool valid;
	} ranges[] = {{0, 999, false},     {1000, 1003, true}, {1004, 1006, false}, {1007, 1014, true},
		      {1015, 2999, false}, {3000, 4999, true}, {5000, 65535, false}};

	(void)state;
	for (size_t r = 0; r < ARRAY_SIZE(ranges); r++) {
		for (int code = ranges[r].from; code <= ranges[r].to;
		     code += code == ranges[r].to - 1 ? 1 : 1 + (code > 5000) * 997) {
			AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(16);
			AUTO(buf_clear) struct buf log = BUF_INIT;
			AUTO(freep) char *expect = xasprintf("8 %d \n", code);
			const uint8_t bytes[4] = {0x88, 2, (uint8_t)(code >> 8), (uint8_t)code};
			bool stop = false;

			feed(d, bytes, 4, &log, &stop);
			assert_string_equal(buf_str(&log),
					    ranges[r].valid ? expect
							    : "! 1002 WebSocket: an invalid close code\n");
		}
	}
}

static void refused_frames(void **state)
{
	(void)state;
	/* what came before is still handed out */
	CHECK("\x81\x01"
	      "a"
	      "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
	      "1 0 a\n! 1002 WebSocket: a frame from the server is masked\n");
	CHECK("\xc1\x00", "! 1002 WebSocket: a reserved bit is set\n");
	CHECK("\xa1\x00", "! 1002 WebSocket: a reserved bit is set\n");
	CHECK("\x91\x00", "! 1002 WebSocket: a reserved bit is set\n");
	CHECK("\x83\x00", "! 1002 WebSocket: an unknown opcode\n");
	CHECK("\x87\x00", "! 1002 WebSocket: an unknown opcode\n");
	CHECK("\x8b\x00", "! 1002 WebSocket: an unknown opcode\n");
	CHECK("\x8f\x00", "! 1002 WebSocket: an unknown opcode\n");
	CHECK("\x09\x00", "! 1002 WebSocket: a control frame is fragmented\n");
	CHECK("\x89\x7e\x00\x7e", "! 1002 WebSocket: a control frame is longer than 125 bytes\n");
	CHECK("\x88\x7f", "! 1002 WebSocket: a control frame is longer than 125 bytes\n");
	CHECK("\x80\x00", "! 1002 WebSocket: a continuation of nothing\n");
	CHECK("\x81\x00\x00\x00", "1 0 \n! 1002 WebSocket: a continuation of nothing\n");
	CHECK("\x01\x00\x81\x00", "! 1002 WebSocket: a new message inside a fragmented one\n");
}

static void lengths_not_shortest(void **state)
{
	(void)state;
	CHECK("\x82\x7e\x00\x7d", "! 1002 WebSocket: a length is not written the shortest way\n");
	CHECK("\x82\x7e\x00\x00", "! 1002 WebSocket: a length is not written the shortest way\n");
	CHECK("\x82\x7f\0\0\0\0\0\0\xff\xff", "! 1002 WebSocket: a length is not written the shortest way\n");
	CHECK("\x82\x7f\0\0\0\0\0\0\0\x05", "! 1002 WebSocket: a length is not written the shortest way\n");
	CHECK("\x82\x7f\x80\0\0\0\0\0\0\0", "! 1002 WebSocket: a length has its highest bit set\n");
}

static void too_large(void **state)
{
	char whole[4 + 1024];

	(void)state;
	memcpy(whole, "\x82\x7e\x04\x00", 4);
	memset(whole + 4, 'm', 1024);
	check(whole, sizeof(whole), 1024, "2 0 (1024 mm)\n");
	/* refused by the header alone, before any of it is stored */
	check(whole, 4, 1023, "! 1009 WebSocket: a message is larger than we take\n");
	CHECK("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
	      "! 1009 WebSocket: a message is larger than we take\n");
	/* the fragments count together; control frames don't */
	check("\x02\x05"
	      "aaaaa"
	      "\x89\x7d",
	      9, 8, "");
	check("\x02\x05"
	      "aaaaa"
	      "\x00\x03"
	      "bbb"
	      "\x89\x02"
	      "pp"
	      "\x80\x00",
	      18, 8, "9 0 pp\n2 0 aaaaabbb\n");
	check("\x02\x05"
	      "aaaaa"
	      "\x00\x03"
	      "bbb"
	      "\x80\x01"
	      "c",
	      15, 8, "! 1009 WebSocket: a message is larger than we take\n");
	check("\x82\x00\x82\x01", 4, 0, "2 0 \n! 1009 WebSocket: a message is larger than we take\n");
}

static void text_must_be_utf8(void **state)
{
	(void)state;
	CHECK("\x81\x0a"
	      "01234567\xc3\xa9",
	      "1 0 01234567\xc3\xa9\n");
	CHECK("\x81\x0c\xf0\x9f\x98\x80"
	      "01234567",
	      "1 0 \xf0\x9f\x98\x80"
	      "01234567\n");
	CHECK("\x81\x09"
	      "01234567\xc3",
	      "! 1007 WebSocket: a text message is no UTF-8\n");
	CHECK("\x81\x02\xc0\x80", "! 1007 WebSocket: a text message is no UTF-8\n");
	CHECK("\x81\x03\xed\xa0\x80", "! 1007 WebSocket: a text message is no UTF-8\n");
	CHECK("\x81\x04\xf4\x90\x80\x80", "! 1007 WebSocket: a text message is no UTF-8\n");
	CHECK("\x01\x01\xc3\x80\x01z", "! 1007 WebSocket: a text message is no UTF-8\n");
	CHECK("\x82\x02\xff\xfe", "2 0 \xff\xfe\n");
}

/* Messages and fragments of many sizes through a decoder that must move and grow its buffer. */
static void long_stream(void **state)
{
	AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(200000);
	AUTO(buf_clear) struct buf in = BUF_INIT, out = BUF_INIT, expect = BUF_INIT;
	uint32_t seed = 1;
	char counter = 0;

	(void)state;
	for (int m = 0; m < 300; m++) {
		unsigned parts = 1 + (unsigned)m % 4;

		for (unsigned k = 0; k < parts; k++) {
			seed = seed * 1103515245 + 12345;
			size_t n = (seed >> 16) % (m % 10 == 0 ? 49999 : 300);
			uint8_t head[10] = {(uint8_t)((k + 1 == parts ? 0x80 : 0) | (k ? 0 : 2))};
			size_t size = 2;

			if (n < 126) {
				head[1] = (uint8_t)n;
			} else {
				head[1] = 126;
				head[2] = (uint8_t)(n >> 8);
				head[3] = (uint8_t)n;
				size = 4;
			}
			assert_int_equal(buf_add(&in, head, size), 0);
			for (size_t i = 0; i < n; i++) {
				assert_int_equal(buf_add(&in, &counter, 1), 0);
				assert_int_equal(buf_add(&expect, &counter, 1), 0);
				counter++;
			}
			if (m % 3 == 0)
				assert_int_equal(buf_add(&in, "\x89\x01p", 3), 0);
		}
	}
	for (size_t at = 0; at < in.len;) {
		struct ws_event ev;
		struct err e = ERR_INIT;
		char *to;
		size_t n = ws_decoder_space(d, &to);
		int got;

		seed = seed * 1103515245 + 12345;
		size_t most = 1 + (seed >> 16) % 70000;
		if (n > most)
			n = most;
		if (n > in.len - at)
			n = in.len - at;
		memcpy(to, in.data + at, n);
		ws_decoder_filled(d, n);
		at += n;
		while ((got = ws_decoder_next(d, &ev, &e)) == 1)
			if (ev.opcode == WS_BINARY)
				assert_int_equal(buf_add(&out, ev.data, ev.len), 0);
		assert_int_equal(got, 0);
	}
	assert_int_equal(out.len, expect.len);
	assert_memory_equal(out.data, expect.data, out.len);
}

static void error_stays(void **state)
{
	AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(16);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct ws_event ev;
		struct err e = ERR_INIT;
		char *to;

		assert_true(ws_decoder_space(d, &to) > 2);
		memcpy(to, i ? "\x81\x00" : "\xf1\x00", 2);
		ws_decoder_filled(d, 2);
		assert_int_equal(ws_decoder_next(d, &ev, &e), -1);
		assert_string_equal(e.msg, "WebSocket: a reserved bit is set");
		err_clear(&e);
	}
	struct ws_decoder *none = NULL;
	ws_decoder_freep(&none);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(accept_of_rfc_example),
	cmocka_unit_test(accept_of_any_length),
	cmocka_unit_test(rfc_examples),
	cmocka_unit_test(encode_rfc_example),
	cmocka_unit_test(encode_lengths),
	cmocka_unit_test(mask_any_length_and_place),
	cmocka_unit_test(fragments_with_control_between),
	cmocka_unit_test(close_frames),
	cmocka_unit_test(close_codes),
	cmocka_unit_test(refused_frames),
	cmocka_unit_test(lengths_not_shortest),
	cmocka_unit_test(too_large),
	cmocka_unit_test(text_must_be_utf8),
	cmocka_unit_test(long_stream),
	cmocka_unit_test(error_stays),
};

UNIT_MAIN(tests)
/* NOLINTEND(bugprone-not-null-terminated-result) */
