#include "unit.h"

#include "file.h"
#include "platform.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT OPTIONS_FILE_NAME ":"

static struct options_file *parsed(const char *text)
{
	return options_file_parse(text, strlen(text));
}

static const struct file_entry *entry(const struct options_file *f, const char *name)
{
	const struct option_row *row = option_find(name);

	assert_non_null(row);
	return &f->entries[row - option_table];
}

/* One line gives one option one value; NULL: unset. */
static void holds(const char *text, const char *name, const char *value)
{
	AUTO(options_file_freep) struct options_file *f = parsed(text);

	assert_string_equal(buf_str(&f->mistakes), "");
	if (value)
		assert_string_equal(entry(f, name)->value, value);
	else
		assert_null(entry(f, name)->value);
}

static void refused_bytes(const char *text, size_t n, const char *mistakes)
{
	AUTO(options_file_freep) struct options_file *f = options_file_parse(text, n);

	assert_string_equal(buf_str(&f->mistakes), mistakes);
}

static void refused(const char *text, const char *mistakes)
{
	refused_bytes(text, strlen(text), mistakes);
}

static void scalars_are_what_is_written(void **state)
{
	(void)state;
	holds("nomad_cpu: 500", "NOMAD_CPU", "500");
	holds("nomad_cpu: \"500\"", "NOMAD_CPU", "500");
	holds("nomad_cpu: '500' # MHz", "NOMAD_CPU", "500");
	holds("{nomad_cpu: 500}", "NOMAD_CPU", "500");
	holds("\xef\xbb\xbfnomad_cpu: 500\r\n", "NOMAD_CPU", "500");
	holds("%YAML 1.2\n---\nnomad_cpu: 500\n...\n", "NOMAD_CPU", "500");
	holds("nomad_image: 1.10", "NOMAD_IMAGE", "1.10");
	holds("nomad_region: yes", "NOMAD_REGION", "yes");
	holds("nomad_region: 0x1f", "NOMAD_REGION", "0x1f");
	holds("nomad_region: 'null'", "NOMAD_REGION", "null");
	holds("nomad_region: True", "NOMAD_REGION", "True");
	holds("nomad_image: |-\n  a:1\n", "NOMAD_IMAGE", "a:1");
	holds("nomad_exec_direct: FALSE", "NOMAD_EXEC_DIRECT", "false");
	holds("nomad_exec_direct: True", "NOMAD_EXEC_DIRECT", "true");
	holds("nomad_exec_direct: 'True'", "NOMAD_EXEC_DIRECT", "True");
	holds("nomad_exec_direct: no", "NOMAD_EXEC_DIRECT", "no");
}

static void nothing_is_unset(void **state)
{
	(void)state;
	static const char *const values[] = {"", " ", "~", "null", "Null", "NULL", "''", "\"\"", "# x"};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		AUTO(freep) char *text = xasprintf("nomad_cpu: %s\n", values[i]);
		holds(text, "NOMAD_CPU", NULL);
	}
	holds("", "NOMAD_CPU", NULL);
	holds("# only a comment\n", "NOMAD_CPU", NULL);
	holds("---\n", "NOMAD_CPU", NULL);
	holds("{}", "NOMAD_CPU", NULL);
	holds("nomad_constraints:\n", "NOMAD_CONSTRAINTS_JSON", NULL);
	holds("nomad_datacenters: []\n", "NOMAD_DATACENTERS", "");
}

