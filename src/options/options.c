#include "options.h"

#include "file.h"
#include "table.h"
#include "text.h"

#define SHOWN 60 /* bytes of a value in a message */

struct option_origin {
	char *text;    /* for options_origin(), or NULL: the default */
	char *in_file; /* "FILE:LINE:COLUMN: KEY", or NULL: not from the workspace's file */
};

struct loader {
	const struct options_source *from;
	const struct options_file *file; /* or NULL */
	struct options *to;
	struct buf mistakes; /* one a line */
	struct buf notices;
	bool *wrong;       /* one a row */
	bool option_wrong; /* a provider option among them */
	bool file_wrong;   /* something of the file among them */
};

static size_t row_index(const struct option_row *row)
{
	return (size_t)(row - option_table);
}

static void *member(struct options *o, const struct option_row *row)
{
	return (char *)o + row->offset;
}

static char **string_member(struct options *o, const struct option_row *row)
{
	return member(o, row);
}

/* Where the row's value comes from. */
static struct option_origin *origin(const struct loader *l, const struct option_row *row)
{
	return &l->to->origins[row_index(row)];
}

/* "NAME='VALUE'", or just the name where the value is nobody's business. */
static char *describe(const struct loader *l, const struct option_row *row, const char *value)
{
	const char *name = origin(l, row)->in_file ? origin(l, row)->in_file : row->name;
	const char *host = strstr(value, "://");
	bool hidden = row->secret || row->type == OPTION_COMMAND || (host && strchr(host, '@'));

	if (hidden)
		return xstrdup(name);
	AUTO(freep) char *shown = text_cleaned(value, SHOWN);
	return xasprintf("%s='%s'", name, shown);
}

static void note(struct loader *l, const struct option_row *row)
{
	l->wrong[row_index(row)] = true;
	if (origin(l, row)->in_file)
		l->file_wrong = true;
	else if (row->place == PLACE_PROVIDER)
		l->option_wrong = true;
}

static void mistake(struct loader *l, const struct option_row *row, const char *value, const char *fmt, ...)
	PRINTF(4, 5);

static void mistake(struct loader *l, const struct option_row *row, const char *value, const char *fmt, ...)
{
	AUTO(freep) char *what = describe(l, row, value);
	va_list ap;
	va_start(ap, fmt);
	AUTO(freep) char *why = xvasprintf(fmt, ap);
	va_end(ap);

	buf_printf(&l->mistakes, "%s: %s\n", what, why);
	note(l, row);
}

/* The reasons that a check of the table gave, one a line, or the one that is always true. */
static void mistakes(struct loader *l, const struct option_row *row, const char *value, const struct buf *why)
{
	const char *line = buf_str(why);

	if (!*line) {
		AUTO(freep) char *wants = option_wants(row);
		mistake(l, row, value, "not %s", wants);
	}
	for (size_t n; *line; line += n + 1) {
		n = strcspn(line, "\n");
		mistake(l, row, value, "%.*s", (int)n, line);
	}
}

static bool has_control(const char *s, const char *allowed)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)s[0];
		bool c1 = c == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0;

		if ((c < 0x20 && !strchr(allowed, *s)) || c == 0x7f || c1)
			return true;
	}
	return false;
}

static bool is_utf8(const char *s)
{
	for (size_t n = strlen(s), len; n; s += len, n -= len) {
		len = text_utf8_len(s, n);
		if (len == 0)
			return false;
	}
	return true;
}

/* What holds for the text of a value, whatever it means. */
static bool text_is_sound(struct loader *l, const struct option_row *row, const char *value)
{
	size_t n = strlen(value);
	size_t max = row->max_len ? row->max_len : OPTION_MAX_LEN;
	bool edges = row->type != OPTION_PATH && row->type != OPTION_JSON && !row->secret;

	if (row->type == OPTION_COMMAND || row->type == OPTION_FLAG)
		return true;
	if (n > max)
		mistake(l, row, value, "longer than %zu bytes", max);
	else if (has_control(value, row->type == OPTION_JSON ? "\t\n\r" : ""))
		mistake(l, row, value, "control characters in it");
	else if (row->type != OPTION_PATH && !is_utf8(value))
		mistake(l, row, value, "not valid UTF-8");
	else if (edges && (value[0] == ' ' || value[n - 1] == ' '))
		mistake(l, row, value, "a space at its start or end");
	else
		return true;
	return false;
}

