#include "websocket.h"

#include "base64.h"
#include "text.h"

#include <assert.h>

/* -- opening handshake -- */

#define SHA1_LEN   20
#define SHA1_BLOCK 64

static uint32_t rotate(uint32_t v, unsigned by)
{
	return v << by | v >> (32 - by);
}

/* One block of RFC 3174, section 6.1. */
static void sha1_block(uint32_t h[5], const uint8_t block[SHA1_BLOCK])
{
	uint32_t w[80];
	uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (size_t t = 0; t < 16; t++)
		w[t] = (uint32_t)block[t * 4] << 24 | (uint32_t)block[t * 4 + 1] << 16 |
		       (uint32_t)block[t * 4 + 2] << 8 | block[t * 4 + 3];
	for (size_t t = 16; t < 80; t++)
		w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	for (size_t t = 0; t < 80; t++) {
		uint32_t f, k;

		if (t < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (t < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (t < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		uint32_t next = rotate(a, 5) + f + e + k + w[t];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static void sha1(uint8_t to[SHA1_LEN], const uint8_t *data, size_t n)
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t tail[2 * SHA1_BLOCK] = {0};
	uint64_t bits = (uint64_t)n * 8;

	for (; n >= SHA1_BLOCK; n -= SHA1_BLOCK, data += SHA1_BLOCK)
		sha1_block(h, data);
	/* the rest, a 1 bit, zeros, and the length in the last 8 bytes of a block */
	if (n)
		memcpy(tail, data, n);
	tail[n] = 0x80;
	size_t end = n + 1 + 8 <= SHA1_BLOCK ? SHA1_BLOCK : 2 * SHA1_BLOCK;
	for (size_t i = 0; i < 8; i++)
		tail[end - 1 - i] = (uint8_t)(bits >> (8 * i));
	for (size_t at = 0; at < end; at += SHA1_BLOCK)
		sha1_block(h, tail + at);
	for (size_t i = 0; i < SHA1_LEN; i++)
		to[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void ws_make_key(char key[25], const uint8_t random[16])
{
	key[base64_encode(key, random, 16)] = '\0';
}

void ws_accept_for_key(char accept[29], const char *key)
{
	AUTO(freep) char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	uint8_t digest[SHA1_LEN];

	sha1(digest, (const uint8_t *)text, strlen(text));
	accept[base64_encode(accept, digest, sizeof(digest))] = '\0';
}

/* -- frames -- */

#define FIN       0x80
#define RESERVED  0x70
#define OPCODE    0x0f
#define MASKED    0x80
#define LEN7      0x7f
#define LEN16     126 /* a 16-bit length follows */
#define LEN64     127 /* a 64-bit length follows */
#define CONTROL   0x08
#define MASK_SIZE 4

void ws_mask(void *data, size_t n, const uint8_t mask[4])
{
	uint8_t *p = data;
	uint8_t twice[8] = {mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]};
	uint64_t wide;
	size_t i;

	memcpy(&wide, twice, sizeof(wide));
	for (i = 0; i + sizeof(wide) <= n; i += sizeof(wide)) {
		uint64_t v; /* compilers make vectors of this */

		memcpy(&v, p + i, sizeof(v));
		v ^= wide;
		memcpy(p + i, &v, sizeof(v));
	}
	for (; i < n; i++)
		p[i] ^= mask[i % MASK_SIZE];
}

/* Bytes of the extended length: n is below 126, fits 16 bits, or does not (5.2). */
static size_t extended(size_t n)
{
	return n < LEN16 ? 0 : n <= UINT16_MAX ? 2 : 8;
}

size_t ws_header_len(size_t n)
{
	return 2 + extended(n) + MASK_SIZE;
}

size_t ws_encode(enum ws_opcode opcode, void *payload, size_t n, const uint8_t mask[4])
{
	size_t wide = extended(n);
	size_t header = ws_header_len(n);
	uint8_t *p = (uint8_t *)payload - header;

	assert(!(opcode & CONTROL) || n <= WS_CONTROL_MAX);
	*p++ = (uint8_t)(FIN | opcode);
	*p++ = (uint8_t)(MASKED | (wide == 0 ? n : wide == 2 ? LEN16 : LEN64));
	for (size_t i = wide; i--;)
		*p++ = (uint8_t)((uint64_t)n >> (8 * i));
	memcpy(p, mask, MASK_SIZE);
	ws_mask(payload, n, mask);
	return header;
}

/* -- decoder -- */

#define FIRST_CAP ((size_t)64 << 10) /* the buffer to begin with */
#define READ_MIN  ((size_t)16 << 10) /* room to offer for a read at least, where the maximum allows it */

struct ws_decoder {
	char *data;
	size_t cap, max_cap;
	size_t max; /* of a message */

	/* data: … [message: the fragments so far] … [pos: unread frames] [end … cap: free] */
	size_t message, message_len; /* while in_message */
	size_t pos, end;
	size_t frame; /* bytes of the frame at pos, header and all; 0 = not known yet */

	enum ws_opcode message_opcode;
	bool in_message; /* a fragment has come, the last one has not */
	bool closed;     /* a close frame has come */
	const char *broken;
	int close_code;
};

struct header {
	enum ws_opcode opcode;
	bool fin;
	size_t size;
	uint64_t len; /* of the payload */
};

struct ws_decoder *ws_decoder_new(size_t max)
{
	struct ws_decoder *d = xcalloc(1, sizeof(*d));

	assert(max <= SIZE_MAX / 4);
	d->max = max;
	d->max_cap = max + FIRST_CAP;
	d->cap = FIRST_CAP;
	d->data = xmalloc(d->cap);
	return d;
}

void ws_decoder_freep(struct ws_decoder **p)
{
	struct ws_decoder *d = *p;

	*p = NULL;
	if (!d)
		return;
	free(d->data);
	free(d);
}

/* Move what is still needed to the front of the buffer. */
static void compact(struct ws_decoder *d)
{
	size_t unread = d->end - d->pos;
	size_t to = d->in_message ? d->message_len : 0;

	if (d->pos == to)
		return;
	if (d->in_message) {
		memmove(d->data, d->data + d->message, d->message_len);
		d->message = 0;
	}
	memmove(d->data + to, d->data + d->pos, unread);
	d->pos = to;
	d->end = to + unread;
}

size_t ws_decoder_space(struct ws_decoder *d, char **ret)
{
	size_t want = d->end - d->pos + READ_MIN;

	if (want < d->frame)
		want = d->frame;
	if (d->cap - d->pos < want)
		compact(d);
	if (d->cap - d->pos < want && d->cap < d->max_cap) {
		size_t cap = d->cap;

		while (cap < d->pos + want)
			cap *= 2;
		d->cap = cap < d->max_cap ? cap : d->max_cap;
		d->data = xrealloc(d->data, d->cap);
	}
	/* an unfinished frame is shorter than the room that the maximum leaves: see the check of its length
	 */
	assert(d->end < d->cap);
	*ret = d->data + d->end;
	return d->cap - d->end;
}

void ws_decoder_filled(struct ws_decoder *d, size_t n)
{
	assert(n <= d->cap - d->end);
	d->end += n;
}

int ws_decoder_close_code(const struct ws_decoder *d)
{
	return d->close_code;
}

static int broken(struct ws_decoder *d, int close_code, const char *why)
{
	d->broken = why;
	d->close_code = close_code;
	return -1;
}

/* What the first two bytes of a frame say must not be. */
static int check_start(struct ws_decoder *d, uint8_t first, uint8_t second)
{
	unsigned opcode = first & OPCODE;

	if (first & RESERVED)
		return broken(d, WS_CLOSE_PROTOCOL, "a reserved bit is set");
	if (second & MASKED)
		return broken(d, WS_CLOSE_PROTOCOL, "a frame from the server is masked");
	if (opcode & CONTROL) {
		if (opcode > WS_PONG)
			return broken(d, WS_CLOSE_PROTOCOL, "an unknown opcode");
		if (!(first & FIN))
			return broken(d, WS_CLOSE_PROTOCOL, "a control frame is fragmented");
		if ((second & LEN7) > WS_CONTROL_MAX)
			return broken(d, WS_CLOSE_PROTOCOL, "a control frame is longer than 125 bytes");
		return 0;
	}
	if (opcode > WS_BINARY)
		return broken(d, WS_CLOSE_PROTOCOL, "an unknown opcode");
	if (opcode == WS_CONTINUATION && !d->in_message)
		return broken(d, WS_CLOSE_PROTOCOL, "a continuation of nothing");
	if (opcode != WS_CONTINUATION && d->in_message)
		return broken(d, WS_CLOSE_PROTOCOL, "a new message inside a fragmented one");
	return 0;
}

/* Return: 1 with *ret, 0 = more bytes needed, -1 = broken. */
static int read_header(struct ws_decoder *d, struct header *ret)
{
	const uint8_t *p = (const uint8_t *)d->data + d->pos;
	size_t have = d->end - d->pos;

	if (have < 2)
		return 0;
	if (check_start(d, p[0], p[1]) < 0)
		return -1;
	ret->opcode = (enum ws_opcode)(p[0] & OPCODE);
	ret->fin = p[0] & FIN;
	ret->len = p[1] & LEN7;

	size_t wide = ret->len == LEN16 ? 2 : ret->len == LEN64 ? 8 : 0;
	ret->size = 2 + wide;
	if (have < ret->size)
		return 0;
	if (wide) {
		ret->len = 0;
		for (size_t i = 0; i < wide; i++)
			ret->len = ret->len << 8 | p[2 + i];
		if (ret->len < LEN16 || (wide == 8 && ret->len <= UINT16_MAX))
			return broken(d, WS_CLOSE_PROTOCOL, "a length is not written the shortest way");
		if (ret->len >> 63)
			return broken(d, WS_CLOSE_PROTOCOL, "a length has its highest bit set");
	}
	if (!(ret->opcode & CONTROL) && ret->len > d->max - (d->in_message ? d->message_len : 0))
		return broken(d, WS_CLOSE_TOO_BIG, "a message is larger than we take");
	return 1;
}

static bool is_utf8(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint64_t v;
		size_t len;

		/* eight characters of ASCII at a time: that is what JSON mostly is */
		for (; i + sizeof(v) <= n; i += sizeof(v)) {
			memcpy(&v, s + i, sizeof(v));
			if (v & UINT64_C(0x8080808080808080))
				break;
		}
		if (i == n)
			break;
		len = text_utf8_len(s + i, n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

/* 7.4: which codes may be in a close frame; 1012 to 1014 came later, into IANA's registry. */
static bool is_close_code(int code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

static int read_close(struct ws_decoder *d, struct ws_event *ev)
{
	const uint8_t *p = (const uint8_t *)ev->data;

	d->closed = true;
	ev->close_code = WS_CLOSE_NO_CODE;
	if (ev->len == 0)
		return 0;
	if (ev->len == 1)
		return broken(d, WS_CLOSE_PROTOCOL, "a close frame of one byte");
	ev->close_code = p[0] << 8 | p[1];
	ev->data += 2;
	ev->len -= 2;
	if (!is_close_code(ev->close_code))
		return broken(d, WS_CLOSE_PROTOCOL, "an invalid close code");
	if (!is_utf8(ev->data, ev->len))
		return broken(d, WS_CLOSE_BAD_DATA, "a close reason is no UTF-8");
	return 0;
}

/* Return: 1 with *ret, 0 = more bytes needed, -1 = broken. */
static int decode(struct ws_decoder *d, struct ws_event *ret)
{
	for (;;) {
		struct header h;
		int have = read_header(d, &h);

		if (have <= 0)
			return have;
		d->frame = h.size + (size_t)h.len;
		if (d->end - d->pos < d->frame)
			return 0;

		char *payload = d->data + d->pos + h.size;
		size_t len = (size_t)h.len;
		d->pos += d->frame;
		d->frame = 0;
		*ret = (struct ws_event){.opcode = h.opcode, .data = payload, .len = len};
		if (h.opcode & CONTROL)
			return h.opcode == WS_CLOSE && read_close(d, ret) < 0 ? -1 : 1;

		if (h.opcode == WS_CONTINUATION) {
			memmove(d->data + d->message + d->message_len, payload, len);
			d->message_len += len;
			ret->opcode = d->message_opcode;
			ret->data = d->data + d->message;
			ret->len = d->message_len;
		} else if (!h.fin) {
			d->message = (size_t)(payload - d->data);
			d->message_len = len;
			d->message_opcode = h.opcode;
		}
		d->in_message = !h.fin;
		if (!h.fin)
			continue;
		if (ret->opcode == WS_TEXT && !is_utf8(ret->data, ret->len))
			return broken(d, WS_CLOSE_BAD_DATA, "a text message is no UTF-8");
		return 1;
	}
}

int ws_decoder_next(struct ws_decoder *d, struct ws_event *ret, struct err *e)
{
	struct ws_event ev;
	int got = 0;

	if (!d->closed && !d->broken)
		got = decode(d, &ev);
	if (d->broken) {
		d->pos = d->end;
		d->frame = 0;
		return err_set(e, ERR_REMOTE, "WebSocket: %s", d->broken);
	}
	if (d->closed)
		d->pos = d->end;
	if (got == 1) {
		*ret = ev;
	} else if (d->pos == d->end && !d->in_message) {
		d->pos = 0;
		d->end = 0;
	}
	return got;
}
