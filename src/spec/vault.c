/*
 * Secrets: Nomad logs in to Vault with the task's identity, and renders each secret twice into the task's
 * secrets directory, which is a tmpfs. The text of the templates names paths, fields and variables; values
 * get nowhere else.
 */
#include "spec_private.h"
#include "text.h"

#define NS_PER_S      INT64_C(1000000000)
#define CHANGE_SIGNAL "SIGHUP"
#define ENV_VALUE_MAX 65000  /* bytes, quoted: go-envparse takes lines of less than 64 KB */
#define EXPORT_MAX    100000 /* bytes: Linux starts no program with a variable of 128 KB or more */

/* A string of Go's. There are no control characters in it. */
static void go_string(struct buf *to, const char *s)
{
	buf_puts(to, "\"");
	for (; *s; s++)
		buf_printf(to, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	buf_puts(to, "\"");
}

/* Templates read a path as a URL: all but its slashes is escaped. */
static void go_path(struct buf *to, const char *path)
{
	for (const char *part = path, *end; part; part = *end ? end + 1 : NULL) {
		end = part + strcspn(part, "/");
		AUTO(freep) char *segment = xstrndup(part, (size_t)(end - part));
		buf_puts(to, part == path ? "" : "/");
		text_url_escape(to, segment);
	}
}

/* $fields: in a KV v1 mount the secret itself, in a v2 mount what is in its `data`, beside the `metadata`
 * that v2 adds (a v1 secret may have a field of that name too). A v2 path without /data/ is completed by
 * Nomad. */
static void begin(struct buf *to, const char *path)
{
	buf_puts(to, "{{ with secret \"");
	go_path(to, path);
	buf_puts(to,
		 "\" }}{{ $fields := .Data }}"
		 "{{ if and (sprig_kindIs \"map\" $fields.data) (sprig_kindIs \"map\" $fields.metadata) }}"
		 "{{ $fields = $fields.data }}{{ end }}\n");
}

static void fail(struct buf *to, const char *path, const char *field, const char *what)
{
	AUTO(freep) char *message = xasprintf("Vault: %s: field '%s' %s", path, field, what);

	buf_puts(to, "{{ sprig_fail ");
	go_string(to, message);
	buf_puts(to, " }}");
}

/* $v: the field's value as a string; what is none in Vault is JSON, as it was there. */
static void value(struct buf *to, const char *path, const char *field)
{
	buf_puts(to, "{{ $v := index $fields ");
	go_string(to, field);
	buf_puts(to, " }}{{ if sprig_kindIs \"invalid\" $v }}");
	fail(to, path, field, "is not there");
	/* a JSON number is of the kind string, too */
	buf_puts(to, "{{ end }}{{ if not (sprig_typeIs \"string\" $v) }}{{ $v = toJSON $v }}{{ end }}"
		     "{{ if sprig_contains \"\\x00\" $v }}");
	fail(to, path, field, "holds a NUL byte, which no variable can");
	buf_puts(to, "{{ end }}");
}

/* For the task's environment: lines that Nomad's parser unquotes. */
static void env_line(struct buf *to, const char *name)
{
	buf_printf(to, "{{ $v = toJSON $v }}{{ if le (len $v) %d }}%s={{ $v }}{{ end }}\n", ENV_VALUE_MAX,
		   name);
}

/* For shells. */
static void shell_line(struct buf *to, const char *name)
{
	buf_printf(to,
		   "{{ if le (len $v) %d }}export {{ end }}%s='{{ $v | replaceAll \"'\" \"'\\\\''\" }}'\n",
		   EXPORT_MAX, name);
}

static char *template_text(const cJSON *secret, void (*line)(struct buf *to, const char *name))
{
	const char *path = json_str(secret, "path");
	struct buf to = BUF_INIT;
	const cJSON *field;

	begin(&to, path);
	cJSON_ArrayForEach (field, json_get(secret, "fields")) {
		value(&to, path, field->string);
		line(&to, field->valuestring);
	}
	buf_puts(&to, "{{ end }}");
	return buf_take(&to);
}

static void add_change_mode(cJSON *to, const char *mode)
{
	json_put_str(to, "ChangeMode", mode);
	if (text_eq(mode, "signal"))
		json_put_str(to, "ChangeSignal", CHANGE_SIGNAL);
}

static cJSON *add_template(cJSON *list, const char *text, int number, const char *suffix)
{
	AUTO(freep) char *destination = xasprintf("secrets/vault-%d.%s", number, suffix);
	cJSON *template = json_push(list, json_object());

	json_put_str(template, "EmbeddedTmpl", text);
	json_put_str(template, "DestPath", destination);
	json_put_str(template, "Perms", "0600");
	json_put_int(template, "Splay", 0); /* there is no second machine to be restarted at the same time */
	/* Nomad waits until a value has settled, by default 5 s without news, and each time that it asks
	 * Vault is news: a client that asks more often would wait for the maximum, 4 minutes. */
	cJSON *wait = json_put(template, "Wait", json_object());
	json_put_int(wait, "Min", NS_PER_S);
	json_put_int(wait, "Max", 5 * NS_PER_S);
	return template;
}

static void add_secret(cJSON *list, const cJSON *secret, int number, const char *change_mode)
{
	AUTO(freep) char *env_text = template_text(secret, env_line);
	AUTO(freep) char *shell_text = template_text(secret, shell_line);
	cJSON *env = add_template(list, env_text, number, "env");
	cJSON *shell = add_template(list, shell_text, number, "sh");

	bool signal = text_eq(change_mode, "signal");

	/* One restart, or signal, for the two of them. Nomad refuses a signal for the environment, which a
	 * running task cannot take over anyway. */
	json_put_bool(env, "Envvars", true);
	add_change_mode(env, signal ? "noop" : change_mode);
	add_change_mode(shell, signal ? change_mode : "noop");
}

void spec_add_vault(cJSON *task, const struct options *o)
{
	const cJSON *secret;
	int number = 1;

	if (!o->vault_secrets)
		return;
	cJSON *vault = json_put(task, "Vault", json_object());
	json_put(vault, "Policies", cJSON_Duplicate(o->vault_policies, true));
	json_put_str(vault, "Role", o->vault_role);
	if (o->vault_namespace)
		json_put_str(vault, "Namespace", o->vault_namespace);
	add_change_mode(vault, o->vault_change_mode);
	/* the token may read more than the machine was given */
	json_put_bool(vault, "Env", false);
	json_put_bool(vault, "DisableFile", true);

	cJSON *templates = json_put(task, "Templates", json_array());
	cJSON_ArrayForEach (secret, o->vault_secrets)
		add_secret(templates, secret, number++, o->vault_change_mode);
}
