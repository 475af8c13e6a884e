#include "clock.h"
#include "http_private.h"
#include "log.h"
#include "platform.h"
#include "text.h"

#include <poll.h>

#define DEFAULT_TIMEOUT_MS 30000
#define CONNECT_TIMEOUT_MS 10000
#define CA_MAX             ((size_t)16 << 20)
#define BODY_SHOWN         600  /* bytes of a reply in an error message */
#define HEADER_MAX         1024 /* bytes of a reply's header that we look at */

static const struct http_dialect dialects[] = {
	[HTTP_NOMAD] = {"Nomad", "NOMAD", 4646, "X-Nomad-Token", NULL, NULL},
	/* a Vault agent can be told to refuse requests without the mark, against request forgery */
	[HTTP_VAULT] = {"Vault", "VAULT", 8200, "X-Vault-Token", "X-Vault-Namespace",
			"X-Vault-Request: true"},
};

static int bad_address(const struct http *h, const char *addr, const char *why, struct err *e)
{
	AUTO(freep) char *shown = text_clean(addr, strlen(addr), 200);
	int port = h->dialect->port;

	err_set(e, ERR_CONFIG, "%s_ADDR '%s': %s", h->dialect->prefix, shown, why);
	return err_hint(e, "write it as http://host:%d, https://host:%d or unix:///path/of/the/socket", port,
			port);
}

static void urlp(CURLU **p)
{
	curl_url_cleanup(*p);
}

static char *url_part(CURLU *u, CURLUPart part)
{
	char *s = NULL;

	if (curl_url_get(u, part, &s,
			 part == CURLUPART_USER || part == CURLUPART_PASSWORD ? CURLU_URLDECODE : 0))
		return NULL;
	char *copy = xstrdup(s);
	curl_free(s);
	return copy;
}

static bool is_loopback(const char *host)
{
	/* what Go's httpproxy never sends to a proxy */
	return text_eq(host, "localhost") || text_starts(host, "127.") || text_eq(host, "[::1]");
}

static int parse_address(struct http *h, const struct http_config *config, struct err *e)
{
	if (text_starts(config->addr, "unix://")) {
		h->unix_path = xstrdup(config->addr + strlen("unix://"));
		if (h->unix_path[0] != '/')
			return bad_address(h, config->addr, "no absolute path after unix://", e);
		h->shown = xstrdup(config->addr);
		h->base = xstrdup("http://127.0.0.1");
		h->host = xstrdup("127.0.0.1");
		h->loopback = true;
		return 0;
	}

	AUTO(urlp) CURLU *u = curl_url();
	if (!u || curl_url_set(u, CURLUPART_URL, config->addr, 0))
		return bad_address(h, config->addr, "no URL", e);
	AUTO(freep) char *scheme = url_part(u, CURLUPART_SCHEME);
	AUTO(freep) char *host = url_part(u, CURLUPART_HOST);
	AUTO(freep) char *port = url_part(u, CURLUPART_PORT);
	if (!text_eq(scheme, "http") && !text_eq(scheme, "https"))
		return bad_address(h, config->addr, "the scheme is none of http, https, unix", e);
	h->tls = text_eq(scheme, "https");
	h->loopback = is_loopback(host);
	h->user = url_part(u, CURLUPART_USER);
	h->password = url_part(u, CURLUPART_PASSWORD);
	h->host = port ? xasprintf("%s:%s", host, port) : xstrdup(host);
	h->shown = xasprintf("%s://%s", scheme, h->host);
	if (h->tls && config->tls_server_name) {
		const char *p = port ? port : "443";

		/* curl takes the name to verify and to send as SNI from the URL only */
		h->base = xasprintf("https://%s:%s", config->tls_server_name, p);
		AUTO(freep) char *to = xasprintf("%s:%s:%s:%s", config->tls_server_name, p, host, p);
		h->connect_to = curl_slist_append(NULL, to);
		if (!h->connect_to)
			abort();
	} else {
		h->base = xstrdup(h->shown);
	}
	return 0;
}