static void lists_and_json(void **state)
{
	(void)state;
	holds("nomad_datacenters: dc1, dc2", "NOMAD_DATACENTERS", "dc1, dc2");
	holds("nomad_datacenters:\n  - dc1\n  - 'my dc'\n  - 10\n", "NOMAD_DATACENTERS", "dc1,my dc,10");
	holds("nomad_constraints_json: '[]'", "NOMAD_CONSTRAINTS_JSON", "[]");
	holds("nomad_constraints:\n- attribute: ${attr.cpu.arch}\n  value: amd64\n", "NOMAD_CONSTRAINTS_JSON",
	      "[{\"attribute\":\"${attr.cpu.arch}\",\"value\":\"amd64\"}]");
	holds("nomad_constraints: [1, -1.5e3, 01, 1., .5, 1e, '1', true, 'true', ~, '', yes, 0x1f, "
	      "\"\\x41\\u00e9\"]",
	      "NOMAD_CONSTRAINTS_JSON",
	      "[1,-1.5e3,\"01\",\"1.\",\".5\",\"1e\",\"1\",true,\"true\",null,\"\",\"yes\",\"0x1f\","
	      "\"A\xc3\xa9\"]");
	holds("nomad_csi_parameters: {}", "NOMAD_CSI_PARAMETERS_JSON", "{}");
	holds("nomad_csi_parameters: {a: {b: [[]]}, \"c\": False}", "NOMAD_CSI_PARAMETERS_JSON",
	      "{\"a\":{\"b\":[[]]},\"c\":false}");
}

static void lines_are_known(void **state)
{
	(void)state;
	AUTO(options_file_freep)
	struct options_file *f =
		parsed("# a\n\nnomad_cpu: 500\nnomad_constraints:\n- {}\nnomad_region:\n  eu\n");

	assert_int_equal(entry(f, "NOMAD_CPU")->line, 3);
	assert_int_equal(entry(f, "NOMAD_CPU")->column, 1);
	assert_string_equal(entry(f, "NOMAD_CONSTRAINTS_JSON")->key, "nomad_constraints");
	assert_int_equal(entry(f, "NOMAD_REGION")->line, 6);
}

/* Every option of provider.yaml, by its name; whatever is none is refused. */
static void every_row_has_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];
		AUTO(freep) char *text = xasprintf("%s: x\n", row->name);

		for (char *p = text; *p != ':'; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
		AUTO(options_file_freep) struct options_file *f = parsed(text);
		if (row->place == PLACE_PROVIDER) {
			assert_string_equal(buf_str(&f->mistakes), "");
			assert_string_equal(entry(f, row->name)->value, "x");
		} else {
			assert_int_equal(strncmp(buf_str(&f->mistakes), AT "1:1: ", 23), 0);
			assert_non_null(strstr(buf_str(&f->mistakes), "remove "));
			assert_null(entry(f, row->name)->value);
		}
	}
}

static void bad_keys(void **state)
{
	(void)state;
	refused("\nnomad_memory_mb: 1",
		AT "2:1: unknown option 'nomad_memory_mb'; did you mean nomad_memorymb?\n");
	refused("NOMAD_CPU: 1", AT "1:1: unknown option 'NOMAD_CPU'; did you mean nomad_cpu?\n");
	refused("nomad_constraint: []",
		AT "1:1: unknown option 'nomad_constraint'; did you mean nomad_constraints?\n");
	refused("colour: red",
		AT "1:1: unknown option 'colour'; `devpod-provider-nomad help` lists them all, "
		   "here they are in lower case\n");
	refused("\"a\\nb\\e[0m\": 1", AT "1:1: unknown option 'a b?[0m'; `devpod-provider-nomad help` lists "
					 "them all, here they are in lower case\n");
	refused("nomad_cpu: 1\nnomad_cpu: 2",
		AT "2:1: nomad_cpu: it is in line 1 already; keep one of them\n");
	refused("nomad_constraints: []\nnomad_constraints_json: ''",
		AT "2:1: nomad_constraints_json: nomad_constraints is in line 1 already; keep one of them\n");
	refused("nomad_token: t0ps3cret", AT
		"1:1: nomad_token: a secret, and files of a workspace are shared, and copied to the machine; "
		"remove it, and set NOMAD_TOKEN in the environment in which devpod runs\n");
	refused("nomad_cacert: /x",
		AT "1:1: nomad_cacert: belongs to this computer, not to the workspace; "
		   "remove it, and set NOMAD_CACERT in the environment in which devpod runs\n");
	refused("machine_id: m",
		AT "1:1: machine_id: DevPod says this of the machine at hand; remove the line\n");
	refused("? [nomad_cpu]\n: 1\n", AT "1:3: an option's name is wanted before the colon\n");
	refused("\"nomad_cpu\\0x\": 1", AT "1:1: a NUL character in it\n");
}

