#include "vault.h"

#include "http.h"
#include "text.h"

#define BODY_MAX  ((size_t)1 << 20)  /* bytes; Vault's own storage takes no larger secret */
#define EXACT_MAX 9007199254740992.0 /* up to here a double holds every whole number */

struct vault {
	const struct vault_config *config;
	struct http *http;
	bool moved; /* a redirect has been followed */
};

/* Where a path leads. */
struct engine {
	char *mount;      /* with the / at its end; NULL: Vault does not tell */
	unsigned version; /* of KV; 0: not known */
};

static void engine_clear(struct engine *g)
{
	free(g->mount);
}

static void secret_reply_clear(struct http_reply *r)
{
	buf_wipe(&r->body);
	http_reply_clear(r);
}

static int vault_connect(struct vault *v, const char *addr, struct err *e)
{
	const struct vault_config *c = v->config;
	struct http_config config = {
		.service = HTTP_VAULT,
		.addr = addr,
		.token = c->token,
		.namespace_ = c->namespace_,
		.cacert = c->cacert,
		.capath = c->capath,
		.client_cert = c->client_cert,
		.client_key = c->client_key,
		.tls_server_name = c->tls_server_name,
		.skip_verify = c->skip_verify,
		.user_agent = c->user_agent,
	};

	http_freep(&v->http);
	return http_open(&config, &v->http, e);
}

static void vault_close(struct vault *v)
{
	http_freep(&v->http);
}

/* "/v1/WHAT" and the path, whose parts are escaped and whose slashes are not; for free() */
static char *url_path(const char *what, const char *path)
{
	AUTO(buf_clear) struct buf to = BUF_INIT;

	buf_printf(&to, "/v1/%s", what);
	for (const char *part = path; *part;) {
		size_t n = strcspn(part, "/");
		AUTO(freep) char *one = xstrndup(part, n);

		text_url_escape(&to, one);
		part += n;
		if (*part) {
			buf_puts(&to, "/");
			part++;
		}
	}
	return buf_take(&to);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/*
 * A redirect goes to the active node of the same cluster. The token may follow it only where nobody can read
 * along and the certificate is checked like the first one, so never to http.
 */
static int follow(struct vault *v, const char *location, struct err *e)
{
	AUTO(freep) char *from = xstrdup(http_addr(v->http));

	if (!location || !text_starts(location, "https://") || v->moved)
		return err_hint(
			e,
			"it redirects to %s, where the token is not sent (only to https, and only once): "
			"set VAULT_ADDR to the address of the active node",
			location ? location : "nowhere");
	err_clear(e);
	v->moved = true;
	if (vault_connect(v, location, e) < 0)
		return err_wrap(e, "%s redirects", from);
	return 0;
}

/* What Vault says in an error's "errors", cleaned, for free(); NULL when it says nothing. */
static char *reason(const cJSON *reply)
{
	const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(json_get(reply, "errors"), 0));

	if (!text)
		return NULL;
	text = http_error_text(text);
	return text_clean(text, strlen(text), 300);
}

/* GET, and the reply's JSON also when the status is an error: with -1 and *ret, or NULL when there is none.
 */
static int vault_get(struct vault *v, const char *path, cJSON **ret, struct err *e)
{
	AUTO(secret_reply_clear) struct http_reply reply = HTTP_REPLY_INIT;
	struct http_request rq = {.path = path};

	/* at once, so that no part of the secret stays behind in a buffer that became too small */
	reply.body.max = BODY_MAX;
	if (buf_reserve(&reply.body, BODY_MAX) < 0)
		abort();
	int failed = http_do(v->http, &rq, &reply, e);
	if (failed && is_redirect(e->status)) {
		if (follow(v, reply.location, e) < 0)
			return -1;
		failed = http_do(v->http, &rq, &reply, e);
		if (failed && is_redirect(e->status))
			return follow(v, reply.location, e);
	}
	if (failed && !e->status)
		return -1;

	struct err bad = ERR_INIT;
	*ret = json_parse(buf_str(&reply.body), reply.body.len, "the reply", &bad);
	if (!failed && !*ret) {
		bad.kind = ERR_REMOTE;
		err_move(e, &bad);
		err_wrap(e, "GET %s", path);
		return err_hint(e, "is that Vault which answers at %s?", http_addr(v->http));
	}
	err_clear(&bad);
	if (!failed)
		return 0;

	AUTO(freep) char *why = reason(*ret);
	if (!*ret && e->kind == ERR_NOT_FOUND) {
		e->kind = ERR_REMOTE; /* of what answers there, not of the secret */
		err_hint(e, "is that Vault which answers at %s?", http_addr(v->http));
	}
	if (*ret) {
		/* not the body: of a deleted secret it has the metadata */
		enum err_kind kind = e->kind;
		int status = e->status;

		err_clear(e);
		err_set(e, kind, "GET %s: HTTP %d%s%s", path, status, why ? ": " : "", why ? why : "");
		e->status = status;
	}
	if (e->status == 503 && why && strstr(why, "sealed"))
		err_hint(e, "the Vault at %s has to be unsealed first", http_addr(v->http));
	return -1;
}

