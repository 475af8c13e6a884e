#include "frame.h"

#include "json.h"
#include "text.h"

static const char *const stream_names[FRAME_STREAMS] = {"stdout", "stderr"};

/* -- to the server -- */

/* A text frame of a payload that is at to + its header's length already. */
static size_t finish(char *to, enum ws_opcode opcode, size_t n, const uint8_t mask[4])
{
	return ws_encode(opcode, to + ws_header_len(n), n, mask) + n;
}

static size_t frame_text(char *to, const char *text, const uint8_t mask[4])
{
	return frame_control(to, WS_TEXT, text, strlen(text), mask);
}

size_t frame_stdin(char *to, const void *data, size_t n, const uint8_t mask[4])
{
	const size_t head = sizeof(FRAME_STDIN_HEAD) - 1, tail = sizeof(FRAME_STDIN_TAIL) - 1;
	size_t len = head + BASE64_LEN(n) + tail;
	char *p = to + ws_header_len(len);

	memcpy(p, FRAME_STDIN_HEAD, head);
	base64_encode(p + head, data, n);
	memcpy(p + len - tail, FRAME_STDIN_TAIL, tail);
	return finish(to, WS_TEXT, len, mask);
}

size_t frame_stdin_close(char *to, const uint8_t mask[4])
{
	return frame_text(to, "{\"stdin\":{\"close\":true}}", mask);
}

size_t frame_tty_size(char *to, unsigned height, unsigned width, const uint8_t mask[4])
{
	char text[WS_CONTROL_MAX];

	snprintf(text, sizeof(text), "{\"tty_size\":{\"height\":%u,\"width\":%u}}", height, width);
	return frame_text(to, text, mask);
}

size_t frame_heartbeat(char *to, const uint8_t mask[4])
{
	return frame_text(to, "{}", mask);
}

size_t frame_control(char *to, enum ws_opcode opcode, const void *data, size_t n, const uint8_t mask[4])
{
	if (n > WS_CONTROL_MAX)
		n = WS_CONTROL_MAX;
	if (n)
		memcpy(to + ws_header_len(n), data, n);
	return finish(to, opcode, n, mask);
}

size_t frame_close(char *to, int code, const uint8_t mask[4])
{
	const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};

	return frame_control(to, WS_CLOSE, payload, sizeof(payload), mask);
}

/* -- from the server -- */

static int bad_base64(enum frame_stream which, struct err *e)
{
	return err_set(e, ERR_REMOTE, "Nomad sent a frame whose %s is no valid base64", stream_names[which]);
}

/*
 * `{"stdout":{"data":"…"}}` and the same for stderr, exactly; a newline may follow.
 * Return: 1 = that it was, 0 = it is something else (the text is untouched), -1 = error.
 */
static int decode_plain(char *text, size_t n, struct frame *ret, struct err *e)
{
	static const char out_head[] = "{\"stdout\":{\"data\":\"", err_head[] = "{\"stderr\":{\"data\":\"";
	static const char tail[] = "\"}}";
	const size_t head = sizeof(out_head) - 1, foot = sizeof(tail) - 1;
	enum frame_stream which = FRAME_STDOUT;

	if (n && text[n - 1] == '\n')
		n--;
	if (n < head + foot || memcmp(text + n - foot, tail, foot) != 0)
		return 0;
	if (memcmp(text, err_head, head) == 0)
		which = FRAME_STDERR;
	else if (memcmp(text, out_head, head) != 0)
		return 0;

	char *data = text + head;
	size_t len = n - head - foot;
	/* an escape, or the string ends before the text does: a JSON parser must say what it means */
	if (memchr(data, '\\', len) || memchr(data, '"', len))
		return 0;
	size_t got = base64_decode(data, data, len);
	if (got == (size_t)-1)
		return bad_base64(which, e);
	ret->out[which].data = data;
	ret->out[which].len = got;
	return 1;
}

/* The data of one stream goes to *to, which moves on behind it. */
static int decode_stream(const cJSON *message, enum frame_stream which, char **to, struct frame *ret,
			 struct err *e)
{
	const cJSON *stream = json_get(message, stream_names[which]);
	const cJSON *data = json_get(stream, "data");

	ret->out[which].closed = json_is_true(stream, "close");
	if (!data || cJSON_IsNull(data))
		return 0;
	const char *s = cJSON_GetStringValue(data);
	if (!s)
		return err_set(e, ERR_REMOTE, "Nomad sent a frame whose %s data is no string",
			       stream_names[which]);
	size_t got = base64_decode(*to, s, strlen(s));
	if (got == (size_t)-1)
		return bad_base64(which, e);
	ret->out[which].data = *to;
	ret->out[which].len = got;
	*to += got;
	return 0;
}

/* What is in quotes, with their escapes, is never shorter than what it stands for: the text has room for all
 * data. */
static int decode_any(char *text, size_t n, struct frame *ret, struct err *e)
{
	struct err why = ERR_INIT;
	AUTO(json_freep) cJSON *message = json_parse(text, n, "a frame from Nomad", &why);

	if (!message) {
		err_set(e, ERR_REMOTE, "%s", why.msg);
		err_clear(&why);
		return -1;
	}
	if (!cJSON_IsObject(message))
		return err_set(e, ERR_REMOTE, "Nomad sent a frame that is no JSON object");

	char *to = text;
	if (decode_stream(message, FRAME_STDOUT, &to, ret, e) < 0 ||
	    decode_stream(message, FRAME_STDERR, &to, ret, e) < 0)
		return -1;
	ret->exited = json_is_true(message, "exited");
	if (ret->exited)
		ret->exit_code = (int)(json_u64(json_get(message, "result"), "exit_code", 0) & 0xff);
	return 0;
}

int frame_decode(char *text, size_t n, struct frame *ret, struct err *e)
{
	struct frame frame = {0};
	int plain = decode_plain(text, n, &frame, e);

	if (plain < 0 || (plain == 0 && decode_any(text, n, &frame, e) < 0))
		return -1;
	*ret = frame;
	return 0;
}