static void bad_values(void **state)
{
	(void)state;
	refused("nomad_cpu: [1]", AT "1:12: one value is wanted here\n");
	refused("nomad_cpu:\n  a: 1\n", AT "2:3: one value is wanted here\n");
	refused("nomad_image: \"a\\0b\"", AT "1:14: a NUL character in it\n");
	refused("nomad_datacenters: {a: b}", AT "1:20: one value is wanted here, or a list of them\n");
	refused("nomad_datacenters: [a, [b], 'c,d', '', ~, e]",
		AT "1:24: a name is wanted here\n" AT "1:29: a name that is empty, or has a comma in it\n" AT
		   "1:36: a name that is empty, or has a comma in it\n" AT
		   "1:40: a name that is empty, or has a comma in it\n");
	refused("nomad_constraints_json: []",
		AT "1:25: JSON text in quotes is wanted here; plain YAML goes under nomad_constraints\n");
	refused("nomad_constraints: '[]'",
		AT "1:20: plain YAML is wanted here; JSON text goes under nomad_constraints_json\n");
	refused("nomad_constraints: [{a: 1, b: 2, a: 3}]", AT "1:34: 'a' is there twice\n");
	refused("nomad_constraints: [{? [a] : 1}]", AT "1:24: a name is wanted before the colon\n");
	refused("nomad_constraints: [\"\\0\"]", AT "1:21: a NUL character in it\n");
}

static void no_mapping(void **state)
{
	(void)state;
	static const char wanted[] =
		"lines like `nomad_memorymb: 4096` are wanted, an option and a value each\n";
	static const char *const texts[] = {"nomad_cpu", "- nomad_cpu: 1\n", "''", "[]"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO(freep) char *expect = xasprintf(AT "1:1: %s", wanted);
		refused(texts[i], expect);
	}
	refused("nomad_cpu: 1\n---\nnomad_cpu: 2\n", AT "2:1: a second document; one is taken\n");
}

static void anchors_aliases_and_tags(void **state)
{
	(void)state;
	static const char anchor[] = "anchors and aliases (&, *) are not taken; write the value out\n";
	AUTO(freep) char *two = xasprintf(AT "1:12: %s" AT "2:15: %s", anchor, anchor);
	AUTO(freep) char *items = xasprintf(AT "1:21: %s" AT "1:28: %s", anchor, anchor);

	refused("nomad_cpu: &a 5\nnomad_region: *a\n", two);
	refused("nomad_constraints: [&a [], *a]", items);
	refused("nomad_cpu: !!str 5", AT "1:12: tags (!) are not taken; put text in quotes\n");
	refused("!x {nomad_cpu: 5}", AT "1:1: tags (!) are not taken; put text in quotes\n");
	refused("nomad_cpu: ! 5", AT "1:12: tags (!) are not taken; put text in quotes\n");
}

/* What doubles with each line; it must cost nothing. */
static void billion_laughs(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf text = BUF_INIT;

	buf_puts(&text, "nomad_constraints:\n- &a0 [lol]\n");
	for (int i = 1; i < 30; i++)
		buf_printf(&text, "- &a%d [*a%d, *a%d]\n", i, i - 1, i - 1);
	AUTO(options_file_freep) struct options_file *f = options_file_parse(text.data, text.len);
	assert_non_null(strstr(buf_str(&f->mistakes), "and perhaps more; reading it ended there\n"));
	assert_true(f->mistakes.len < 4096);
}

static void syntax(void **state)
{
	(void)state;
	refused("nomad_cpu: 1\n\tnomad_region: eu\n",
		AT "2:1: not valid YAML: while scanning a plain scalar, found a tab character that "
		   "violates indentation (indent with spaces, YAML knows no tabs there)\n");
	refused("nomad_constraints: [1",
		AT "2:1: not valid YAML: while parsing a flow sequence, did not find expected "
		   "',' or ']'\n");
	refused("a: b: c", AT
		"1:1: unknown option 'a'; `devpod-provider-nomad help` lists them all, here they are "
		"in lower case\n" AT "1:5: not valid YAML: mapping values are not allowed in this context\n");
	refused("nomad_cpu: 1\nnomad_region: \"eu\n",
		AT "3:1: not valid YAML: while scanning a quoted scalar, found unexpected end of stream\n");
	refused("nomad_cpu: 1\nnomad_region: e\x01u\n",
		AT "2:16: not valid YAML: control characters are not allowed\n");
}