static int load_capath(struct http *h, const char *path, struct err *e)
{
	AUTO(dir_files_freep) char **files = dir_files(path, e);
	const char *prefix = h->dialect->prefix;

	if (!files)
		return err_wrap(e, "%s_CAPATH", prefix);
	h->ca_blob.max = CA_MAX;
	for (char **f = files; *f; f++) {
		size_t n;
		AUTO(freep) char *pem = file_read(*f, CA_MAX, &n, e);

		if (!pem)
			return err_wrap(e, "%s_CAPATH", prefix);
		if (buf_add(&h->ca_blob, pem, n) < 0 || buf_add(&h->ca_blob, "\n", 1) < 0)
			return err_set(e, ERR_CONFIG, "%s_CAPATH '%s': more than %zu bytes of certificates",
				       prefix, path, CA_MAX);
	}
	if (!h->ca_blob.len)
		return err_set(e, ERR_CONFIG, "%s_CAPATH '%s': no certificate in it", prefix, path);
	return 0;
}

static int readable(const struct http *h, const char *name, const char *path, struct err *e)
{
	AUTO(freep) char *content = path ? file_read(path, CA_MAX, NULL, e) : NULL;

	if (path && !content)
		return err_wrap(e, "%s_%s", h->dialect->prefix, name);
	if (content)
		mem_wipe(content, strlen(content));
	return 0;
}

static void take_http_auth(struct http *h, const char *auth)
{
	const char *colon = strchr(auth, ':');

	h->user = xstrndup(auth, colon ? (size_t)(colon - auth) : strlen(auth));
	h->password = xstrdup(colon ? colon + 1 : "");
}

static void add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		abort();
	*list = longer;
}

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
	AUTO(secret_freep) char *line = xasprintf("%s: %s", name, value);

	add_line(list, line);
}

static void build_headers(struct http *h)
{
	for (int body = 0; body < 2; body++) {
		struct curl_slist **list = body ? &h->json_headers : &h->headers;

		if (h->token)
			add_header(list, h->dialect->token_header, h->token);
		if (h->namespace_ && h->dialect->namespace_header)
			add_header(list, h->dialect->namespace_header, h->namespace_);
		if (h->dialect->mark)
			add_line(list, h->dialect->mark);
		if (h->connect_to)
			add_header(list, "Host", h->host);
		if (body) {
			add_header(list, "Content-Type", "application/json");
			add_header(list, "Expect", "");
		}
	}
}

