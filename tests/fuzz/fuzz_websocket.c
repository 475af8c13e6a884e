/*
 * The first byte chooses how the rest is cut into pieces; the events must be those of the rest in one piece.
 * A decoder with a small maximum, so that its limits are met.
 */
#include "fuzz.h"

#include "buf.h"
#include "websocket.h"

#define MAX 300

static void drain(struct ws_decoder *d, struct buf *log)
{
	struct ws_event ev;
	struct err e = ERR_INIT;
	int got;

	while ((got = ws_decoder_next(d, &ev, &e)) > 0) {
		HOLDS(ev.len <= MAX);
		buf_printf(log, "%x %d %zu ", (unsigned)ev.opcode, ev.close_code, ev.len);
		HOLDS(buf_add(log, ev.data, ev.len) == 0);
		memset(ev.data, 0xee, ev.len);
	}
	if (got < 0) {
		/* once, whenever it's met */
		if (!log->len || log->data[log->len - 1] != '!')
			buf_printf(log, "%d %s!", ws_decoder_close_code(d), e.msg);
		err_clear(&e);
	}
}

static void decode(const uint8_t *data, size_t n, size_t step, struct buf *log)
{
	AUTO(ws_decoder_freep) struct ws_decoder *d = ws_decoder_new(MAX);

	while (n) {
		char *to;
		size_t room = ws_decoder_space(d, &to);
		size_t len = step < n ? step : n;

		HOLDS(room > 0);
		if (len > room)
			len = room;
		memcpy(to, data, len);
		ws_decoder_filled(d, len);
		data += len;
		n -= len;
		drain(d, log);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(buf_clear) struct buf whole = BUF_INIT, pieces = BUF_INIT;

	if (n < 2)
		return 0;
	decode(data + 1, n - 1, n, &whole);
	decode(data + 1, n - 1, 1 + data[0] % 64, &pieces);
	HOLDS(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
	return 0;
}