static void not_text(void **state)
{
	(void)state;
	static const char nul[] = "nomad_cpu: 1\nnomad\0_region: eu\n";

	refused_bytes(nul, sizeof nul - 1, AT "2:6: a NUL character; save the file as UTF-8 text\n");
	refused("nomad_cpu: 1\n# \xc3\xa9\xff\n", AT "2:4: not valid UTF-8; save the file as UTF-8 text\n");
	refused("\xff\xfe"
		"a",
		AT "1:1: not valid UTF-8; save the file as UTF-8 text\n");
	refused("# \xc3", AT "1:3: not valid UTF-8; save the file as UTF-8 text\n");
}

static void deep(void **state)
{
	(void)state;
	static const char *const starts[] = {"nomad_constraints: ", "unknown_option: ", "nomad_cpu: ", ""};
	AUTO(buf_clear) struct buf open = BUF_INIT;

	for (int i = 0; i < 30000; i++)
		buf_puts(&open, "[");
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		AUTO(freep) char *text = xasprintf("%s%s", starts[i], open.data);
		AUTO(options_file_freep) struct options_file *f = parsed(text);
		assert_true(f->mistakes.len > 0 && f->mistakes.len < 1024);
	}
	refused("nomad_constraints: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
		AT "1:36: more than 16 levels deep\n");
	holds("nomad_constraints: [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "NOMAD_CONSTRAINTS_JSON",
	      "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]");
}

