#ifndef FRAME_H
#define FRAME_H

#include "base64.h"
#include "websocket.h"

/*
 * The frames of Nomad's exec: JSON, one value a WebSocket text message. What they hold:
 * ExecTaskStreamingRequestMsg and ExecTaskStreamingResponseMsg in Nomad's plugins/drivers/proto/driver.proto,
 * bytes in base64 (developer.hashicorp.com/nomad/api-docs/client#exec-allocation). Pure: no I/O.
 */

#define FRAME_STDIN_HEAD "{\"stdin\":{\"data\":\""
#define FRAME_STDIN_TAIL "\"}}"

/** Bytes that n bytes of stdin take at most as a whole WebSocket frame. */
#define FRAME_STDIN_MAX(n) (14 + sizeof(FRAME_STDIN_HEAD) - 1 + BASE64_LEN(n) + sizeof(FRAME_STDIN_TAIL) - 1)

/** Bytes that each of the other frames takes at most. */
#define FRAME_SMALL_MAX ((size_t)14 + WS_CONTROL_MAX)

/*
 * All of these write one whole, masked WebSocket frame to @to and return its length. @mask: 4 fresh random
 * bytes.
 */

/** frame_stdin() - n bytes for the process's stdin; needs FRAME_STDIN_MAX(n). They are copied once, as
 * base64. */
size_t frame_stdin(char *to, const void *data, size_t n, const uint8_t mask[4]);

/** frame_stdin_close() - the process's stdin is at its end. */
size_t frame_stdin_close(char *to, const uint8_t mask[4]);

/** frame_tty_size() - the terminal's size, in characters. */
size_t frame_tty_size(char *to, unsigned height, unsigned width, const uint8_t mask[4]);

/** frame_heartbeat() - `{}`, which Nomad reads and drops (isHeartbeat() in plugins/drivers/execstreaming.go).
 */
size_t frame_heartbeat(char *to, const uint8_t mask[4]);

/** frame_control() - a WebSocket ping, pong or close with n bytes of payload, which are cut at
 * WS_CONTROL_MAX. */
size_t frame_control(char *to, enum ws_opcode opcode, const void *data, size_t n, const uint8_t mask[4]);

/** frame_close() - a WebSocket close with a code of RFC 6455, 7.4.1, and no reason. */
size_t frame_close(char *to, int code, const uint8_t mask[4]);

enum frame_stream { FRAME_STDOUT, FRAME_STDERR, FRAME_STREAMS };

/* What one message said; all that it did not say is zero. */
struct frame {
	struct {
		char *data; /* in the memory of the text that was decoded */
		size_t len;
		bool closed; /* Nomad sends no more of this stream */
	} out[FRAME_STREAMS];
	bool exited;
	int exit_code; /* when exited; what Nomad left out is 0 (omitempty) */
};

/**
 * frame_decode() - read one message, in place: @text (n bytes) is overwritten by the data.
 * Members that are not known are passed over. What Nomad writes for plain data is read without a JSON parser.
 * Return: 0 with *ret, or -1 with ERR_REMOTE.
 */
int frame_decode(char *text, size_t n, struct frame *ret, struct err *e) MUST_CHECK;

#endif