static void headers_free(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		mem_wipe(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

int http_open(const struct http_config *config, struct http **ret, struct err *e)
{
	AUTO(http_freep) struct http *h = xcalloc(1, sizeof(*h));

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ERR_SYSTEM, "libcurl cannot be initialised");
	h->dialect = &dialects[config->service];
	if (parse_address(h, config, e) < 0)
		return -1;
	if (!h->user && config->http_auth)
		take_http_auth(h, config->http_auth);
	h->token = xstrdup(config->token);
	h->namespace_ = xstrdup(config->namespace_);
	h->region = xstrdup(config->region);
	h->user_agent = xstrdup(config->user_agent);
	h->skip_verify = config->skip_verify;
	h->connect_ms = config->connect_ms ? config->connect_ms : CONNECT_TIMEOUT_MS;
	if (h->token && strpbrk(h->token, "\r\n"))
		return err_set(e, ERR_CONFIG, "the %s token has a line break in it", h->dialect->name);
	if (h->namespace_ && h->dialect->namespace_header && strpbrk(h->namespace_, "\r\n"))
		return err_set(e, ERR_CONFIG, "%s_NAMESPACE has a line break in it", h->dialect->prefix);

	if (h->tls) {
		if (readable(h, "CACERT", config->cacert, e) < 0 ||
		    readable(h, "CLIENT_CERT", config->client_cert, e) < 0 ||
		    readable(h, "CLIENT_KEY", config->client_key, e) < 0)
			return -1;
		/* the file wins over the directory, as in go-rootcerts */
		if (!config->cacert && config->capath && load_capath(h, config->capath, e) < 0)
			return -1;
		h->cacert = xstrdup(config->cacert);
		h->client_cert = xstrdup(config->client_cert);
		h->client_key = xstrdup(config->client_key);
		/* Go, and so Nomad's CLI, takes the system's bundle from here */
		if (!h->cacert && !h->ca_blob.len)
			h->cacert = xstrdup(getenv("SSL_CERT_FILE"));
	}

	build_headers(h);
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	if (!h->multi || !h->easy)
		return err_set(e, ERR_SYSTEM, "libcurl cannot be initialised");
	*ret = TAKE(h);
	return 0;
}

void http_freep(struct http **p)
{
	struct http *h = *p;

	if (!h)
		return;
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi);
	secret_freep(&h->token);
	secret_freep(&h->password);
	free(h->shown);
	free(h->base);
	free(h->host);
	free(h->unix_path);
	curl_slist_free_all(h->connect_to);
	headers_free(h->headers);
	headers_free(h->json_headers);
	free(h->namespace_);
	free(h->region);
	free(h->user);
	free(h->user_agent);
	free(h->cacert);
	free(h->client_cert);
	free(h->client_key);
	buf_clear(&h->ca_blob);
	free(h);
	*p = NULL;
}

const char *http_addr(const struct http *h)
{
	return h->shown;
}

char *http_url(const struct http *h, const char *base, const char *path)
{
	AUTO(buf_clear) struct buf url = BUF_INIT;
	char separator = strchr(path, '?') ? '&' : '?';

	buf_printf(&url, "%s%s", base, path);
	if (h->namespace_ && !h->dialect->namespace_header) {
		buf_printf(&url, "%cnamespace=", separator);
		text_url_escape(&url, h->namespace_);
		separator = '&';
	}
	if (h->region) {
		buf_printf(&url, "%cregion=", separator);
		text_url_escape(&url, h->region);
	}
	return buf_take(&url);
}

int http_prepare(struct http *h, CURL *easy, const char *url, struct err *e)
{
	CURLcode bad = CURLE_OK;

#define SET(option, value)                                                                                   \
	do {                                                                                                 \
		if (!bad)                                                                                    \
			bad = curl_easy_setopt(easy, option, value);                                         \
	} while (0)
	curl_easy_reset(easy);
	h->error[0] = '\0';
	SET(CURLOPT_URL, url);
	SET(CURLOPT_HTTPHEADER, h->headers);
	if (h->connect_to)
		SET(CURLOPT_CONNECT_TO, h->connect_to);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_ERRORBUFFER, h->error);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_ms);
	SET(CURLOPT_TCP_NODELAY, 1L);
	/* a WebSocket cannot be had on HTTP/2 here: hashicorp/nomad#10922, #10958 */
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	if (h->user_agent)
		SET(CURLOPT_USERAGENT, h->user_agent);
	if (h->unix_path)
		SET(CURLOPT_UNIX_SOCKET_PATH, h->unix_path);
	if (h->loopback)
		SET(CURLOPT_PROXY, "");
	if (h->user) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		SET(CURLOPT_USERNAME, h->user);
		SET(CURLOPT_PASSWORD, h->password ? h->password : "");
	}
	if (h->tls) {
		SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
		SET(CURLOPT_SSL_VERIFYPEER, h->skip_verify ? 0L : 1L);
		SET(CURLOPT_SSL_VERIFYHOST, h->skip_verify ? 0L : 2L);
		if (h->cacert) {
			SET(CURLOPT_CAINFO, h->cacert);
			SET(CURLOPT_CAPATH, NULL);
		} else if (h->ca_blob.len) {
			struct curl_blob blob = {h->ca_blob.data, h->ca_blob.len, CURL_BLOB_NOCOPY};
			SET(CURLOPT_CAINFO, NULL);
			SET(CURLOPT_CAPATH, NULL);
			SET(CURLOPT_CAINFO_BLOB, &blob);
		}
		if (h->client_cert) {
			SET(CURLOPT_SSLCERT, h->client_cert);
			SET(CURLOPT_SSLKEY, h->client_key);
		}
	}