static void many_mistakes(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf text = BUF_INIT;

	for (int i = 0; i < 5000; i++)
		buf_puts(&text, "unknown: 1\n");
	AUTO(options_file_freep) struct options_file *f = options_file_parse(text.data, text.len);
	size_t lines = 0;
	for (const char *p = buf_str(&f->mistakes); (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 21);
}

/* Each beginning of a file is read without harm. */
static void every_beginning(void **state)
{
	(void)state;
	static const char text[] = "nomad_cpu: 5\nnomad_constraints:\n  - {attribute: \"a\", value: 'b'}\n"
				   "nomad_datacenters: [a, &b \"\\u00e9\", *b]\nx: |\n  y\n";

	for (size_t n = 0; n < sizeof text; n++) {
		AUTO(options_file_freep) struct options_file *f = options_file_parse(text, n);
		assert_non_null(f);
	}
}

/* With the directory, the environment and the other options */

static char *folder;
static const char *const *variables;

static const char *get(void *arg, const char *name)
{
	(void)arg;
	for (const char *const *v = variables; *v; v += 2)
		if (text_eq(v[0], name))
			return v[1];
	return NULL;
}

static void put(const char *path, const char *text)
{
	AUTO(freep) char *full = xasprintf("%s/%s", folder, path);
	struct err e = ERR_INIT;

	for (char *p = full + strlen(folder) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	if (file_replace(full, text, strlen(text), &e) < 0)
		fail_msg("%s", e.msg);
}

static int make_folder(void **state)
{
	(void)state;
	char template[] = "/tmp/test_options_file.XXXXXX";

	folder = xstrdup(mkdtemp(template));
	return folder ? chdir(folder) : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	AUTO(freep) char *command = xasprintf("rm -rf '%s'", folder);
	int status = chdir("/") == 0 ? system(command) : -1; /* NOLINT(cert-env33-c): a path of our own */

	freep(&folder);
	return status;
}

static int load(const char *const *vars, struct options **ret, struct err *e)
{
	struct options_source from = {get, NULL};

	variables = vars;
	return options_load_workspace(&from, false, ret, e);
}

#define VARS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct options *loaded(const char *const *vars)
{
	struct options *o = NULL;
	struct err e = ERR_INIT;

	if (load(vars, &o, &e) < 0)
		fail_msg("%s", e.msg);
	return o;
}

static void not_loaded(const char *const *vars, const char *message, const char *hint)
{
	struct options *o = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(load(vars, &o, &e), -1);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_string_equal(e.msg, message);
	if (hint)
		assert_string_equal(e.hint, hint);
	err_clear(&e);
}

#define FILE_HINT "the file is .devpod/nomad.yaml"

static void environment_over_file_over_default(void **state)
{
	(void)state;
	put(".devpod/nomad.yaml", "nomad_memorymb: 4096\nnomad_cpu: 300\nnomad_region: eu\n");
	AUTO(options_freep) struct options *o = loaded(VARS("NOMAD_CPU", "700", "NOMAD_REGION", ""));

	assert_int_equal(o->memory_mb, 4096);
	assert_string_equal(options_origin(o, "NOMAD_MEMORYMB"), ".devpod/nomad.yaml:1");
	assert_int_equal(o->cpu_mhz, 700);
	assert_string_equal(options_origin(o, "NOMAD_CPU"), "NOMAD_CPU");
	assert_string_equal(o->region, "eu");
	assert_int_equal(o->disk_mb, 300);
	assert_string_equal(options_origin(o, "NOMAD_DISKMB"), "the default");
	assert_string_equal(o->notices, "");
}

/* As DevPod runs us: every option is there, with its default, or empty where it has none or inherits. */
static void devpods_defaults_do_not_hide_the_file(void **state)
{
	(void)state;
	const char *vars[2 * 128 + 1];
	size_t n = 0;

	put(".devpod/nomad.yaml", "nomad_memorymb: 4096\nnomad_image: a:1\nnomad_addr: http://n:1\n"
				  "nomad_datacenters: [dc1, dc2]\nnomad_start_timeout: 5m\n");
	assert_true(option_count <= 128);
	vars[n++] = "MACHINE_ID";
	vars[n++] = "m";
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (row->place != PLACE_PROVIDER)
			continue;
		bool path = text_eq(row->name, "AGENT_PATH") || text_eq(row->name, "AGENT_DATA_PATH");
		vars[n++] = row->name;
		if (path)
			vars[n++] = text_eq(row->name, "AGENT_PATH")
					    ? "/var/lib/devpod-workspaces/m/agent/devpod"
					    : "/var/lib/devpod-workspaces/m/agent/data";
		else
			vars[n++] = row->initial && !row->inherits ? row->initial : "";
	}
	vars[n] = NULL;
	AUTO(options_freep) struct options *o = loaded(vars);
	assert_int_equal(o->memory_mb, 4096);
	assert_string_equal(o->image, "a:1");
	assert_string_equal(o->addr, "http://n:1");
	assert_string_equal(o->datacenters[1], "dc2");
	assert_int_equal(o->start_timeout_ms, 300000);
	assert_string_equal(options_origin(o, "NOMAD_START_TIMEOUT"), ".devpod/nomad.yaml:5");

	/* where DevPod passes no default, a variable is what the user said */
	AUTO(options_freep) struct options *given = loaded(VARS("NOMAD_ADDR", "http://127.0.0.1:4646"));
	assert_string_equal(given->addr, "http://127.0.0.1:4646");
}

static void mistakes_come_together(void **state)
{
	(void)state;
	put(".devpod/nomad.yaml", "nomad_cpus: 1\n\nnomad_memorymb: 9\nnomad_constraints:\n  - value: 4\n");
	not_loaded(
		VARS("NOMAD_PRIORITY", "x"),
		".devpod/nomad.yaml:1:1: unknown option 'nomad_cpus'; did you mean nomad_cpu?\n"
		".devpod/nomad.yaml:3:1: nomad_memorymb='9': out of range (MB, 10 to 67108864)\n"
		"NOMAD_PRIORITY='x': not a whole number (1 to 32766)\n"
		".devpod/nomad.yaml:4:1: nomad_constraints='[{\"value\":4}]': entry 0: value is not a string",
		NULL);
	not_loaded(VARS("NOMAD_CONSTRAINTS_JSON", "[]"),
		   ".devpod/nomad.yaml:1:1: unknown option 'nomad_cpus'; did you mean nomad_cpu?\n"
		   ".devpod/nomad.yaml:3:1: nomad_memorymb='9': out of range (MB, 10 to 67108864)",
		   FILE_HINT);
}

static void where_it_is(void **state)
{
	(void)state;
	AUTO(freep) char *local = xasprintf("local:%s/a", folder);
	AUTO(freep) char *elsewhere = xasprintf("local:%s/none", folder);

	put(".devpod/nomad.yaml", "nomad_cpu: 1\n");
	put("a/.devpod/nomad.yaml", "nomad_cpu: 2\n");
	AUTO(options_freep) struct options *here = loaded(VARS("WORKSPACE_SOURCE", ""));
	AUTO(options_freep) struct options *there = loaded(VARS("WORKSPACE_SOURCE", local));
	AUTO(options_freep) struct options *none = loaded(VARS("WORKSPACE_SOURCE", elsewhere));
	AUTO(options_freep) struct options *git = loaded(VARS("WORKSPACE_SOURCE", "git:https://g.example/a"));
	assert_int_equal(here->cpu_mhz, 1);
	assert_int_equal(there->cpu_mhz, 2);
	assert_int_equal(none->cpu_mhz, 200);
	assert_int_equal(git->cpu_mhz, 1);
}

/* Of create and the like DevPod tells no source, but keeps it beside the machine. */
static void where_devpod_says_it_is(void **state)
{
	(void)state;
	AUTO(freep) char *machine = xasprintf("%s/devpod/machines/ws-1", folder);
	AUTO(freep)
	char *json = xasprintf("{\"machine\":{\"machineId\":\"ws-1\"},\"source\":{\"localFolder\":\"%s/a\"}}",
			       folder);
	const char *const *vars = VARS("MACHINE_ID", "ws-1", "MACHINE_FOLDER", machine);

	put("devpod/machines/ws-1/machine.json", "{}");
	put("devpod/workspaces/broken/workspace.json", "{");
	put("devpod/workspaces/other/workspace.json",
	    "{\"machine\":{\"machineId\":\"ws-2\"},\"source\":{\"localFolder\":\"/x\"}}");
	put(".devpod/nomad.yaml", "nomad_cpu: 1\nnomad_region: eu\n");
	put("a/.devpod/nomad.yaml", "nomad_cpu: 2\nnomad_region: us\n");
	AUTO(options_freep) struct options *unknown = loaded(vars);
	assert_int_equal(unknown->cpu_mhz, 1);
	put("devpod/workspaces/ws/workspace.json", json);
	AUTO(options_freep) struct options *known = loaded(vars);
	assert_int_equal(known->cpu_mhz, 2);
	assert_string_equal(known->region, "us");
	put("devpod/workspaces/ws/workspace.json",
	    "{\"machine\":{\"machineId\":\"ws-1\"},\"source\":{\"gitRepository\":\"https://g.example/a\"}}");
	AUTO(options_freep) struct options *git = loaded(vars);
	assert_int_equal(git->cpu_mhz, 1);
	assert_null(git->region);
}

#define IGNORED(line, key, why)                                                                              \
	".devpod/nomad.yaml:" line ": " key " is ignored: " why                                              \
	", and then only size, image and storage are taken from the file\n"

static void foreign_sources_give_only_the_harmless(void **state)
{
	(void)state;
	static const char *const sources[] = {"git:https://g.example/a@main", "image:alpine", "container:x",
					      "unknown:"};
	static const char why[] = IGNORED("1", "nomad_addr", "the workspace is no folder of this computer")
		IGNORED("3", "nomad_csi_vault_path", "the workspace is no folder of this computer");

	put(".devpod/nomad.yaml", "nomad_addr: http://evil.example\nnomad_image: a:1\n"
				  "nomad_csi_vault_path: secret/data/x\nnomad_storage_type: host\n");
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		AUTO(options_freep) struct options *o = loaded(VARS("WORKSPACE_SOURCE", sources[i]));
		assert_string_equal(o->addr, "http://127.0.0.1:4646");
		assert_null(o->csi_vault_path);
		assert_string_equal(o->image, "a:1");
		assert_string_equal(options_origin(o, "NOMAD_STORAGE_TYPE"), ".devpod/nomad.yaml:4");
		assert_string_equal(o->notices, why);
	}
}

