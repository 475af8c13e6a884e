#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * RFC 6455, the client's side, without any I/O: bytes in, messages out, and the other way round. Section
 * numbers below are of that RFC. No extension is ever negotiated, so reserved bits are errors (5.2).
 */

/* -- opening handshake (4.1, 4.2.2) -- */

/** ws_make_key() - Sec-WebSocket-Key: 16 random bytes in base64, NUL-terminated. */
void ws_make_key(char key[25], const uint8_t random[16]);

/**
 * ws_accept_for_key() - the Sec-WebSocket-Accept that answers @key, NUL-terminated.
 * It is base64(SHA-1(key + a fixed GUID)). The SHA-1 is an own one because nothing secret hangs on it: it
 * only shows that the peer speaks WebSocket, and libcurl may stand on any TLS library or none, so there is
 * none to borrow.
 */
void ws_accept_for_key(char accept[29], const char *key);

/* -- frames (5.2) -- */

enum ws_opcode {
	WS_CONTINUATION = 0x0,
	WS_TEXT = 0x1,
	WS_BINARY = 0x2,
	WS_CLOSE = 0x8,
	WS_PING = 0x9,
	WS_PONG = 0xa,
};

/* Status codes of a close frame (7.4.1). */
enum ws_close_code {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_PROTOCOL = 1002,
	WS_CLOSE_NO_CODE = 1005, /* never sent: the close frame had no payload */
	WS_CLOSE_BAD_DATA = 1007,
	WS_CLOSE_TOO_BIG = 1009,
};

#define WS_HEADER_MAX  14  /* bytes: the longest header of a masked frame */
#define WS_CONTROL_MAX 125 /* bytes: the longest payload of a control frame (5.5) */

/** ws_header_len() - bytes of the header of a masked frame with a payload of n bytes: 6, 8 or 14. */
size_t ws_header_len(size_t n);

/**
 * ws_encode() - make a whole, masked frame around a payload, in place.
 * @payload: n bytes, masked on return (5.3); the header is written right before it, so ws_header_len(n) bytes
 * in front of it must be the caller's.
 * @mask: 4 bytes that the peer's data cannot foretell, new for each frame.
 * Return: ws_header_len(n): the frame begins that many bytes before the payload.
 */
size_t ws_encode(enum ws_opcode opcode, void *payload, size_t n, const uint8_t mask[4]);

/** ws_mask() - XOR n bytes with the mask, from the mask's first byte on (5.3); masks and unmasks. */
void ws_mask(void *data, size_t n, const uint8_t mask[4]);

/* -- decoder -- */

/* A message, or a control frame that came between its fragments. */
struct ws_event {
	enum ws_opcode opcode; /* WS_TEXT, WS_BINARY, WS_CLOSE, WS_PING or WS_PONG */
	char *data; /* the decoder's, the caller's to change; valid until the next call with that decoder */
	size_t len; /* for WS_CLOSE: data and len are the reason, which is UTF-8 */
	int close_code; /* for WS_CLOSE: the peer's code, WS_CLOSE_NO_CODE when it gave none */
};

/*
 * Bytes are read straight into the decoder's buffer (space, filled) and messages are handed out where they
 * lie; only the pieces of a fragmented message are moved together. Any split of the bytes gives the same
 * events.
 */
struct ws_decoder;

/** ws_decoder_new() - @max: bytes of the largest message, all fragments together. Uses 64 KiB more at most.
 */
struct ws_decoder *ws_decoder_new(size_t max);
void ws_decoder_freep(struct ws_decoder **p);

/**
 * ws_decoder_space() - where to put bytes next; ws_decoder_next() must have returned 0 (or -1) before.
 * Return: how many fit, never 0.
 */
size_t ws_decoder_space(struct ws_decoder *d, char **ret);

/** ws_decoder_filled() - n bytes have been put there. */
void ws_decoder_filled(struct ws_decoder *d, size_t n);

/**
 * ws_decoder_next() - the next message or control frame.
 * What the RFC forbids a server is an error: a masked frame, reserved bits or opcodes, a length that is not
 * written the shortest way, control frames that are fragmented or too long, fragments out of order, a close
 * code that must not be sent, text or a reason that is no UTF-8; a message over the maximum too. What follows
 * a close frame is dropped (5.5.1). Return: 1 with *ret, 0 when more bytes are needed, -1 with ERR_REMOTE
 * (again at each further call).
 */
int ws_decoder_next(struct ws_decoder *d, struct ws_event *ret, struct err *e) MUST_CHECK;

/** ws_decoder_close_code() - after -1: the code to close the line with (7.4.1). */
int ws_decoder_close_code(const struct ws_decoder *d);

#endif