static void take_integer(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(freep) char *wants = option_wants(row);
	const char *digits = value + (*value == '-');
	int64_t *to = member(l->to, row);
	uint64_t v;

	if (!*digits || digits[strspn(digits, "0123456789")])
		mistake(l, row, value, "not %s", wants);
	else if (text_u64(value, &v) < 0 || v > INT64_MAX || (int64_t)v < row->min || (int64_t)v > row->max)
		mistake(l, row, value, "out of range %s", strchr(wants, '('));
	else
		*to = (int64_t)v;
}

static void take_duration(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(freep) char *wants = option_wants(row);
	int64_t *to = member(l->to, row);
	int64_t v;

	if (text_duration_ms(value, &v) < 0)
		mistake(l, row, value, "not %s", wants);
	else if (v < row->min || v > row->max)
		mistake(l, row, value, "out of range %s", strchr(wants, '('));
	else
		*to = v;
}

static void take_boolean(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(freep) char *wants = option_wants(row);
	bool *to = member(l->to, row);
	bool v;

	if (text_bool(value, &v) < 0)
		mistake(l, row, value, "not %s", wants);
	else
		*to = v;
}

static void take_string(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(secret_freep) char *copy = xstrdup(value);
	AUTO(buf_clear) struct buf why = BUF_INIT;

	if (row->check && !row->check(copy, &why))
		mistakes(l, row, value, &why);
	else
		*string_member(l->to, row) = TAKE(copy);
}

static void take_list(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(freep) char *copy = xstrdup(value);
	AUTO(buf_clear) struct buf why = BUF_INIT;
	char ***to = member(l->to, row);
	size_t n = 0;

	if (!row->check(copy, &why)) {
		mistakes(l, row, value, &why);
		return;
	}
	char **list = xcalloc(strlen(copy) + 2, sizeof *list);
	for (const char *p = copy; *p; p += *p == ',') {
		p += strspn(p, " ");
		size_t len = strcspn(p, ",");
		size_t end = len;
		while (end && p[end - 1] == ' ')
			end--;
		list[n++] = xstrndup(p, end);
		p += len;
	}
	*to = list;
}

static void take_json(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(json_freep) cJSON *v = NULL;
	AUTO(buf_clear) struct buf why = BUF_INIT;
	struct err e = ERR_INIT;
	AUTO(freep) char *what = describe(l, row, value);
	cJSON **to = member(l->to, row);

	v = json_parse(value, strlen(value), what, &e);
	if (!v) {
		buf_printf(&l->mistakes, "%s\n", e.msg);
		note(l, row);
		err_clear(&e);
		return;
	}
	*to = row->convert(v, &why);
	if (why.len)
		mistakes(l, row, value, &why);
}

static bool is_allowed(struct loader *l, const struct option_row *row, const char *value)
{
	AUTO(buf_clear) struct buf all = BUF_INIT;

	if (!row->values)
		return true;
	for (size_t i = 0; row->values[i]; i++) {
		if (text_eq(row->values[i], value))
			return true;
		buf_printf(&all, "%s%s", i ? ", " : "", row->values[i]);
	}
	mistake(l, row, value, "none of: %s", buf_str(&all));
	return false;
}

static void take_choice(struct loader *l, const struct option_row *row, const char *value)
{
	int *to = member(l->to, row);

	for (int i = 0; row->values[i]; i++)
		if (text_eq(row->values[i], value))
			*to = 1 + i;
}

static void take(struct loader *l, const struct option_row *row, const char *value)
{
	if (!text_is_sound(l, row, value) || !is_allowed(l, row, value))
		return;
	switch (row->type) {
	case OPTION_STRING:
	case OPTION_PATH:
	case OPTION_COMMAND:
		take_string(l, row, value);
		break;
	case OPTION_INTEGER:
		take_integer(l, row, value);
		break;
	case OPTION_DURATION:
		take_duration(l, row, value);
		break;
	case OPTION_BOOLEAN:
		take_boolean(l, row, value);
		break;
	case OPTION_CHOICE:
		take_choice(l, row, value);
		break;
	case OPTION_LIST:
		take_list(l, row, value);
		break;
	case OPTION_JSON:
		take_json(l, row, value);
		break;
	case OPTION_FLAG:
		break;
	}
}

/* A default with the ${NAME}s in it replaced by values, or NULL where one of them is not set. */
static char *expand(struct options *o, const char *text)
{
	AUTO(buf_clear) struct buf out = BUF_INIT;

	while (*text) {
		size_t n = strcspn(text, "$");
		if (n == 0 && text_starts(text, "${")) {
			n = strcspn(text, "}") + 1;
			AUTO(freep) char *name = xstrndup(text + 2, n - 3);
			const char *value = *string_member(o, option_find(name));
			if (!value)
				return NULL;
			buf_puts(&out, value);
		} else {
			n += n == 0;
			buf_printf(&out, "%.*s", (int)n, text);
		}
		text += n;
	}
	return buf_take(&out);
}