/* What may come from anybody: a new row is not among them by accident. */
static void the_harmless_ones(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (!row->harmless)
			continue;
		assert_int_equal(row->place, PLACE_PROVIDER);
		assert_true(row->group == GROUP_SIZE || row->group == GROUP_STORAGE ||
			    text_eq(row->name, "NOMAD_IMAGE"));
		assert_null(strstr(row->name, "VAULT"));
		assert_false(row->devpods);
	}
}

static void others_may_write_to_it(void **state)
{
	(void)state;
	static const char why[] =
		IGNORED("1", "nomad_region", "others own the file or its directory, or may write to it");

	put(".devpod/nomad.yaml", "nomad_region: eu\nnomad_cpu: 7\n");
	assert_int_equal(chmod(".devpod/nomad.yaml", 0646), 0);
	AUTO(options_freep) struct options *file = loaded(VARS("X", ""));
	assert_int_equal(chmod(".devpod/nomad.yaml", 0664), 0);
	AUTO(options_freep) struct options *group = loaded(VARS("X", ""));
	assert_int_equal(chmod(".devpod", 0777), 0);
	AUTO(options_freep) struct options *dir = loaded(VARS("X", ""));

	assert_null(file->region);
	assert_int_equal(file->cpu_mhz, 7);
	assert_string_equal(file->notices, why);
	assert_string_equal(group->region, "eu");
	assert_null(dir->region);
	assert_string_equal(dir->notices, why);
}