#undef SET
	if (bad)
		return err_set(e, ERR_SYSTEM, "libcurl: %s", curl_easy_strerror(bad));
	return 0;
}

void http_log(const char *what, int status, int64_t since)
{
	if (status)
		log_debug("%s -> %d, %lld ms", what, status, (long long)(clock_ms() - since));
	else
		log_debug("%s -> no reply, %lld ms", what, (long long)(clock_ms() - since));
}

/*
 * Is it TLS itself that fails? Then it fails each time, while a handshake that breaks off (a reset, an end of
 * file) may only be a server that restarts. curl has one code for both; where OpenSSL has an error of its
 * own, its text is in the detail. With TLS 1.3 a client certificate is refused after the handshake, in
 * recv().
 */
static bool tls_refused(CURLcode code, const char *detail)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
		return true;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		return strstr(detail, "SSL routines") && !strstr(detail, "unexpected eof");
	default:
		return false;
	}
}

int http_curl_error(const struct http *h, CURLcode code, const char *what, struct err *e)
{
	const char *detail = h->error[0] ? h->error : curl_easy_strerror(code);
	const char *prefix = h->dialect->prefix;

	if (code == CURLE_ABORTED_BY_CALLBACK && interrupt_signal())
		return interrupt_error(e);

	AUTO(freep) char *clean = text_clean(detail, strlen(detail), 300);
	enum err_kind kind = code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
			     : tls_refused(code, detail)      ? ERR_TLS
							      : ERR_CONNECT;
	err_set(e, kind, "%s: %s: %s", what, h->shown, clean);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_hint(e, "%s_ADDR is %s: is the host name right, and is the VPN up?", prefix,
				h->shown);
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return err_hint(e, "no %s answers at %s: set %s_ADDR to your cluster's address",
				h->dialect->name, h->shown, prefix);
	case CURLE_PEER_FAILED_VERIFICATION:
		return err_hint(e,
				"the server's certificate is not trusted: set %s_CACERT to the CA's "
				"certificate, or %s_TLS_SERVER_NAME when the name in it is another one",
				prefix, prefix);
	case CURLE_SSL_CERTPROBLEM:
		return err_hint(e, "look at %s_CLIENT_CERT and %s_CLIENT_KEY: both PEM, of one pair", prefix,
				prefix);
	case CURLE_SSL_CACERT_BADFILE:
		return err_hint(e, "look at %s_CACERT: a PEM file is wanted", prefix);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING: /* TLS 1.3 refuses a client certificate after the handshake */
		if (h->tls)
			return err_hint(
				e,
				"does the server speak TLS (else write http:// in %s_ADDR), and does it "
				"want a client certificate (%s_CLIENT_CERT, %s_CLIENT_KEY)?",
				prefix, prefix, prefix);
		return -1;
	default:
		return -1;
	}
}

const char *http_error_text(const char *body)
{
	static const char one[] = "1 error occurred:\n\t* ";

	while (text_starts(body, one)) /* they nest */
		body += strlen(one);
	return body;
}

int http_status_error(const struct http *h, const char *what, int status, const char *body, size_t n,
		      struct err *e)
{
	enum err_kind kind = status == 401 || status == 403 ? ERR_AUTH
			     : status == 404                ? ERR_NOT_FOUND
							    : ERR_REMOTE;
	const char *text = http_error_text(body);
	AUTO(freep) char *clean = text_clean(text, n - (size_t)(text - body), BODY_SHOWN);

