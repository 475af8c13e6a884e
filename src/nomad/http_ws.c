#include "base64.h"
#include "clock.h"
#include "http_private.h"
#include "platform.h"
#include "text.h"
#include "websocket.h"

#include <poll.h>

#define RESPONSE_MAX    ((size_t)16 << 10) /* of the opening handshake's answer */
#define ERROR_BODY_MS   1000               /* how long the text of a refusal may take */
#define DEFAULT_OPEN_MS 30000

struct http_ws {
	struct http *h;
	CURL *easy;
	char *what;
	bool open;        /* the handshakes, TLS's and the WebSocket's, are done */
	struct buf ahead; /* frames that came with the answer */
};

int http_ws_fd(const struct http_ws *ws)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(ws->easy, CURLINFO_ACTIVESOCKET, &fd);
	return (int)fd;
}

static int broken(struct http_ws *ws, CURLcode code, struct err *e)
{
	if (!ws->open)
		return http_curl_error(ws->h, code, ws->what, e);
	return err_set(e, ERR_CONNECT, "%s: the connection to %s broke: %s", ws->what, ws->h->shown,
		       curl_easy_strerror(code));
}

int http_ws_recv(struct http_ws *ws, void *to, size_t n, size_t *ret_n, struct err *e)
{
	if (ws->ahead.len) {
		*ret_n = n < ws->ahead.len ? n : ws->ahead.len;
		memcpy(to, ws->ahead.data, *ret_n);
		buf_consume(&ws->ahead, *ret_n);
		return 0;
	}

	size_t got = 0;
	CURLcode code = curl_easy_recv(ws->easy, to, n, &got);
	if (code == CURLE_AGAIN)
		got = 0;
	else if (code != CURLE_OK)
		return broken(ws, code, e);
	else if (got == 0)
		return err_set(e, ERR_CONNECT, "%s: %s closed the connection", ws->what, ws->h->shown);
	*ret_n = got;
	return 0;
}

int http_ws_send(struct http_ws *ws, const void *data, size_t n, size_t *ret_n, struct err *e)
{
	size_t put = 0;
	CURLcode code = curl_easy_send(ws->easy, data, n, &put);

	if (code != CURLE_OK && code != CURLE_AGAIN)
		return broken(ws, code, e);
	*ret_n = code == CURLE_AGAIN ? 0 : put;
	return 0;
}

/* Wait until the socket is ready, the deadline has passed or somebody wants us to stop. */
static int wait_socket(struct http_ws *ws, short events, int64_t deadline, struct err *e)
{
	struct pollfd fds[2] = {{.fd = http_ws_fd(ws), .events = events},
				{.fd = interrupt_fd(), .events = POLLIN}};
	int64_t left = clock_left(deadline);

	if (interrupt_signal())
		return interrupt_error(e);
	if (left == 0)
		return err_set(e, ERR_TIMEOUT, "%s: %s does not answer", ws->what, ws->h->shown);
	poll(fds, 2, (int)left);
	return 0;
}

static char *basic_credentials(const struct http *h)
{
	AUTO(secret_freep) char *pair = xasprintf("%s:%s", h->user, h->password ? h->password : "");
	size_t n = strlen(pair);
	char *text = xmalloc(BASE64_LEN(n) + 1);

	text[base64_encode(text, pair, n)] = '\0';
	return text;
}

static int send_request(struct http_ws *ws, const char *path, const char *key, int64_t deadline,
			struct err *e)
{
	const struct http *h = ws->h;
	AUTO(freep) char *target = http_url(h, "", path);
	AUTO(buf_wipe) struct buf rq = BUF_INIT;

	/* RFC 6455, 4.1 */
	buf_printf(&rq,
		   "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		   "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
		   target, h->host, key);
	if (h->user_agent)
		buf_printf(&rq, "User-Agent: %s\r\n", h->user_agent);
	if (h->token) {
		buf_printf(&rq, "%s: ", h->dialect->token_header);
		buf_puts(&rq, h->token);
		buf_puts(&rq, "\r\n");
	}
	if (h->user) {
		AUTO(secret_freep) char *credentials = basic_credentials(h);
		buf_puts(&rq, "Authorization: Basic ");
		buf_puts(&rq, credentials);
		buf_puts(&rq, "\r\n");
	}
	buf_puts(&rq, "\r\n");

	for (size_t sent = 0, n = 0; sent < rq.len; sent += n) {
		if (http_ws_send(ws, rq.data + sent, rq.len - sent, &n, e) < 0)
			return -1;
		if (n == 0 && wait_socket(ws, POLLOUT, deadline, e) < 0)
			return -1;
	}
	return 0;
}

/* More of the answer into @to; -1 with ERR_CONNECT at its end. */
static int recv_more(struct http_ws *ws, struct buf *to, int64_t deadline, struct err *e)
{
	char piece[4096];
	size_t n = 0;

	for (;;) {
		if (http_ws_recv(ws, piece, sizeof(piece), &n, e) < 0)
			return -1;
		if (n)
			break;
		if (wait_socket(ws, POLLIN, deadline, e) < 0)
			return -1;
	}
	if (buf_add(to, piece, n) < 0)
		return err_set(e, ERR_REMOTE, "%s: the answer is larger than %zu bytes", ws->what,
			       RESPONSE_MAX);
	return 0;
}