static void another_owns_it(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	put(".devpod/nomad.yaml", "nomad_region: eu\n");
	assert_int_equal(chown(".devpod/nomad.yaml", 12345, 12345), 0);
	AUTO(options_freep) struct options *o = loaded(VARS("X", ""));
	assert_null(o->region);
	assert_non_null(o->notices);
}

static void tokens_stay_with_their_address(void **state)
{
	(void)state;
	static const char where[] =
		"would be sent there, and where to is not for a workspace's file to say; set "
		"NOMAD_ADDR in the environment or as an option";
	AUTO(freep)
	char *message =
		xasprintf(".devpod/nomad.yaml:1:1: nomad_addr='http://evil.example': NOMAD_TOKEN %s\n"
			  ".devpod/nomad.yaml:1:1: nomad_addr='http://evil.example': NOMAD_HTTP_AUTH %s",
			  where, where);

	put(".devpod/nomad.yaml", "nomad_addr: http://evil.example\nvault_addr: http://evil.example\n");
	not_loaded(VARS("NOMAD_TOKEN", "t", "NOMAD_HTTP_AUTH", "a:b"), message, FILE_HINT);
	AUTO(options_freep)
	struct options *o = loaded(VARS("NOMAD_TOKEN", "t", "NOMAD_ADDR", "http://n:1", "VAULT_TOKEN", "t"));
	assert_string_equal(o->addr, "http://n:1");
	not_loaded(VARS("NOMAD_CSI_VAULT_PATH", "secret/data/x", "DEVPOD_VAULT_TOKEN", "t"),
		   ".devpod/nomad.yaml:2:1: vault_addr='http://evil.example': DEVPOD_VAULT_TOKEN would be "
		   "sent there, "
		   "and where to is not for a workspace's file to say; set VAULT_ADDR in the environment or "
		   "as an "
		   "option",
		   FILE_HINT);
}

static void what_devpod_acts_on(void **state)
{
	(void)state;
	put(".devpod/nomad.yaml", "inactivity_timeout: 30m\n");
	AUTO(options_freep) struct options *o = loaded(VARS("X", ""));

	assert_int_equal(o->inactivity_ms, 1800000);
	assert_string_equal(
		o->notices,
		".devpod/nomad.yaml:1: inactivity_timeout does nothing here: DevPod acts on it, and does "
		"not read this file; set it as an option\n");
}

