#include "volume.h"

#include "clock.h"
#include "nomad_private.h"
#include "text.h"

#include <inttypes.h>

#define STORAGE_TIMEOUT_MS 300000 /* see volume.h */

/* A message of Nomad's, in place of an own status: nearly all of its refusals are a 500. */
static bool says(const struct err *e, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (e->kind == ERR_REMOTE && strstr(e->msg, texts[i]))
			return true;
	}
	return false;
}

static int no_body(struct nomad *n, struct http_request *rq, struct err *e)
{
	AUTO(http_reply_clear) struct http_reply reply = HTTP_REPLY_INIT;

	rq->timeout_ms = STORAGE_TIMEOUT_MS;
	return http_do(nomad_http(n), rq, &reply, e);
}

int nomad_csi_volume_create(struct nomad *n, const cJSON *volume, struct err *e)
{
	static const char *const differs[] = {
		"cannot be updated",
		"update was not compatible with existing",
		"can not update mount options",
		"already exists but is incompatible",
	};
	AUTO(json_freep) cJSON *wrapped = json_object();
	const char *id = json_str(volume, "ID");

	/* by reference: a copy of the secrets would have to be wiped */
	json_put(wrapped, "Volumes", cJSON_CreateArrayReference(volume));
	AUTO(secret_freep) char *body = json_print_secret(wrapped);
	AUTO(freep) char *path = nomad_path("volume/csi", id ? id : "", "/create");
	struct http_request rq = {.method = "PUT", .path = path, .body = body};

	if (no_body(n, &rq, e) == 0)
		return 0;
	if (says(e, differs, ARRAY_SIZE(differs)))
		e->kind = ERR_CONFLICT;
	return -1;
}