	err_set(e, kind, "%s: HTTP %d%s%s", what, status, clean[0] ? ": " : "", clean);
	e->status = status;
	if (strstr(clean, "HTTP request to an HTTPS server"))
		err_hint(e, "write https:// in %s_ADDR", h->dialect->prefix);
	return -1;
}

struct http_stream {
	struct http *h;
	CURL *easy;
	char *url;
	void (*on_data)(void *arg, const char *data, size_t n);
	void *arg;
	bool ended;
};

/* Take finished transfers off the multi handle. Return: true when @easy was among them. */
static bool reap(struct http *h, const CURL *easy, CURLcode *ret_code)
{
	bool done = false;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		struct http_stream *s = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		if (m->easy_handle == easy) {
			*ret_code = m->data.result;
			done = true;
			continue;
		}
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
		if (s) {
			s->ended = true;
			s->on_data(s->arg, NULL, 0);
		}
	}
	return done;
}

/* One round of the multi handle: what is ready, then a wait of at most ms. */
static int turn(struct http *h, int64_t ms, struct err *e)
{
	struct curl_waitfd wake = {.fd = interrupt_fd(), .events = CURL_WAIT_POLLIN};
	CURLMcode bad =
		curl_multi_poll(h->multi, &wake, wake.fd >= 0 ? 1 : 0, (int)(ms < 60000 ? ms : 60000), NULL);

	if (bad)
		return err_set(e, ERR_SYSTEM, "libcurl: %s", curl_multi_strerror(bad));
	if (interrupt_signal())
		return interrupt_error(e);
	return 0;
}

static int perform(struct http *h, struct err *e)
{
	int running;
	CURLMcode bad = curl_multi_perform(h->multi, &running);

	return bad ? err_set(e, ERR_SYSTEM, "libcurl: %s", curl_multi_strerror(bad)) : 0;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_reply *reply = arg;

	return buf_add(&reply->body, data, size * n) < 0 ? 0 : size * n;
}

/* The cleaned value when that line is the header of that name ("Name:"), for free(), or NULL. */
static char *header_value(const char *name, const char *line, size_t len)
{
	size_t n = strlen(name);

	return len > n && curl_strnequal(line, name, n) ? text_clean(line + n, len - n, HEADER_MAX) : NULL;
}

static size_t take_header(char *line, size_t size, size_t n, void *arg)
{
	struct http_reply *reply = arg;
	size_t len = size * n;
	AUTO(freep) char *index = header_value("X-Nomad-Index:", line, len);
	AUTO(freep) char *location = header_value("Location:", line, len);

	if (index && text_u64(index, &reply->index) < 0)
		reply->index = 0;
	if (location) {
		free(reply->location);
		reply->location = TAKE(location);
	}
	return len;
}

static char *index_query(const struct http_request *rq)
{
	if (!rq->index)
		return xstrdup(rq->path);
	return xasprintf("%s%cindex=%llu&wait=%lldms", rq->path, strchr(rq->path, '?') ? '&' : '?',
			 (unsigned long long)rq->index, (long long)rq->wait_ms);
}

static void reply_empty(struct http_reply *r)
{
	buf_consume(&r->body, r->body.len);
	r->status = 0;
	r->index = 0;
	free(r->location);
	r->location = NULL;
}