static void no_file_to_read(void **state)
{
	(void)state;
	AUTO(freep) char *big = xcalloc(1, OPTIONS_FILE_MAX + 2);
	static const char what_to_do[] = "make it a file that you can read, or remove it";
	AUTO(freep) char *irregular = xasprintf(".devpod/nomad.yaml: not a regular file; %s", what_to_do);
	AUTO(freep)
	char *large = xasprintf(".devpod/nomad.yaml: larger than %d bytes; %s", OPTIONS_FILE_MAX, what_to_do);
	AUTO(freep)
	char *loop = xasprintf("open .devpod/nomad.yaml: %s; %s", strerror(ELOOP), what_to_do);
	AUTO(freep) char *denied = xasprintf("open .devpod/nomad.yaml: %s; %s", strerror(EACCES), what_to_do);

	/* .devpod itself is a file: someone else's */
	put(".devpod", "x");
	AUTO(options_freep) struct options *none = loaded(VARS("X", ""));
	assert_int_equal(none->cpu_mhz, 200);
	assert_int_equal(unlink(".devpod"), 0);

	put(".devpod/nomad.yaml/x", "");
	not_loaded(VARS("X", ""), irregular, FILE_HINT);
	assert_int_equal(unlink(".devpod/nomad.yaml/x") + rmdir(".devpod/nomad.yaml"), 0);
	assert_int_equal(mkfifo(".devpod/nomad.yaml", 0600), 0);
	not_loaded(VARS("X", ""), irregular, FILE_HINT);
	assert_int_equal(unlink(".devpod/nomad.yaml"), 0);
	assert_int_equal(symlink("nomad.yaml", ".devpod/nomad.yaml"), 0);
	not_loaded(VARS("X", ""), loop, FILE_HINT);
	assert_int_equal(unlink(".devpod/nomad.yaml"), 0);
	memset(big, '#', OPTIONS_FILE_MAX + 1);
	put(".devpod/nomad.yaml", big);
	not_loaded(VARS("X", ""), large, FILE_HINT);
	big[OPTIONS_FILE_MAX] = '\0';
	put(".devpod/nomad.yaml", big);
	AUTO(options_freep) struct options *full = loaded(VARS("X", ""));
	assert_int_equal(full->cpu_mhz, 200);
	if (geteuid() == 0) /* reads everything */
		return;
	assert_int_equal(chmod(".devpod/nomad.yaml", 0), 0);
	not_loaded(VARS("X", ""), denied, FILE_HINT);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(scalars_are_what_is_written),
	cmocka_unit_test(nothing_is_unset),
	cmocka_unit_test(lists_and_json),
	cmocka_unit_test(lines_are_known),
	cmocka_unit_test(every_row_has_its_key),
	cmocka_unit_test(bad_keys),
	cmocka_unit_test(bad_values),
	cmocka_unit_test(no_mapping),
	cmocka_unit_test(anchors_aliases_and_tags),
	cmocka_unit_test(billion_laughs),
	cmocka_unit_test(syntax),
	cmocka_unit_test(not_text),
	cmocka_unit_test(deep),
	cmocka_unit_test(many_mistakes),
	cmocka_unit_test(every_beginning),
	cmocka_unit_test_setup_teardown(environment_over_file_over_default, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(devpods_defaults_do_not_hide_the_file, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(mistakes_come_together, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(where_it_is, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(where_devpod_says_it_is, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(foreign_sources_give_only_the_harmless, make_folder, remove_folder),
	cmocka_unit_test(the_harmless_ones),
	cmocka_unit_test_setup_teardown(others_may_write_to_it, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(another_owns_it, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(tokens_stay_with_their_address, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(what_devpod_acts_on, make_folder, remove_folder),
	cmocka_unit_test_setup_teardown(no_file_to_read, make_folder, remove_folder),
};

UNIT_MAIN(tests)
