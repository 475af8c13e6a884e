#include "values.h"

#include "options.h"
#include "table.h"
#include "text.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool only(const char *s, const char *chars)
{
	return s[strspn(s, chars)] == '\0';
}

static void strip_slashes(char *s)
{
	for (size_t n = strlen(s); n > 1 && s[n - 1] == '/'; n--)
		s[n - 1] = '\0';
}

/* host, host:port, [v6], [v6]:port. Return: what is wrong, or NULL. */
static const char *check_host(const char *host)
{
	const char *colon = host + strcspn(host, ":");

	if (host[0] == '[') {
		const char *close = strchr(host, ']');
		if (!close || close == host + 1)
			return "no closing bracket after the IPv6 address";
		if (strspn(host + 1, "0123456789abcdefABCDEF:.%") < (size_t)(close - host - 1))
			return "not an IPv6 address between the brackets";
		colon = close + 1;
		if (*colon != ':' && *colon != '\0')
			return "something between the bracket and the port";
	}
	if (colon == host)
		return "no host";
	if (*colon == '\0')
		return NULL;

	uint64_t port;
	if (text_u64(colon + 1, &port) < 0 || port < 1 || port > 65535)
		return "the port is not 1 to 65535";
	return NULL;
}

/* Nomad's client drops the path of an address; here it never gets that far. */
bool check_address(char *value, struct buf *why)
{
	static const char *const schemes[] = {"http://", "https://"};

	if (text_starts(value, "unix://"))
		return value[strlen("unix://")] == '/' && value[strlen("unix:///")];
	if (strchr(value, '@')) {
		buf_puts(why, "holds a user or a password; those go into NOMAD_HTTP_AUTH\n");
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (!text_starts(value, schemes[i]))
			continue;
		char *host = value + strlen(schemes[i]);
		if (strpbrk(host, "?# \\")) {
			buf_puts(why, "a query, fragment, space or backslash has no place in it\n");
			return false;
		}
		host[strcspn(host, "/")] = '\0';
		const char *wrong = check_host(host);
		if (wrong)
			buf_printf(why, "%s\n", wrong);
		return !wrong;
	}
	return false;
}

bool check_namespace(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "-");
}

bool check_region(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "._-");
}

bool check_node_pool(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "_-");
}

/* Enough that nothing in it means anything to Nomad's interpolation or a shell; a registry knows the rest. */
bool check_image(char *value, struct buf *why)
{
	(void)why;
	return only(value, NAME_CHARS "._:/@-") && strchr(NAME_CHARS, value[0]) && !strstr(value, "//");
}

/* An absolute path that can stand in any shell or job as it is. */
static bool check_plain_path(char *value, struct buf *why)
{
	strip_slashes(value);
	if (value[0] != '/' || !only(value, NAME_CHARS "._/-"))
		return false;
	for (const char *p = value; *p; p += strcspn(p + 1, "/") + 1) {
		size_t n = strcspn(p + 1, "/");
		if ((n == 0 && value[1]) || (n == 1 && p[1] == '.') ||
		    (n == 2 && p[1] == '.' && p[2] == '.')) {
			buf_puts(why, "an empty part, . or .. is in this path\n");
			return false;
		}
	}
	return true;
}

bool check_agent_path(char *value, struct buf *why)
{
	return check_plain_path(value, why) && value[1];
}

/*
 * A machine's directory is made below this one, with the machine's name, and removed by delete: in a
 * directory of the system, a machine of the wrong name would take that away.
 */
bool check_host_dir(char *value, struct buf *why)
{
	static const char *const trees[] = {"bin",    "boot", "dev", "etc",  "lib", "lib32", "lib64",
					    "libx32", "proc", "run", "sbin", "sys", "usr",   NULL};
	static const char *const dirs[] = {"/var/backups",
					   "/var/cache",
					   "/var/lib",
					   "/var/local",
					   "/var/lock",
					   "/var/log",
					   "/var/mail",
					   "/var/opt",
					   "/var/run",
					   "/var/spool",
					   "/var/tmp",
					   "/var/lib/docker",
					   "/var/lib/nomad",
					   "/var/lib/containerd",
					   NULL};

	if (!check_plain_path(value, why))
		return false;

	size_t top = strcspn(value + 1, "/");
	bool bad = value[1 + top] == '\0';
	for (size_t i = 0; trees[i]; i++)
		bad = bad || (strlen(trees[i]) == top && strncmp(value + 1, trees[i], top) == 0);
	for (size_t i = 0; dirs[i]; i++)
		bad = bad || text_eq(value, dirs[i]);
	if (bad)
		buf_puts(why,
			 "a directory of the system; use one of its own, like /var/lib/devpod-workspaces\n");
	return !bad;
}