/*
 * DevPod passes every option of provider.yaml, with its default where the user gave none: what equals that
 * says nothing. Else no line of the file would ever count.
 */
static bool is_devpods_default(struct loader *l, const struct option_row *row, const char *value)
{
	if (row->place != PLACE_PROVIDER || row->inherits || !row->initial)
		return false;
	AUTO(freep) char *initial = expand(l->to, row->initial);
	return text_eq(initial, value);
}

/* What the file has of the row and counts, or NULL. */
static const struct file_entry *entry_of(struct loader *l, const struct option_row *row)
{
	const struct file_entry *entry = l->file ? &l->file->entries[row_index(row)] : NULL;

	if (!entry || !entry->value)
		return NULL;
	if (l->file->foreign && !row->harmless) {
		buf_printf(&l->notices,
			   OPTIONS_FILE_NAME ":%zu: %s is ignored: %s, and then only size, image and storage "
					     "are taken from the file\n",
			   entry->line, entry->key, l->file->foreign);
		return NULL;
	}
	return entry;
}

static void take_entry(struct loader *l, const struct option_row *row, const struct file_entry *entry)
{
	struct option_origin *o = origin(l, row);

	o->text = xasprintf(OPTIONS_FILE_NAME ":%zu", entry->line);
	o->in_file = xasprintf(OPTIONS_FILE_NAME ":%zu:%zu: %s", entry->line, entry->column, entry->key);
	if (row->devpods)
		buf_printf(&l->notices,
			   OPTIONS_FILE_NAME
			   ":%zu: %s does nothing here: DevPod acts on it, and does not read "
			   "this file; set it as an option\n",
			   entry->line, entry->key);
	take(l, row, entry->value);
}

static void load_row(struct loader *l, const struct option_row *row)
{
	const char *value = l->from->get(l->from->arg, row->name);
	bool set = value && *value;
	bool text = row->type == OPTION_STRING || row->type == OPTION_PATH || row->type == OPTION_COMMAND;

	if (text && *string_member(l->to, row)) /* a row above has it */
		return;
	if (row->type == OPTION_FLAG) {
		bool *to = member(l->to, row);
		bool on;
		set = set && text_bool(value, &on) == 0 && on;
		*to = *to || set;
	}
	const struct file_entry *entry = entry_of(l, row);

	if (entry && (!set || is_devpods_default(l, row, value))) {
		take_entry(l, row, entry);
	} else if (set) {
		origin(l, row)->text = xstrdup(row->name);
		take(l, row, value);
	} else if (row->initial) {
		AUTO(freep) char *initial = expand(l->to, row->initial);
		if (initial)
			take(l, row, initial);
	}
}

static bool is_wrong(const struct loader *l, const char *name)
{
	return l->wrong[row_index(option_find(name))];
}

/* A mistake of what is not there; these texts are searched for. */
static void missing(struct loader *l, const char *name, const char *fmt, ...) PRINTF(3, 4);

static void missing(struct loader *l, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (is_wrong(l, name))
		return;
	va_start(ap, fmt);
	AUTO(freep) char *text = xvasprintf(fmt, ap);
	va_end(ap);
	buf_printf(&l->mistakes, "%s %s\n", name, text);
	note(l, option_find(name));
}

static void pair(struct loader *l, const char *cert_name, const char *cert, const char *key_name,
		 const char *key)
{
	static const char both[] = "both client cert and client key must be provided";

	if (cert && !key && !is_wrong(l, key_name))
		mistake(l, option_find(cert_name), cert, "%s is not set; %s", key_name, both);
	if (key && !cert && !is_wrong(l, cert_name))
		mistake(l, option_find(key_name), key, "%s is not set; %s", cert_name, both);
}