/* Which engine a path leads to. Any token that may do anything below the mount may ask (the CLI does it too).
 */
static int find_engine(struct vault *v, const char *path, struct engine *ret, struct err *e)
{
	AUTO(json_secret_freep) cJSON *reply = NULL;
	AUTO(freep) char *url = url_path("sys/internal/ui/mounts/", path);

	if (vault_get(v, url, &reply, e) < 0) {
		/* no access, no such mount, or a Vault older than 0.10: the read itself tells more */
		if (e->kind != ERR_AUTH && e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
		return 0;
	}
	const cJSON *data = json_get(reply, "data");
	const char *mount = json_str(data, "path"), *type = json_str(data, "type");

	if (!mount || !text_starts(path, mount))
		return 0;
	if (!text_eq(type, "kv") && !text_eq(type, "generic")) {
		AUTO(freep) char *clean = text_clean(type ? type : "", type ? strlen(type) : 0, 100);

		err_set(e, ERR_CONFIG, "'%s' is not in a KV engine: at %s is one of type '%s'", path, mount,
			clean);
		return err_hint(e, "only secrets of a KV engine can be read: vault secrets list");
	}
	ret->mount = xstrdup(mount);
	ret->version = text_eq(json_str(json_get(data, "options"), "version"), "2") ? 2 : 1;
	return 0;
}

static bool bad_part(const char *part, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)part[i] < ' ' || part[i] == 0x7f)
			return true;
	}
	/* dots would lead curl, or a proxy, elsewhere */
	return n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
}

char *vault_clean_path(const char *path, struct err *e)
{
	const char *from = text_starts(path, "/v1/") ? path + strlen("/v1") : path;
	size_t parts = 0, n = 0;
	bool bad = false;

	from += strspn(from, "/");
	for (n = strlen(from); n && from[n - 1] == '/'; n--)
		;
	AUTO(freep) char *clean = xstrndup(from, n);
	for (const char *part = clean; !bad; part++) {
		size_t len = strcspn(part, "/");

		bad = bad_part(part, len);
		parts++;
		part += len;
		if (!*part)
			break;
	}
	if (!bad && parts >= 2)
		return TAKE(clean);

	AUTO(freep) char *shown = text_clean(path, strlen(path), 200);
	err_set(e, ERR_CONFIG, "'%s' is no path of a secret in Vault", shown);
	err_hint(e, "write it like secret/data/ceph: the engine's mount, data/ for version 2, the secret");
	return NULL;
}

char *vault_api_path(const char *path, const char *mount, unsigned version)
{
	if (version != 2 || !text_starts(path, mount) || text_starts(path + strlen(mount), "data/"))
		return xstrdup(path);
	return xasprintf("%sdata/%s", mount, path + strlen(mount));
}