/* The value of a header within the answer's head, cleaned, for free(); NULL when it is not there. */
static char *header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (curl_strnequal(line, name, n) && line[n] == ':')
			return text_clean(line + n + 1, strcspn(line + n + 1, "\r"), 256);
	}
	return NULL;
}

static int refused(struct http_ws *ws, const char *head, struct buf *answer, int status, struct err *e)
{
	int64_t deadline = clock_ms() + ERROR_BODY_MS;
	AUTO(freep) char *length = header(head, "Content-Length");
	uint64_t want = RESPONSE_MAX;
	struct err end = ERR_INIT;

	if (length && text_u64(length, &want) < 0)
		want = RESPONSE_MAX;
	while (answer->len < want && recv_more(ws, answer, deadline, &end) == 0)
		;
	err_clear(&end);
	http_status_error(ws->h, ws->what, status, buf_str(answer), answer->len, e);
	if (status == 200 || status == 400 || status == 426)
		err_hint(
			e,
			"does a proxy between here and Nomad drop the Upgrade header? exec needs WebSockets");
	return -1;
}

static int read_answer(struct http_ws *ws, const char *key, int64_t deadline, struct err *e)
{
	AUTO(buf_clear) struct buf answer = BUF_INIT_MAX(RESPONSE_MAX);
	const char *end;

	do {
		if (recv_more(ws, &answer, deadline, e) < 0)
			return -1;
	} while (!(end = strstr(answer.data, "\r\n\r\n")));

	size_t head_len = (size_t)(end - answer.data) + 4;
	AUTO(freep) char *head = xstrndup(answer.data, head_len);
	buf_consume(&answer, head_len);

	uint64_t status = 0;
	AUTO(freep) char *code = strlen(head) > 12 ? xstrndup(head + 9, 3) : xstrdup("");
	if (!text_starts(head, "HTTP/1.1 ") || text_u64(code, &status) < 0) {
		AUTO(freep) char *clean = text_clean(head, head_len, 100);
		return err_set(e, ERR_REMOTE, "%s: no HTTP answer: %s", ws->what, clean);
	}
	if (status != 101)
		return refused(ws, head, &answer, (int)status, e);

	char accept[29];
	AUTO(freep) char *upgrade = header(head, "Upgrade");
	AUTO(freep) char *got = header(head, "Sec-WebSocket-Accept");
	ws_accept_for_key(accept, key);
	if (!upgrade || !curl_strequal(upgrade, "websocket") || !text_eq(got, accept)) {
		err_set(e, ERR_REMOTE, "%s: %s", ws->what, "the upgrade's answer is not a WebSocket's");
		return err_hint(e, "does a proxy between here and Nomad answer in its place?");
	}
	if (buf_add(&ws->ahead, answer.data, answer.len) < 0)
		abort();
	return 0;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)arg, (void)a, (void)b, (void)c, (void)d;
	return interrupt_signal() != 0;
}

static int connect_only(struct http_ws *ws, int64_t timeout_ms, struct err *e)
{
	if (http_prepare(ws->h, ws->easy, ws->h->base, e) < 0)
		return -1;
	curl_easy_setopt(ws->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(ws->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	curl_easy_setopt(ws->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(ws->easy, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(ws->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	CURLcode code = curl_easy_perform(ws->easy);
	return code == CURLE_OK ? 0 : http_curl_error(ws->h, code, ws->what, e);
}

int http_ws_open(struct http *h, const char *path, int64_t timeout_ms, struct http_ws **ret, struct err *e)
{
	AUTO(http_ws_freep) struct http_ws *ws = xcalloc(1, sizeof(*ws));
	int64_t started = clock_ms();
	uint8_t random[16];
	char key[25];

	if (!timeout_ms)
		timeout_ms = DEFAULT_OPEN_MS;
	ws->h = h;
	ws->what = xasprintf("GET %.*s", (int)strcspn(path, "?"), path);
	ws->easy = curl_easy_init();
	if (!ws->easy)
		return err_set(e, ERR_SYSTEM, "libcurl cannot be initialised");
	if (platform_random(random, sizeof(random), e) < 0)
		return -1;
	ws_make_key(key, random);

	int failed = connect_only(ws, timeout_ms, e) < 0 ||
		     send_request(ws, path, key, started + timeout_ms, e) < 0 ||
		     read_answer(ws, key, started + timeout_ms, e) < 0;
	http_log(ws->what, failed ? e->status : 101, started);
	curl_easy_setopt(ws->easy, CURLOPT_ERRORBUFFER, NULL); /* it is shared by all requests */
	if (failed)
		return -1;
	ws->open = true;
	*ret = TAKE(ws);
	return 0;
}

void http_ws_freep(struct http_ws **p)
{
	struct http_ws *ws = *p;

	if (!ws)
		return;
	curl_easy_cleanup(ws->easy);
	free(ws->what);
	buf_clear(&ws->ahead);
	free(ws);
	*p = NULL;
}