bool check_machine_id(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 63 && only(value, NAME_CHARS "._-") && !text_eq(value, ".") &&
	       !text_eq(value, "..");
}

bool check_word(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "._-");
}

/* A path as Vault's API has it, without /v1/ before it; what is odd in it is escaped later. */
bool check_vault_path(char *value, struct buf *why)
{
	char *start = value + strspn(value, "/");

	memmove(value, start, strlen(start) + 1);
	strip_slashes(value);
	if (text_starts(value, "v1/"))
		buf_puts(why, "without v1/ at its start\n");
	for (const char *p = value, *end; !why->len && p; p = *end ? end + 1 : NULL) {
		end = p + strcspn(p, "/");
		if (p == end || (end - p == 1 && *p == '.') || (end - p == 2 && p[0] == '.' && p[1] == '.'))
			buf_puts(why, "an empty part, . or .. is in this path\n");
	}
	return !why->len && strchr(value, '/');
}

bool check_vault_namespace(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 256 && only(value, NAME_CHARS "._/-");
}

bool check_off_or_path(char *value, struct buf *why)
{
	return text_eq(value, OPTIONS_NONE) || (check_plain_path(value, why) && value[1]);
}

/* NVIDIA's numbers: 7.5, 10.0. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is option_row.check */
bool check_capability(char *value, struct buf *why)
{
	static const char digits[] = "0123456789";
	size_t major = strspn(value, digits);
	size_t minor = value[major] == '.' ? strspn(value + major + 1, digits) : 0;

	(void)why;
	return major >= 1 && major <= 3 && minor >= 1 && minor <= 3 && !value[major + 1 + minor];
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is option_row.check */
bool check_list(char *value, struct buf *why)
{
	(void)why;
	for (const char *p = value;; p++) {
		size_t n = strcspn(p, ",");
		if (strspn(p, " ") >= n)
			return false;
		p += n;
		if (!*p)
			return true;
	}
}

/* How an operator of Nomad takes its sides (Constraint.Validate in nomad/structs). */
enum { NEEDS_ATTRIBUTE = 1, NEEDS_VALUE = 2, HAS_NO_VALUE = 4 };

static const struct {
	const char *name;
	int needs;
} operators[] = {
	{"=", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"==", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"is", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"!=", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"not", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"<", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"<=", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{">", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{">=", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"regexp", NEEDS_ATTRIBUTE},
	{"version", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"semver", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"set_contains", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"set_contains_all", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"set_contains_any", NEEDS_ATTRIBUTE | NEEDS_VALUE},
	{"is_set", NEEDS_ATTRIBUTE | HAS_NO_VALUE},
	{"is_not_set", NEEDS_ATTRIBUTE | HAS_NO_VALUE},
	{"distinct_hosts", 0},
	{"distinct_property", NEEDS_ATTRIBUTE},
};

static void check_constraint(int index, const char *attribute, const char *op, const char *value,
			     struct buf *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		if (!text_eq(operators[i].name, op))
			continue;
		int needs = operators[i].needs;
		if ((needs & NEEDS_ATTRIBUTE) && !*attribute)
			buf_printf(why, "entry %d: operator '%s' needs an attribute\n", index, op);
		if ((needs & NEEDS_VALUE) && !*value)
			buf_printf(why, "entry %d: operator '%s' needs a value\n", index, op);
		if ((needs & HAS_NO_VALUE) && *value)
			buf_printf(why, "entry %d: operator '%s' takes no value\n", index, op);
		return;
	}

	AUTO(freep) char *shown = text_cleaned(op, 40);
	buf_printf(why, "entry %d: unknown operator '%s' (Nomad has", index, shown);
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		buf_printf(why, "%s%s", i ? ", " : " ", operators[i].name);
	buf_puts(why, ")\n");
}

bool value_has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static cJSON *convert_constraint(const cJSON *in, int index, struct buf *why)
{
	static const char *const members[] = {"attribute", "operator", "value"};
	const char *given[] = {NULL, NULL, NULL};
	size_t before = why->len;
	const cJSON *member;

	if (!cJSON_IsObject(in)) {
		buf_printf(why, "entry %d: not an object of attribute, operator and value\n", index);
		return NULL;
	}
	cJSON_ArrayForEach (member, in) {
		AUTO(freep) char *name = text_cleaned(member->string, 40);
		size_t i = 0;

		while (i < ARRAY_SIZE(members) && !text_eq(members[i], member->string))
			i++;
		if (i == ARRAY_SIZE(members))
			buf_printf(why,
				   "entry %d: unknown member '%s' (there are attribute, operator, value)\n",
				   index, name);
		else if (!cJSON_IsString(member))
			buf_printf(why, "entry %d: %s is not a string\n", index, name);
		else if (given[i])
			buf_printf(why, "entry %d: %s is there twice\n", index, name);
		else if (value_has_control(member->valuestring))
			buf_printf(why, "entry %d: control characters in %s\n", index, name);
		else
			given[i] = member->valuestring;
	}
	if (why->len > before)
		return NULL;

	const char *attribute = given[0] ? given[0] : "";
	const char *op = given[1] && *given[1] ? given[1] : "=";
	const char *value = given[2] ? given[2] : "";
	check_constraint(index, attribute, op, value, why);
	if (why->len > before)
		return NULL;

	cJSON *out = json_object();
	json_put_str(out, "attribute", attribute);
	json_put_str(out, "operator", op);
	json_put_str(out, "value", value);
	return out;
}

cJSON *convert_constraints(const cJSON *in, struct buf *why)
{
	AUTO(json_freep) cJSON *out = NULL;
	size_t before = why->len;
	const cJSON *entry;
	int index = 0;

	if (!cJSON_IsArray(in)) {
		buf_puts(why, "not a JSON array of objects\n");
		return NULL;
	}
	out = json_array();
	cJSON_ArrayForEach (entry, in) {
		cJSON *one = convert_constraint(entry, index++, why);
		if (one)
			json_push(out, one);
	}
	if (why->len > before || index == 0)
		return NULL;
	return TAKE(out);
}

/* Copy an object whose members are all strings. Return: NULL with lines in @why, each with @where before it.
 */
static cJSON *copy_strings(const cJSON *in, const char *where, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_object();
	size_t before = why->len;
	const cJSON *member;

	if (!cJSON_IsObject(in)) {
		buf_printf(why, "%snot a JSON object of strings\n", where);
		return NULL;
	}
	cJSON_ArrayForEach (member, in) {
		AUTO(freep) char *name = text_cleaned(member->string, 60);

		if (!*member->string)
			buf_printf(why, "%sa member without a name\n", where);
		else if (!cJSON_IsString(member))
			buf_printf(why, "%s%s is not a string\n", where, name);
		else if (json_get(out, member->string))
			buf_printf(why, "%s%s is there twice\n", where, name);
		else if (value_has_control(member->string) || value_has_control(member->valuestring))
			buf_printf(why, "%scontrol characters in %s\n", where, name);
		else
			json_put_str(out, member->string, member->valuestring);
	}
	return why->len > before ? NULL : TAKE(out);
}

cJSON *convert_parameters(const cJSON *in, struct buf *why)
{
	return copy_strings(in, "", why);
}

static cJSON *convert_topologies(const cJSON *in, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_array();
	const cJSON *entry;
	int index = 0;

	if (!cJSON_IsArray(in)) {
		buf_printf(why, "%s is not an array of objects\n", in->string);
		return NULL;
	}
	cJSON_ArrayForEach (entry, in) {
		AUTO(freep) char *where = xasprintf("%s, entry %d: ", in->string, index++);
		cJSON *one = copy_strings(entry, where, why);

		if (one)
			json_push(out, one);
	}
	return TAKE(out);
}

cJSON *convert_topology(const cJSON *in, struct buf *why)
{
	AUTO(json_freep) cJSON *out = json_object();
	const cJSON *member;

	if (!cJSON_IsObject(in)) {
		buf_puts(why, "not a JSON object of required and preferred\n");
		return NULL;
	}
	cJSON_ArrayForEach (member, in) {
		AUTO(freep) char *name = text_cleaned(member->string, 40);

		if (!text_eq(member->string, "required") && !text_eq(member->string, "preferred")) {
			buf_printf(why, "unknown member '%s' (there are required, preferred)\n", name);
		} else if (json_get(out, member->string)) {
			buf_printf(why, "%s is there twice\n", name);
		} else {
			cJSON *list = convert_topologies(member, why);
			if (list)
				json_put(out, member->string, list);
		}
	}
	return why->len || !out->child ? NULL : TAKE(out);
}
