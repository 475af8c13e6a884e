#include "file.h"

#include "platform.h"
#include "text.h"

#include <ctype.h>
#include <yaml.h>

#define DEPTH_MAX    16
#define MISTAKES_MAX 20 /* more of them help nobody */
#define SHOWN        60 /* bytes of a name in a message */

struct reader {
	struct options_file *to;
	const char *text;
	yaml_parser_t parser;
	yaml_event_t event; /* at hand */
	size_t mistakes;
	bool stopped;
};

static void mistake_at(struct reader *r, size_t line, size_t column, const char *fmt, ...) PRINTF(4, 5);

static void mistake_at(struct reader *r, size_t line, size_t column, const char *fmt, ...)
{
	va_list ap;

	if (r->mistakes == MISTAKES_MAX)
		return;
	va_start(ap, fmt);
	AUTO(freep) char *why = xvasprintf(fmt, ap);
	va_end(ap);
	buf_printf(&r->to->mistakes, OPTIONS_FILE_NAME ":%zu:%zu: %s\n", line, column, why);
	if (++r->mistakes == MISTAKES_MAX) {
		buf_puts(&r->to->mistakes, OPTIONS_FILE_NAME ": and perhaps more; reading it ended there\n");
		r->stopped = true;
	}
}

/* At the event at hand. */
#define mistake(r, ...)                                                                                      \
	mistake_at(r, (r)->event.start_mark.line + 1, (r)->event.start_mark.column + 1, __VA_ARGS__)

static bool begins_with_tab(const char *text, size_t line)
{
	while (line-- && (text = strchr(text, '\n')))
		text++;
	return text && text[strspn(text, " ")] == '\t';
}

/* What libyaml says of text that is no YAML. */
static void syntax_mistake(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t at = p->problem_mark;

	if (p->error == YAML_READER_ERROR) { /* it has an offset only */
		at = (yaml_mark_t){0};
		for (size_t i = 0; i < p->problem_offset && r->text[i]; i++) {
			at.column = r->text[i] == '\n' ? 0 : at.column + 1;
			at.line += r->text[i] == '\n';
		}
	}
	mistake_at(r, at.line + 1, at.column + 1, "not valid YAML: %s%s%s%s", p->context ? p->context : "",
		   p->context ? ", " : "", p->problem ? p->problem : "out of memory",
		   begins_with_tab(r->text, at.line) ? " (indent with spaces, YAML knows no tabs there)"
						     : "");
	r->stopped = true;
}

/* What a node may not have, whatever it is for: anchors, because a few bytes of them stand for gigabytes, and
 * tags, because nothing here has a use for them. */
static void refuse_decoration(struct reader *r)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (e->type == YAML_ALIAS_EVENT) {
		anchor = e->data.alias.anchor;
	} else if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	}
	if (anchor)
		mistake(r, "anchors and aliases (&, *) are not taken; write the value out");
	if (tag)
		mistake(r, "tags (!) are not taken; put text in quotes");
}

/* The next event. Return: false when there is none, because of a mistake that is noted. */
static bool next(struct reader *r)
{
	if (r->stopped)
		return false;
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		syntax_mistake(r);
		return false;
	}
	refuse_decoration(r);
	return !r->stopped;
}

static bool opens(const struct reader *r)
{
	return r->event.type == YAML_SEQUENCE_START_EVENT || r->event.type == YAML_MAPPING_START_EVENT;
}

static bool closes(const struct reader *r)
{
	return r->event.type == YAML_SEQUENCE_END_EVENT || r->event.type == YAML_MAPPING_END_EVENT;
}

static bool is_scalar(const struct reader *r)
{
	return r->event.type == YAML_SCALAR_EVENT;
}

static void too_deep(struct reader *r)
{
	mistake(r, "more than %d levels deep", DEPTH_MAX);
	r->stopped = true;
}