int http_do(struct http *h, const struct http_request *rq, struct http_reply *reply, struct err *e)
{
	const char *method = rq->method ? rq->method : "GET";
	int64_t timeout = rq->timeout_ms ? rq->timeout_ms : DEFAULT_TIMEOUT_MS;
	int64_t started = clock_ms();

	if (rq->index)
		timeout += rq->wait_ms + rq->wait_ms / 16;
	AUTO(freep) char *path = index_query(rq);
	AUTO(freep) char *url = http_url(h, h->base, path);
	AUTO(freep) char *what = xasprintf("%s %.*s", method, (int)strcspn(rq->path, "?"), rq->path);

	struct curl_slist own = {rq->header, rq->body ? h->json_headers : h->headers};

	reply_empty(reply);
	if (http_prepare(h, h->easy, url, e) < 0)
		return -1;
	curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, own.data ? &own : own.next);
	curl_easy_setopt(h->easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, (long)timeout);
	if (rq->body) {
		curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(rq->body));
		curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, rq->body);
	}
	curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, reply);
	curl_easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(h->easy, CURLOPT_HEADERDATA, reply);
	if (curl_multi_add_handle(h->multi, h->easy))
		return err_set(e, ERR_SYSTEM, "%s: libcurl refused the request", what);

	CURLcode code = CURLE_OK;
	int failed = 0;
	bool cancelled = false;
	while ((failed = perform(h, e)) == 0 && !reap(h, h->easy, &code) &&
	       !(cancelled = rq->cancel && *rq->cancel) && (failed = turn(h, 1000, e)) == 0)
		;
	long status = 0;
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(h->multi, h->easy);
	http_log(what, code == CURLE_OK ? (int)status : 0, started);
	if (failed)
		return e->kind == ERR_INTERRUPTED ? -1 : err_wrap(e, "%s", what);
	if (cancelled)
		return 0;
	if (code == CURLE_WRITE_ERROR) /* take_body()'s */
		return err_set(e, ERR_REMOTE, "%s: the reply is larger than %zu bytes", what,
			       reply->body.max ? reply->body.max : BUF_DEFAULT_MAX);
	if (code != CURLE_OK)
		return http_curl_error(h, code, what, e);
	reply->status = (int)status;
	if (status < 200 || status > 299)
		return http_status_error(h, what, (int)status, buf_str(&reply->body), reply->body.len, e);
	return 0;
}

void http_reply_clear(struct http_reply *r)
{
	reply_empty(r);
	buf_clear(&r->body);
}

int http_wait(struct http *h, int64_t ms, struct err *e)
{
	CURLcode unused;

	if (perform(h, e) < 0)
		return -1;
	reap(h, NULL, &unused);
	if (turn(h, ms, e) < 0 || perform(h, e) < 0)
		return -1;
	reap(h, NULL, &unused);
	return 0;
}

static size_t stream_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_stream *s = arg;
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) /* an error's text is no log */
		s->on_data(s->arg, data, size * n);
	return size * n;
}

int http_stream_open(struct http *h, const char *path, void (*on_data)(void *arg, const char *data, size_t n),
		     void *arg, struct http_stream **ret, struct err *e)
{
	AUTO(http_stream_freep) struct http_stream *s = xcalloc(1, sizeof(*s));

	s->h = h;
	s->on_data = on_data;
	s->arg = arg;
	s->ended = true; /* not in the multi handle yet */
	s->url = http_url(h, h->base, path);
	s->easy = curl_easy_init();
	if (!s->easy)
		return err_set(e, ERR_SYSTEM, "libcurl cannot be initialised");
	if (http_prepare(h, s->easy, s->url, e) < 0)
		return -1;
	curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, stream_body);
	curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
	if (curl_multi_add_handle(h->multi, s->easy))
		return err_set(e, ERR_SYSTEM, "GET %s: libcurl refused the request", path);
	s->ended = false;
	log_debug("GET %.*s (followed)", (int)strcspn(path, "?"), path);
	*ret = TAKE(s);
	return 0;
}

bool http_stream_ended(const struct http_stream *s, int *ret_status)
{
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	*ret_status = (int)status;
	return s->ended;
}

void http_stream_freep(struct http_stream **p)
{
	struct http_stream *s = *p;

	if (!s)
		return;
	if (s->easy)
		curl_multi_remove_handle(s->h->multi, s->easy);
	curl_easy_cleanup(s->easy);
	free(s->url);
	free(s);
	*p = NULL;
}
