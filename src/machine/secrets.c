#include "machine_private.h"
#include "text.h"

/*
 * What Vault says of a path only the client's own log tells; the task's event names the path alone, and Nomad
 * goes on asking for five minutes. So look for ourselves, when there is a token; it is another one than
 * Nomad's, and its word is only a hint at the cause. Return: a constant.
 */
static const char *cause(const struct machine *m, const char *path)
{
	const struct options *o = m->options;
	AUTO(json_secret_freep) cJSON *fields = NULL;
	AUTO(err_clear) struct err e = ERR_INIT;

	/* ERR_CONFIG: read, and a field of it has no text */
	if (o->vault_token && (read_vault(m, path, &fields, &e) == 0 || e.kind == ERR_CONFIG))
		return "permission denied: it is there for VAULT_TOKEN, but the role's policies do not let "
		       "it be "
		       "read";
	if (o->vault_token && e.kind == ERR_NOT_FOUND)
		return "there is no secret at this path";
	return "permission denied, or there is no secret at this path";
}

const char *secrets_missing(const cJSON *alloc, const char *task)
{
	const cJSON *state = task_state(alloc, task);
	const cJSON *events = json_get(state, "Events");
	const cJSON *last = cJSON_GetArrayItem(events, cJSON_GetArraySize(events) - 1);
	const char *text = json_str(last, "DisplayMessage");

	if (!text_eq(json_str(state, "State"), "pending") || !text_eq(json_str(last, "Type"), "Template") ||
	    !text_starts(text, "Missing: ") || !strstr(text, "vault.read("))
		return NULL;
	return text;
}

int secrets_failure(struct machine *m, const char *missing, struct err *e)
{
	AUTO(buf_clear) struct buf text = BUF_INIT;
	const cJSON *secret;

	cJSON_ArrayForEach (secret, m->options->vault_secrets) {
		const char *path = json_str(secret, "path");
		AUTO(freep) char *dependency = xasprintf("vault.read(%s)", path);
		AUTO(freep) char *shown = text_cleaned(path, 200);

		if (strstr(missing, dependency))
			buf_printf(&text, "%s%s (%s)", text.len ? "; " : "", shown, cause(m, path));
	}
	AUTO(freep) char *clean = text_cleaned(missing, 400);
	err_set(e, ERR_REMOTE, "Vault gives Nomad no secret: %s", text.len ? buf_str(&text) : clean);
	reason_hint(e->msg, m->options, e);
	return -1;
}