static int find(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret, struct err *e)
{
	AUTO(freep) char *path = nomad_path("volume/csi", id, "");
	struct http_request rq = {.path = path};

	*ret = NULL;
	if (nomad_call(n, &rq, w, ret, e) == 0)
		return 0;
	if (nomad_own_not_found(n, "volume not found", e), e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return 0;
}

int nomad_csi_volume_find(struct nomad *n, const char *id, cJSON **ret, struct err *e)
{
	return find(n, id, NULL, ret, e);
}

bool nomad_csi_volume_claimed(const cJSON *volume)
{
	return cJSON_GetArraySize(json_get(volume, "ReadAllocs")) > 0 ||
	       cJSON_GetArraySize(json_get(volume, "WriteAllocs")) > 0;
}

static int claimed_error(const char *id, struct err *e)
{
	return err_set(e, ERR_CONFLICT, "volume in use: %s", id);
}

int nomad_csi_volume_wait_free(struct nomad *n, const char *id, int64_t ms, struct err *e)
{
	int64_t deadline = clock_ms() + ms;
	struct nomad_wait wait = NOMAD_WAIT_INIT;

	for (;;) {
		AUTO(json_freep) cJSON *volume = NULL;

		if (find(n, id, &wait, &volume, e) < 0)
			return -1;
		if (!volume || !nomad_csi_volume_claimed(volume))
			return 0;
		wait.ms = clock_left(deadline);
		if (wait.ms == 0)
			return claimed_error(id, e);
	}
}

static bool sayable(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		if (s[i] == ',' || (unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	}
	return n == 0 || (s[0] != ' ' && s[n - 1] != ' ');
}

int csi_secrets_header(const cJSON *secrets, char **ret, struct err *e)
{
	AUTO(buf_wipe) struct buf line = BUF_INIT;
	const cJSON *secret;
	size_t room = 64;

	*ret = NULL;
	cJSON_ArrayForEach (secret, secrets) {
		const char *value = cJSON_GetStringValue(secret);

		if (!value || !sayable(value) || !secret->string[0] || !sayable(secret->string) ||
		    strchr(secret->string, '=')) {
			AUTO(freep) char *name = text_clean(secret->string, strlen(secret->string), 100);

			err_set(e, ERR_CONFIG, "the CSI secret '%s' cannot be sent to delete the volume",
				name);
			return err_hint(e, "Nomad takes it in a header that can hold no comma, no control "
					   "character, no space at an end, and no = in the name");
		}
		room += strlen(secret->string) + strlen(value) + 2;
	}
	if (!cJSON_GetArraySize(secrets))
		return 0;
	/* at once, so that no part stays behind in a buffer that became too small */
	if (buf_reserve(&line, room) < 0)
		return err_set(e, ERR_CONFIG, "the CSI secrets are too large to be sent");
	buf_puts(&line, "X-Nomad-CSI-Secrets: ");
	cJSON_ArrayForEach (secret, secrets) {
		if (secret != secrets->child)
			buf_puts(&line, ",");
		buf_puts(&line, secret->string);
		buf_puts(&line, "=");
		buf_puts(&line, cJSON_GetStringValue(secret));
	}
	*ret = buf_take(&line);
	return 0;
}

/* A refused delete: what is absent is deleted, what is in use a conflict. */
static int judge_refusal(const char *absent, const char *in_use, struct err *e)
{
	if (says(e, &absent, 1)) {
		err_clear(e);
		return 0;
	}
	if (says(e, &in_use, 1))
		e->kind = ERR_CONFLICT;
	return -1;
}

int nomad_csi_volume_delete(struct nomad *n, const char *id, const cJSON *secrets, struct err *e)
{
	AUTO(secret_freep) char *header = NULL;
	AUTO(json_freep) cJSON *volume = NULL;

	if (csi_secrets_header(secrets, &header, e) < 0)
		return -1;
	/* Nomad lets the plugin delete the storage before it looks whether the volume is claimed */
	if (nomad_csi_volume_find(n, id, &volume, e) < 0)
		return -1;
	if (!volume)
		return 0;
	if (nomad_csi_volume_claimed(volume))
		return claimed_error(id, e);

	AUTO(freep) char *path = nomad_path("volume/csi", id, "/delete");
	struct http_request rq = {.method = "DELETE", .path = path, .header = header};
	if (no_body(n, &rq, e) == 0)
		return 0;
	return judge_refusal("volume not found", "in use", e);
}

int nomad_host_volume_create(struct nomad *n, const cJSON *volume, cJSON **ret_volume, struct err *e)
{
	AUTO(json_freep) cJSON *wrapped = json_object();
	AUTO(json_freep) cJSON *reply = NULL;

	json_put(wrapped, "Volume", cJSON_Duplicate(volume, true));
	AUTO(freep) char *body = json_print(wrapped);
	struct http_request rq = {.method = "PUT",
				  .path = "/v1/volume/host/create",
				  .body = body,
				  .timeout_ms = STORAGE_TIMEOUT_MS};

	if (nomad_call(n, &rq, NULL, &reply, e) < 0) {
		if (e->kind == ERR_NOT_FOUND || e->status == 405)
			err_hint(e, "dynamic host volumes need Nomad 1.10 or later");
		return -1;
	}
	cJSON *created = cJSON_DetachItemFromObjectCaseSensitive(reply, "Volume");
	if (!created)
		return err_set(e, ERR_REMOTE, "%s %s: the reply has no Volume", rq.method, rq.path);
	*ret_volume = created;
	return 0;
}

char *volume_name_filter(const char *name)
{
	AUTO(buf_clear) struct buf filter = BUF_INIT;

	/* A string ends at the next `"`, even after a backslash; what is between is read as Go reads it. */
	buf_puts(&filter, "Name == \"");
	for (const char *p = name; *p; p++) {
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
			buf_printf(&filter, "\\x%02x", (unsigned char)*p);
		else
			buf_printf(&filter, "%c", *p);
	}
	buf_puts(&filter, "\"");
	return buf_take(&filter);
}

int nomad_host_volume_find(struct nomad *n, const char *name, cJSON **ret, struct err *e)
{
	AUTO(freep) char *filter = volume_name_filter(name);
	AUTO(buf_clear) struct buf path = BUF_INIT;
	AUTO(json_freep) cJSON *list = NULL;
	cJSON *oldest = NULL, *volume;

	*ret = NULL;
	buf_puts(&path, "/v1/volumes?type=host&filter=");
	text_url_escape(&path, filter);
	if (nomad_get(n, buf_str(&path), &list, e) < 0)
		return -1;
	cJSON_ArrayForEach (volume, list) {
		if (!text_eq(json_str(volume, "Name"), name))
			continue;
		if (!oldest || json_u64(volume, "CreateIndex", 0) < json_u64(oldest, "CreateIndex", 0))
			oldest = volume;
	}
	if (oldest)
		*ret = cJSON_DetachItemViaPointer(list, oldest);
	return 0;
}

int nomad_host_volume(struct nomad *n, const char *id, cJSON **ret, struct err *e)
{
	AUTO(freep) char *path = nomad_path("volume/host", id, "");
	struct http_request rq = {.path = path};

	return nomad_call(n, &rq, NULL, ret, e);
}

int nomad_host_volume_wait_ready(struct nomad *n, const char *id, int64_t ms, struct err *e)
{
	AUTO(freep) char *path = nomad_path("volume/host", id, "");
	int64_t deadline = clock_ms() + ms;
	struct nomad_wait wait = NOMAD_WAIT_INIT;

	for (;;) {
		AUTO(json_freep) cJSON *volume = NULL;
		struct http_request rq = {.path = path};

		if (nomad_call(n, &rq, &wait, &volume, e) < 0)
			return -1;
		if (text_eq(json_str(volume, "State"), "ready"))
			return 0;
		wait.ms = clock_left(deadline);
		if (wait.ms == 0)
			return err_set(e, ERR_TIMEOUT,
				       "the node did not report the volume within %" PRId64 " s", ms / 1000);
	}
}

int nomad_host_volume_delete(struct nomad *n, const char *id, struct err *e)
{
	AUTO(freep) char *path = nomad_path("volume/host", id, "/delete");
	struct http_request rq = {.method = "DELETE", .path = path};

	if (no_body(n, &rq, e) == 0)
		return 0;
	return judge_refusal("no such volume", "in use by alloc", e);
}