/* Which storage and which Docker, and what they need. */
static void resolve_modes(struct loader *l)
{
	enum { PERSISTENT = 2, TYPE_HOST = 2 }; /* storage_modes, storage_types of the table */
	struct options *o = l->to;
	bool persistent = o->storage_mode == PERSISTENT;

	if (persistent)
		o->storage = o->storage_type == TYPE_HOST ? STORAGE_HOST_VOLUME : STORAGE_CSI;
	if (o->docker_mode)
		o->docker = (enum options_docker)o->docker_mode;
	else
		o->docker = persistent ? DOCKER_DIND : DOCKER_HOST;
	if (persistent && o->docker == DOCKER_HOST)
		mistake(l, option_find("NOMAD_DOCKER_MODE"), "host",
			"does not go with NOMAD_STORAGE_MODE='persistent': the node's Docker cannot see into "
			"the "
			"volume, and the devcontainers would stay behind on the node; use dind, or leave it "
			"unset");
	if (o->storage == STORAGE_CSI && !o->csi_parameters && !o->csi_cluster_id &&
	    !is_wrong(l, "NOMAD_CSI_PARAMETERS_JSON"))
		missing(l, "NOMAD_CSI_CLUSTER_ID",
			"is required when NOMAD_STORAGE_MODE is 'persistent' (it is for ceph-csi; a plugin "
			"with "
			"other parameters takes NOMAD_CSI_PARAMETERS_JSON, {} for none)");
	if (o->storage == STORAGE_CSI && o->csi_vault_path && !o->vault_addr)
		missing(l, "VAULT_ADDR", "is required when NOMAD_CSI_VAULT_PATH is specified");
	if (!o->image && !is_wrong(l, "NOMAD_IMAGE"))
		o->image = xstrdup(o->docker == DOCKER_DIND ? OPTIONS_IMAGE_DIND : OPTIONS_IMAGE_HOST);
}

/* Whoever writes the file of a workspace must not get a token sent to a server of their own. */
static void keep_tokens(struct loader *l)
{
	static const struct {
		const char *secret, *address;
	} pairs[] = {{"NOMAD_TOKEN", "NOMAD_ADDR"},
		     {"NOMAD_HTTP_AUTH", "NOMAD_ADDR"},
		     {"VAULT_TOKEN", "VAULT_ADDR"},
		     {"DEVPOD_VAULT_TOKEN", "VAULT_ADDR"}};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const struct option_row *secret = option_find(pairs[i].secret);
		const struct option_row *address = option_find(pairs[i].address);
		const char *value = *string_member(l->to, address);

		if (!origin(l, secret)->text || !origin(l, address)->in_file || !value)
			continue;
		if (address->group == GROUP_VAULT && !l->to->csi_vault_path) /* nothing is asked of Vault */
			continue;
		mistake(l, address, value,
			"%s would be sent there, and where to is not for a workspace's file to say; set %s "
			"in the environment or as an option",
			secret->name, address->name);
	}
}

/* These texts are searched for, too. */
static void check_secrets(struct loader *l)
{
	static const char why[] = "is required when VAULT_SECRETS_JSON is specified";
	const struct options *o = l->to;

	if (!o->vault_secrets && !is_wrong(l, "VAULT_SECRETS_JSON"))
		return;
	if (!o->vault_policies)
		missing(l, "VAULT_POLICIES_JSON", "%s", why);
	if (!o->vault_addr)
		missing(l, "VAULT_ADDR", "%s", why);
}

static void check_gpu(struct loader *l)
{
	const struct options *o = l->to;

	if (o->gpu && o->gpu_compute_capability && !text_eq(o->gpu_vendor, "nvidia") &&
	    !is_wrong(l, "NOMAD_GPU_VENDOR"))
		mistake(l, option_find("NOMAD_GPU_COMPUTE_CAPABILITY"), o->gpu_compute_capability,
			"is NVIDIA's, and NOMAD_GPU_VENDOR is '%s'", o->gpu_vendor);
}

static void turn_off(char **path)
{
	if (text_eq(*path, OPTIONS_NONE))
		free(TAKE(*path));
}

/* What two values mean together. */
static void check_together(struct loader *l, bool require_machine)
{
	struct options *o = l->to;

	if (require_machine && !o->machine_id && !is_wrong(l, "MACHINE_ID")) {
		buf_puts(&l->mistakes, "MACHINE_ID: not set (DevPod sets it for each command but init)\n");
		note(l, option_find("MACHINE_ID"));
	}
	if (o->memory_max_mb && o->memory_max_mb < o->memory_mb && !is_wrong(l, "NOMAD_MEMORYMB")) {
		AUTO(freep) char *max = xasprintf("%lld", (long long)o->memory_max_mb);
		mistake(l, option_find("NOMAD_MEMORY_MAX_MB"), max, "less than NOMAD_MEMORYMB (%lld)",
			(long long)o->memory_mb);
	}
	keep_tokens(l);
	pair(l, "NOMAD_CLIENT_CERT", o->client_cert, "NOMAD_CLIENT_KEY", o->client_key);
	pair(l, "VAULT_CLIENT_CERT", o->vault_client_cert, "VAULT_CLIENT_KEY", o->vault_client_key);
	if (o->agent_data_path && o->host_dir && o->machine_id) {
		AUTO(freep) char *own = xasprintf("%s/%s/", o->host_dir, o->machine_id);
		if (!text_starts(o->agent_data_path, own))
			mistake(l, option_find("AGENT_DATA_PATH"), o->agent_data_path,
				"not below %s, the one directory that the machine keeps and the node's "
				"Docker sees",
				own);
	}
}

