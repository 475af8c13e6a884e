#include "text.h"
#include "values.h"

#define NAME_MAX_LEN 512 /* bytes of a path, or a field's name: they stand in the job several times */
#define VARIABLE_MAX 256 /* bytes of a name: with its value it must stay below Nomad's 64 KB a line */

/*
 * What a secret may not be called: what the machine, its shells and DevPod's agent live on, and what one of
 * sh, bash, dash and zsh does not let anybody set, or takes for something else (zsh's path is PATH).
 */
static const char *const reserved[] = {"PATH", "HOME",     "PWD",  "OLDPWD", "IFS",  "ENV", "SHELLOPTS",
				       "UID",  "EUID",     "GID",  "EGID",   "PPID", "_",   "DOCKER_HOST",
				       "path", "BASHOPTS", "argv", "status", NULL};
static const char *const reserved_prefixes[] = {"NOMAD_", "DEVPOD_", "DEVSY_", "LD_", "BASH_", NULL};

static bool is_reserved(const char *name)
{
	for (size_t i = 0; reserved[i]; i++)
		if (text_eq(name, reserved[i]))
			return true;
	for (size_t i = 0; reserved_prefixes[i]; i++)
		if (text_starts(name, reserved_prefixes[i]))
			return true;
	return false;
}

static bool is_identifier(const char *s)
{
	static const char chars[] = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const char *letters = chars + 10;

	return *s && strchr(letters, *s) && s[strspn(s, chars)] == '\0' && strlen(s) <= VARIABLE_MAX;
}

static const char *variable_mistake(const char *name)
{
	if (!is_identifier(name))
		return "is no name of a variable (letters, digits and _, no digit first)";
	if (is_reserved(name))
		return "is a name that the machine needs for itself";
	return NULL;
}

/* One member of `fields`. @variables: all names so far, for each an entry. */
static void convert_field(const cJSON *in, const char *where, cJSON *fields, cJSON *variables,
			  struct buf *why)
{
	AUTO(freep) char *field = text_cleaned(in->string, 60);
	const char *name = cJSON_GetStringValue(in);
	AUTO(freep) char *shown = text_cleaned(name, 60);

	if (!*in->string)
		buf_printf(why, "%san empty field name\n", where);
	else if (value_has_control(in->string))
		buf_printf(why, "%scontrol characters in the field name '%s'\n", where, field);
	else if (strlen(in->string) > NAME_MAX_LEN)
		buf_printf(why, "%sfield '%s' is longer than %d bytes\n", where, field, NAME_MAX_LEN);
	else if (json_get(fields, in->string))
		buf_printf(why, "%sfield '%s' is there twice\n", where, field);
	else if (!name)
		buf_printf(why, "%sfield '%s': its variable's name is not a string\n", where, field);
	else if (!*name)
		buf_printf(why, "%sfield '%s': an empty variable name\n", where, field);
	else if (variable_mistake(name))
		buf_printf(why, "%sfield '%s': '%s' %s\n", where, field, shown, variable_mistake(name));
	else if (json_get(variables, name))
		buf_printf(why, "%sfield '%s': the variable %s is there twice\n", where, field, name);
	else {
		json_put_str(fields, in->string, name);
		json_put_bool(variables, name, true);
	}
}

static cJSON *convert_fields(const cJSON *in, const char *where, cJSON *variables, struct buf *why)
{
	AUTO(json_freep) cJSON *fields = json_object();
	const cJSON *field;

	if (!in || (cJSON_IsObject(in) && !in->child))
		buf_printf(why, "%sno fields\n", where);
	else if (!cJSON_IsObject(in))
		buf_printf(why, "%sfields is not an object of strings\n", where);
	else
		cJSON_ArrayForEach (field, in)
			convert_field(field, where, fields, variables, why);
	return TAKE(fields);
}

/* Return: the path without slashes around it, for free(). */
static char *convert_path(const cJSON *in, const char *where, struct buf *why)
{
	AUTO(buf_clear) struct buf mistakes = BUF_INIT;
	AUTO(freep) char *path = xstrdup(cJSON_GetStringValue(in));

	if (!in)
		buf_printf(why, "%sno path\n", where);
	else if (!path)
		buf_printf(why, "%spath is not a string\n", where);
	else if (!*path)
		buf_printf(why, "%sthe path is empty\n", where);
	else if (value_has_control(path))
		buf_printf(why, "%scontrol characters in the path\n", where);
	else if (strlen(path) > NAME_MAX_LEN)
		buf_printf(why, "%sthe path is longer than %d bytes\n", where, NAME_MAX_LEN);
	else if (*path == ' ' || path[strlen(path) - 1] == ' ')
		buf_printf(why, "%sa space at the start or end of the path\n", where);
	else if (!check_vault_path(path, &mistakes))
		buf_printf(why, "%s%s%s", where, buf_str(&mistakes),
			   mistakes.len ? "" : "not a secret's path in Vault, its mount first\n");
	return TAKE(path);
}

static cJSON *convert_secret(const cJSON *in, int index, cJSON *variables, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_object();
	AUTO(freep) char *entry = xasprintf("entry %d: ", index);
	const cJSON *member;

	if (!cJSON_IsObject(in)) {
		buf_printf(why, "%snot an object of path and fields\n", entry);
		return NULL;
	}
	cJSON_ArrayForEach (member, in) {
		AUTO(freep) char *name = text_cleaned(member->string, 40);

		if (!text_eq(member->string, "path") && !text_eq(member->string, "fields"))
			buf_printf(why, "%sunknown member '%s' (there are path, fields)\n", entry, name);
		else if (json_get(in, member->string) != member)
			buf_printf(why, "%s%s is there twice\n", entry, name);
	}

	AUTO(freep) char *path = convert_path(json_get(in, "path"), entry, why);
	AUTO(freep) char *shown = text_cleaned(path, 60);
	AUTO(freep)
	char *where = xasprintf("entry %d%s%s%s: ", index, *shown ? " (" : "", shown, *shown ? ")" : "");
	cJSON *fields =
		json_put(out, "fields", convert_fields(json_get(in, "fields"), where, variables, why));
	if (!path || !fields->child)
		return NULL;
	json_put_str(out, "path", path);
	return TAKE(out);
}

cJSON *convert_vault_secrets(const cJSON *in, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_array();
	AUTO(json_freep) cJSON *variables = json_object();
	const cJSON *entry;
	int index = 0;

	if (!cJSON_IsArray(in)) {
		buf_puts(why, "not a JSON array of objects\n");
		return NULL;
	}
	cJSON_ArrayForEach (entry, in) {
		cJSON *secret = convert_secret(entry, index++, variables, why);
		if (secret)
			json_push(out, secret);
	}
	return why->len || !out->child ? NULL : TAKE(out);
}

cJSON *convert_vault_policies(const cJSON *in, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_array();
	const cJSON *entry;
	int index = 0;

	if (!cJSON_IsArray(in)) {
		buf_puts(why, "not a JSON array of strings\n");
		return NULL;
	}
	cJSON_ArrayForEach (entry, in) {
		const char *name = cJSON_GetStringValue(entry);

		if (!name || !*name)
			buf_printf(why, "entry %d: not the name of a policy\n", index);
		else if (value_has_control(name))
			buf_printf(why, "entry %d: control characters in it\n", index);
		else
			json_push_str(out, name);
		index++;
	}
	return why->len || !out->child ? NULL : TAKE(out);
}