int vault_take_field(cJSON *field, struct err *e)
{
	AUTO(freep)
	char *name = text_clean(field->string ? field->string : "", field->string ? strlen(field->string) : 0,
				100);

	if (cJSON_IsString(field))
		return 0;
	if (cJSON_IsBool(field)) {
		field->valuestring = xstrdup(cJSON_IsTrue(field) ? "true" : "false");
	} else if (cJSON_IsNumber(field)) {
		double d = field->valuedouble;

		if (!(d <= EXACT_MAX && d >= -EXACT_MAX)) {
			err_set(e, ERR_CONFIG, "the field '%s' is a number too large to be exact", name);
			return err_hint(e, "write its value as a string");
		}
		if ((double)(int64_t)d == d)
			field->valuestring = xasprintf("%lld", (long long)d);
		else
			field->valuestring = json_print(field);
	} else {
		err_set(e, ERR_CONFIG, "the field '%s' is %s, not a string", name,
			cJSON_IsObject(field)  ? "an object"
			: cJSON_IsArray(field) ? "a list"
					       : "null");
		return err_hint(e, "a credential is a string: write it as one");
	}
	field->type = cJSON_String;
	return 0;
}

/* The object that holds the fields, taken out of a reply, or NULL. */
static cJSON *take_fields(cJSON *reply, unsigned version)
{
	cJSON *data = cJSON_GetObjectItemCaseSensitive(reply, "data");
	bool versioned = json_u64(json_get(data, "metadata"), "version", 0) > 0;
	bool inner = version == 2 || (version == 0 && versioned);

	return cJSON_DetachItemFromObjectCaseSensitive(inner ? data : reply, "data");
}

static int missing(const struct engine *engine, const char *path, const cJSON *reply, struct err *e)
{
	const cJSON *metadata = json_get(json_get(reply, "data"), "metadata");
	uint64_t version = json_u64(metadata, "version", 0);

	if (version) {
		err_clear(e);
		err_set(e, ERR_NOT_FOUND, "version %llu of the secret '%s', the newest, is %s",
			(unsigned long long)version, path,
			json_is_true(metadata, "destroyed") ? "destroyed" : "deleted");
		return err_hint(e, "write it again, or bring it back with: vault kv undelete");
	}
	if (strstr(e->msg, "namespace not found"))
		return err_hint(e, "look at VAULT_NAMESPACE");
	if (strstr(e->msg, "no handler for route"))
		return err_hint(e, "no engine is mounted there: vault secrets list");
	if (engine->version == 1 && text_starts(path + strlen(engine->mount), "data/"))
		return err_hint(e, "the engine at %s is KV version 1: leave data/ out", engine->mount);
	if (engine->mount)
		return err_hint(e, "there is no such secret: vault kv list %s", engine->mount);
	return err_hint(e, "there is no such secret");
}

static int explain(const struct vault *v, const struct engine *engine, const char *path, const cJSON *reply,
		   struct err *e)
{
	if (e->kind == ERR_NOT_FOUND)
		return missing(engine, path, reply, e);
	if (e->kind != ERR_AUTH)
		return -1;
	if (!v->config->token)
		return err_hint(e, "VAULT_TOKEN is not set; a token that may read '%s' is needed", path);
	return err_hint(e, "the token of VAULT_TOKEN has expired, or it lacks the capability read on '%s'",
			path);
}

int vault_read_kv(const struct vault_config *config, const char *path, cJSON **ret_fields, struct err *e)
{
	AUTO(vault_close) struct vault v = {.config = config};
	AUTO(engine_clear) struct engine engine = {NULL, 0};
	AUTO(json_secret_freep) cJSON *reply = NULL;
	AUTO(freep) char *clean = vault_clean_path(path, e);

	if (!clean || vault_connect(&v, config->addr, e) < 0 || find_engine(&v, clean, &engine, e) < 0)
		return -1;
	AUTO(freep) char *api = vault_api_path(clean, engine.mount, engine.version);
	AUTO(freep) char *url = url_path("", api);
	if (vault_get(&v, url, &reply, e) < 0)
		return explain(&v, &engine, api, reply, e);

	AUTO(json_secret_freep) cJSON *fields = take_fields(reply, engine.version);
	cJSON *field;

	if (!cJSON_IsObject(fields) || !fields->child)
		return err_set(e, ERR_CONFIG, "the secret '%s' has no fields", api);
	cJSON_ArrayForEach (field, fields) {
		if (vault_take_field(field, e) < 0)
			return err_wrap(e, "the secret '%s'", api);
	}
	*ret_fields = TAKE(fields);
	return 0;
}