/* To the last event of the node that begins with the event at hand; so end all functions that read a node. */
static void skip(struct reader *r)
{
	for (unsigned depth = opens(r); depth && next(r);) {
		depth = depth + opens(r) - closes(r);
		if (depth > DEPTH_MAX)
			too_deep(r);
	}
}

/* The text of the scalar at hand, for free(), or NULL with a mistake. */
static char *scalar_text(struct reader *r)
{
	const char *value = (const char *)r->event.data.scalar.value;

	if (strlen(value) != r->event.data.scalar.length) {
		mistake(r, "a NUL character in it");
		return NULL;
	}
	return xstrdup(value);
}

/* What a scalar without quotes is, as YAML 1.2's core schema has it. */

static bool is_plain(const struct reader *r)
{
	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (text_eq(s, *words))
			return true;
	return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const trues[] = {"true", "True", "TRUE", NULL};
static const char *const falses[] = {"false", "False", "FALSE", NULL};

/* JSON's numbers only: what YAML calls one beyond that (0755, 0x1f, .inf) stays the text it is written as. */
static bool is_number(const char *s)
{
	static const char digits[] = "0123456789";

	s += *s == '-';
	size_t n = strspn(s, digits);
	if (n == 0 || (n > 1 && *s == '0'))
		return false;
	s += n;
	if (*s == '.') {
		n = strspn(++s, digits);
		if (n == 0)
			return false;
		s += n;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '+' || *s == '-';
		n = strspn(s, digits);
		if (n == 0)
			return false;
		s += n;
	}
	return !*s;
}

/* YAML as JSON */

static cJSON *json_node(struct reader *r, unsigned depth);

static cJSON *json_scalar(struct reader *r)
{
	AUTO(freep) char *text = scalar_text(r);
	bool plain = is_plain(r);

	if (!text || (plain && is_one_of(text, nulls)))
		return cJSON_CreateNull();
	if (plain && is_one_of(text, trues))
		return cJSON_CreateTrue();
	if (plain && is_one_of(text, falses))
		return cJSON_CreateFalse();
	return plain && is_number(text) ? cJSON_CreateRaw(text) : cJSON_CreateString(text);
}

static void json_member(struct reader *r, cJSON *to, unsigned depth)
{
	AUTO(freep) char *key = is_scalar(r) ? scalar_text(r) : NULL;

	if (opens(r)) {
		mistake(r, "a name is wanted before the colon");
		skip(r);
	} else if (key && json_get(to, key)) {
		AUTO(freep) char *shown = text_cleaned(key, SHOWN);
		mistake(r, "'%s' is there twice", shown);
	}
	if (!next(r))
		return;
	cJSON *value = json_node(r, depth);
	if (key && value && !json_get(to, key))
		json_put(to, key, value);
	else
		cJSON_Delete(value);
}

/* Return: the node as JSON, or NULL: there is a mistake. */
static cJSON *json_node(struct reader *r, unsigned depth)
{
	if (opens(r) && depth == 0) {
		too_deep(r);
		return NULL;
	}
	if (is_scalar(r))
		return json_scalar(r);
	if (!opens(r)) /* an alias; told already */
		return NULL;
	bool sequence = r->event.type == YAML_SEQUENCE_START_EVENT;
	cJSON *to = sequence ? json_array() : json_object();

	while (next(r) && !closes(r)) {
		if (sequence) {
			cJSON *item = json_node(r, depth - 1);
			if (item)
				json_push(to, item);
		} else {
			json_member(r, to, depth - 1);
		}
	}
	return to;
}

/* Keys */

/* "NOMAD_X_JSON" as "nomad_x_json", or @short_form "nomad_x", the key for plain YAML; for free(), or NULL. */
static char *key_of(const struct option_row *row, bool short_form)
{
	static const char json[] = "_JSON";
	size_t n = strlen(row->name), tail = sizeof json - 1;

	if (short_form) {
		if (row->type != OPTION_JSON || n <= tail || !text_eq(row->name + n - tail, json))
			return NULL;
		n -= tail;
	}
	char *key = xstrndup(row->name, n);
	for (char *p = key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return key;
}

static const struct option_row *find_key(const char *key, bool *ret_short_form)
{
	for (size_t i = 0; i < option_count; i++)
		for (int form = 0; form < 2; form++) {
			AUTO(freep) char *known = key_of(&option_table[i], form);
			if (text_eq(known, key)) {
				*ret_short_form = form;
				return &option_table[i];
			}
		}
	return NULL;
}

static void unknown_key(struct reader *r, const char *key)
{
	AUTO(freep) char *shown = text_cleaned(key, SHOWN);
	AUTO(freep) char *nearest = NULL;
	unsigned least = 4; /* further away is another word, not a slip */

	for (size_t i = 0; i < option_count; i++)
		for (int form = 0; form < 2 && option_table[i].place == PLACE_PROVIDER; form++) {
			AUTO(freep) char *known = key_of(&option_table[i], form);
			unsigned d = known ? text_distance(shown, known) : least;
			if (d < least) {
				least = d;
				free(nearest);
				nearest = TAKE(known);
			}
		}
	if (nearest)
		mistake(r, "unknown option '%s'; did you mean %s?", shown, nearest);
	else
		mistake(r,
			"unknown option '%s'; `devpod-provider-nomad help` lists them all, here they are in "
			"lower case",
			shown);
}

/* What is known, and not taken from a file. */
static bool is_refused(struct reader *r, const struct option_row *row, const char *key)
{
	if (row->place == PLACE_PROVIDER)
		return false;
	if (row->place == PLACE_HOST)
		mistake(r, "%s: DevPod says this of the machine at hand; remove the line", key);
	else if (row->secret)
		mistake(r,
			"%s: a secret, and files of a workspace are shared, and copied to the machine; "
			"remove "
			"it, and set %s in the environment in which devpod runs",
			key, row->name);
	else
		mistake(r,
			"%s: belongs to this computer, not to the workspace; remove it, and set %s in the "
			"environment in which devpod runs",
			key, row->name);
	return true;
}

/* Values */

/* A sequence of scalars as the list with commas that the variable would be; for free(), or NULL: a mistake.
 */
static char *list_text(struct reader *r)
{
	AUTO(buf_clear) struct buf out = BUF_INIT;
	size_t before = r->mistakes;

	while (next(r) && !closes(r)) {
		AUTO(freep) char *item = is_scalar(r) ? scalar_text(r) : NULL;

		if (opens(r))
			mistake(r, "a name is wanted here");
		else if (item && ((is_plain(r) && is_one_of(item, nulls)) || !*item || strchr(item, ',')))
			mistake(r, "a name that is empty, or has a comma in it");
		else if (item)
			buf_printf(&out, "%s%s", out.len ? "," : "", item);
		skip(r);
	}
	return r->mistakes == before && !r->stopped ? xstrdup(buf_str(&out)) : NULL;
}

static char *scalar_value(struct reader *r, const struct option_row *row)
{
	AUTO(freep) char *text = scalar_text(r);

	if (!text || !*text || (is_plain(r) && is_one_of(text, nulls)))
		return NULL;
	if (row->type == OPTION_BOOLEAN && is_plain(r) && is_one_of(text, trues))
		return xstrdup("true");
	if (row->type == OPTION_BOOLEAN && is_plain(r) && is_one_of(text, falses))
		return xstrdup("false");
	return TAKE(text);
}

/* As the variable would hold it, for free(), or NULL: unset, or a mistake. */
static char *read_value(struct reader *r, const struct option_row *row, bool short_form)
{
	if (is_scalar(r)) {
		AUTO(freep) char *text = scalar_value(r, row);
		AUTO(freep) char *json_key = key_of(row, false);
		if (text && short_form)
			mistake(r, "plain YAML is wanted here; JSON text goes under %s", json_key);
		return TAKE(text);
	}
	if (short_form) {
		AUTO(json_freep) cJSON *v = json_node(r, DEPTH_MAX);
		return v && !r->stopped ? json_print(v) : NULL;
	}
	if (row->type == OPTION_LIST && r->event.type == YAML_SEQUENCE_START_EVENT)
		return list_text(r);
	if (opens(r)) {
		AUTO(freep) char *plain = key_of(row, true);
		if (plain)
			mistake(r, "JSON text in quotes is wanted here; plain YAML goes under %s", plain);
		else
			mistake(r, "one value is wanted here%s",
				row->type == OPTION_LIST ? ", or a list of them" : "");
		skip(r);
	}
	return NULL;
}

/* One key with its value; the key is at hand. */
static void read_entry(struct reader *r)
{
	AUTO(freep) char *key = is_scalar(r) ? scalar_text(r) : NULL;
	bool short_form = false, taken = false;
	const struct option_row *row = key ? find_key(key, &short_form) : NULL;
	struct file_entry *to = row ? &r->to->entries[row - option_table] : NULL;

	if (opens(r)) {
		mistake(r, "an option's name is wanted before the colon");
		skip(r);
	} else if (key && !row) {
		unknown_key(r, key);
	} else if (to && to->key) {
		mistake(r, "%s: %s is in line %zu already; keep one of them", key,
			text_eq(to->key, key) ? "it" : to->key, to->line);
	} else if (to && !is_refused(r, row, key)) {
		taken = true;
		to->key = TAKE(key);
		to->line = r->event.start_mark.line + 1;
		to->column = r->event.start_mark.column + 1;
	}
	if (!next(r))
		return;
	if (taken)
		to->value = read_value(r, row, short_form);
	else
		skip(r);
}

static void read_document(struct reader *r)
{
	/* the stream's start; the document's, if there is one; its node's */
	for (int i = 0; i < 3; i++)
		if (!next(r) || r->event.type == YAML_STREAM_END_EVENT)
			return;
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		while (next(r) && !closes(r))
			read_entry(r);
	} else if (!is_scalar(r) || !is_plain(r) || r->event.data.scalar.length) {
		mistake(r, "lines like `nomad_memorymb: 4096` are wanted, an option and a value each");
		return;
	}
	/* the document's end; the stream's, or another document's start */
	for (int i = 0; i < 2; i++)
		if (!next(r))
			return;
	if (r->event.type != YAML_STREAM_END_EVENT)
		mistake(r, "a second document; one is taken");
}

/* libyaml would take UTF-16 too, and ends at a NUL. */
static bool is_text(struct reader *r, size_t n)
{
	size_t line = 1, column = 1;

	for (size_t i = 0, len; i < n; i += len, column++) {
		len = text_utf8_len(r->text + i, n - i);
		if (len == 0 || !r->text[i]) {
			mistake_at(r, line, column, "%s; save the file as UTF-8 text",
				   len ? "a NUL character" : "not valid UTF-8");
			return false;
		}
		if (r->text[i] == '\n') {
			line++;
			column = 0;
		}
	}
	return true;
}

/* @text has a NUL at its end. */
static void parse(struct options_file *to, const char *text, size_t n)
{
	struct reader r = {.to = to, .text = text};

	if (!is_text(&r, n))
		return;
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
	read_document(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
}

static struct options_file *new_file(void)
{
	struct options_file *f = xcalloc(1, sizeof *f);

	f->entries = xcalloc(option_count, sizeof *f->entries);
	return f;
}

struct options_file *options_file_parse(const char *text, size_t n)
{
	AUTO(freep) char *copy = xmalloc(n + 1);
	struct options_file *f = new_file();

	if (n)
		memcpy(copy, text, n);
	copy[n] = '\0';
	parse(f, copy, n);
	return f;
}

void options_file_freep(struct options_file **p)
{
	struct options_file *f = *p;

	if (!f)
		return;
	for (size_t i = 0; i < option_count; i++) {
		free(f->entries[i].key);
		free(f->entries[i].value);
	}
	free(f->entries);
	free(f->path);
	buf_clear(&f->mistakes);
	free(f);
	*p = NULL;
}

/* Where it is */

static char *variable(const struct options_source *from, const char *name)
{
	const char *value = from->get(from->arg, name);

	return value && *value ? xstrdup(value) : NULL;
}

/* A workspace.json of DevPod's: what the workspace is made from, as WORKSPACE_SOURCE would say it, when it is
 * on that machine; for free(), or NULL. */
static char *source_of(const char *path, const char *machine_id)
{
	static const struct {
		const char *member, *prefix;
	} kinds[] = {{"gitRepository", "git:"},
		     {"localFolder", "local:"},
		     {"image", "image:"},
		     {"container", "container:"}};
	struct err e = ERR_INIT;
	size_t n;
	AUTO(freep) char *text = file_read(path, (size_t)1 << 20, &n, &e);
	AUTO(json_freep) cJSON *v = text ? json_parse(text, n, path, &e) : NULL;

	err_clear(&e); /* another workspace's, or just being written */
	if (!text_eq(json_str(json_get(v, "machine"), "machineId"), machine_id))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *value = json_str(json_get(v, "source"), kinds[i].member);
		if (value && *value)
			return xasprintf("%s%s", kinds[i].prefix, value);
	}
	return NULL;
}

/*
 * DevPod gives WORKSPACE_SOURCE to `command` only: create, start, stop, delete and status are the machine's,
 * and get MACHINE_FOLDER (measured with 0.6.15 and 0.26.1). But `devpod up` runs anywhere, so the workspace
 * is looked up in DevPod's own files: beside machines/ID there is workspaces/NAME/workspace.json, before
 * create.
 */
static char *source_in_devpods_files(const struct options_source *from)
{
	AUTO(freep) char *folder = variable(from, "MACHINE_FOLDER");
	AUTO(freep) char *id = variable(from, "MACHINE_ID");
	AUTO(dir_files_freep) char **files = NULL;
	struct err e = ERR_INIT;

	if (!folder || !id)
		return NULL;
	AUTO(freep) char *workspaces = xasprintf("%s/../../workspaces", folder);
	files = dir_files(workspaces, &e);
	err_clear(&e); /* none: not run by DevPod, or by one that keeps its files another way */
	for (char **f = files; f && *f; f++) {
		const char *name = strrchr(*f, '/');
		char *source = text_eq(name, "/workspace.json") ? source_of(*f, id) : NULL;
		if (source)
			return source;
	}
	return NULL;
}

struct options_file *options_file_load(const struct options_source *from)
{
	static const char local[] = "local:";
	struct options_file *f = new_file();
	AUTO(freep) char *source = variable(from, "WORKSPACE_SOURCE");
	struct err e = ERR_INIT;
	bool own = false;
	size_t n;

	if (!source)
		source = source_in_devpods_files(from);
	const char *folder = text_starts(source, local) ? source + sizeof local - 1 : NULL;

	f->path = folder && *folder ? xasprintf("%s/" OPTIONS_FILE_NAME, folder) : xstrdup(OPTIONS_FILE_NAME);
	AUTO(freep) char *text = file_read_config(f->path, OPTIONS_FILE_MAX, &n, &own, &e);
	if (text)
		parse(f, text, n);
	else if (e.kind != ERR_NOT_FOUND)
		buf_printf(&f->mistakes, "%s; make it a file that you can read, or remove it\n", e.msg);
	err_clear(&e);
	if (source && !folder)
		f->foreign = "the workspace is no folder of this computer";
	else if (!own)
		f->foreign = "others own the file or its directory, or may write to it";
	return f;
}