static const char *environment_get(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

struct options_source options_environment(void)
{
	return (struct options_source){environment_get, NULL};
}

static int load(struct loader *l, bool require_machine, struct options **ret, struct err *e)
{
	AUTO(options_freep) struct options *o = xcalloc(1, sizeof *o);
	AUTO(freep) bool *wrong = xcalloc(option_count, sizeof *wrong);

	o->origins = xcalloc(option_count, sizeof *o->origins);
	l->to = o;
	l->wrong = wrong;
	for (size_t i = 0; i < option_count; i++)
		load_row(l, &option_table[i]);
	check_together(l, require_machine);
	resolve_modes(l);
	check_secrets(l);
	check_gpu(l);
	turn_off(&o->registry_certs_dir);
	turn_off(&o->registry_ca_cert);

	AUTO(freep) char *mistakes = buf_take(&l->mistakes);
	o->notices = buf_take(&l->notices);
	if (!*mistakes) {
		*ret = TAKE(o);
		return 0;
	}
	err_set(e, ERR_CONFIG, "%.*s", (int)strlen(mistakes) - 1, mistakes);
	if (l->option_wrong)
		err_hint(e, "`devpod provider set-options nomad -o NAME=VALUE` sets an option for machines "
			    "to come, `devpod up "
			    "WORKSPACE --provider-option NAME=VALUE` for the one that is there");
	else if (l->file_wrong)
		err_hint(e, "the file is %s", l->file->path);
	return -1;
}

int options_load(const struct options_source *from, bool require_machine, struct options **ret, struct err *e)
{
	struct loader l = {.from = from};

	return load(&l, require_machine, ret, e);
}

int options_load_workspace(const struct options_source *from, bool require_machine, struct options **ret,
			   struct err *e)
{
	AUTO(options_file_freep) struct options_file *file = options_file_load(from);
	struct loader l = {.from = from, .file = file};

	buf_puts(&l.mistakes, buf_str(&file->mistakes));
	l.file_wrong = file->mistakes.len > 0;
	return load(&l, require_machine, ret, e);
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void options_freep(struct options **p)
{
	struct options *o = *p;

	if (!o)
		return;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		switch (row->type) {
		case OPTION_STRING:
		case OPTION_PATH:
		case OPTION_COMMAND:
			secret_freep(string_member(o, row));
			*string_member(o, row) = NULL; /* another row may have the same member */
			break;
		case OPTION_LIST:
			free_list(*(char ***)member(o, row));
			break;
		case OPTION_JSON:
			json_freep(member(o, row));
			break;
		case OPTION_INTEGER:
		case OPTION_DURATION:
		case OPTION_BOOLEAN:
		case OPTION_CHOICE:
		case OPTION_FLAG:
			break;
		}
	}
	for (size_t i = 0; i < option_count; i++) {
		free(o->origins[i].text);
		free(o->origins[i].in_file);
	}
	free(o->origins);
	free(o->notices);
	free(o);
	*p = NULL;
}

const char *options_origin(const struct options *o, const char *name)
{
	const struct option_row *row = option_find(name);
	const char *text = row ? o->origins[row_index(row)].text : NULL;

	return text ? text : "the default";
}

const char *options_default(const char *name)
{
	const struct option_row *row = option_find(name);

	return row ? row->initial : NULL;
}

static const char *const docker_names[] = {[DOCKER_HOST] = "host", [DOCKER_DIND] = "dind"};
static const char *const storage_names[] = {
	[STORAGE_EPHEMERAL] = "ephemeral", [STORAGE_CSI] = "csi", [STORAGE_HOST_VOLUME] = "host"};

const char *options_docker_name(enum options_docker docker)
{
	return docker_names[docker];
}

const char *options_storage_name(enum options_storage storage)
{
	return storage_names[storage];
}

int options_docker_named(const char *name, enum options_docker *ret)
{
	for (size_t i = DOCKER_HOST; i < ARRAY_SIZE(docker_names); i++)
		if (text_eq(name, docker_names[i])) {
			*ret = (enum options_docker)i;
			return 0;
		}
	return -1;
}

int options_storage_named(const char *name, enum options_storage *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(storage_names); i++)
		if (text_eq(name, storage_names[i])) {
			*ret = (enum options_storage)i;
			return 0;
		}
	return -1;
}
