#include "table.h"

#include "options.h"
#include "text.h"

#include <inttypes.h>

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
static bool check_address(char *value, struct buf *why)
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

static bool check_namespace(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "-");
}

static bool check_region(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "._-");
}

static bool check_node_pool(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 128 && only(value, NAME_CHARS "_-");
}

/* Enough that nothing in it means anything to Nomad's interpolation or a shell; a registry knows the rest. */
static bool check_image(char *value, struct buf *why)
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

static bool check_agent_path(char *value, struct buf *why)
{
	return check_plain_path(value, why) && value[1];
}

/*
 * A machine's directory is made below this one, with the machine's name, and removed by delete: in a
 * directory of the system, a machine of the wrong name would take that away.
 */
static bool check_host_dir(char *value, struct buf *why)
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

static bool check_machine_id(char *value, struct buf *why)
{
	(void)why;
	return strlen(value) <= 63 && only(value, NAME_CHARS "._-") && !text_eq(value, ".") &&
	       !text_eq(value, "..");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is option_row.check */
static bool check_list(char *value, struct buf *why)
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

	AUTO(freep) char *shown = text_clean(op, strlen(op), 40);
	buf_printf(why, "entry %d: unknown operator '%s' (Nomad has", index, shown);
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		buf_printf(why, "%s%s", i ? ", " : " ", operators[i].name);
	buf_puts(why, ")\n");
}

static bool has_control(const char *s)
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
		AUTO(freep) char *name = text_clean(member->string, strlen(member->string), 40);
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
		else if (has_control(member->valuestring))
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

static cJSON *convert_constraints(const cJSON *in, struct buf *why)
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

static const char *const true_false[] = {"true", "false", NULL};

#define SECONDS(n) (INT64_C(1000) * (n))
#define HOURS(n)   (INT64_C(3600000) * (n))
#define AT(member) offsetof(struct options, member)

/*
 * In the order of provider.yaml and the docs. The host's rows come first: defaults below name MACHINE_ID, and
 * the first row that has a value for a member of struct options wins.
 */
const struct option_row option_table[] = {
	{
		.name = "MACHINE_ID",
		.type = OPTION_STRING,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "The machine at hand; the job and the machine's directory are named after it.",
		.check = check_machine_id,
		.wants = "a machine's name (letters, digits, - . and _, up to 63)",
		.since = "0.1.0",
		.offset = AT(machine_id),
	},
	{
		.name = "MACHINE_FOLDER",
		.type = OPTION_PATH,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "DevPod's directory for this machine on this computer; a small state file is kept "
			"there.",
		.since = "0.1.0",
		.offset = AT(machine_folder),
	},
	{
		.name = "COMMAND",
		.type = OPTION_COMMAND,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "What `command` runs in the machine.",
		.since = "0.1.0",
		.offset = AT(command),
	},
	{
		.name = "DEVCONTAINER_COMMAND",
		.type = OPTION_COMMAND,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "The same, where COMMAND is not set.",
		.since = "0.1.0",
		.offset = AT(command),
	},
	{
		.name = "DEVPOD_DEBUG",
		.type = OPTION_FLAG,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "`true` where DevPod runs with --debug: each request to Nomad is told on stderr.",
		.since = "0.1.0",
		.offset = AT(debug),
	},
	{
		.name = "DEVSY_DEBUG",
		.type = OPTION_FLAG,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "The same, from Devsy.",
		.since = "0.1.0",
		.offset = AT(debug),
	},

	{
		.name = "NOMAD_ADDR",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_CONNECTION,
		.initial = "http://127.0.0.1:4646",
		.help = "Where Nomad's API is.",
		.check = check_address,
		.pattern = "^((https?://[^/?#@[:space:]]+(/[^?#@[:space:]]*)?)|(unix:///[^[:cntrl:]]+))?$",
		.inherits = true,
		.lasting = true,
		.wants = "http://HOST:PORT, https://HOST:PORT or unix:///PATH, without user and password",
		.since = "0.1.0",
		.offset = AT(addr),
	},
	{
		.name = "NOMAD_NAMESPACE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_CONNECTION,
		.help = "The namespace that the machines are in. Unset, it is `default`.",
		.check = check_namespace,
		.pattern = "^[a-zA-Z0-9-]{0,128}$",
		.inherits = true,
		.lasting = true,
		.wants = "a namespace's name (letters, digits and -, up to 128)",
		.since = "0.1.0",
		.offset = AT(namespace_),
	},
	{
		.name = "NOMAD_REGION",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_CONNECTION,
		.help = "The region that the machines are in. Unset, it is the region of the agent at "
			"NOMAD_ADDR.",
		.check = check_region,
		.pattern = "^[a-zA-Z0-9._-]{0,128}$",
		.inherits = true,
		.lasting = true,
		.wants = "a region's name (letters, digits, - . and _, up to 128)",
		.since = "0.1.0",
		.offset = AT(region),
	},
	{
		.name = "NOMAD_EXEC_DIRECT",
		.type = OPTION_BOOLEAN,
		.place = PLACE_PROVIDER,
		.group = GROUP_CONNECTION,
		.initial = "true",
		.help = "Whether commands go straight to the machine's node where that can be reached, and "
			"not through the servers.",
		.values = true_false,
		.since = "0.1.0",
		.offset = AT(exec_direct),
	},
	{
		.name = "NOMAD_TOKEN",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "The secret id of the ACL token that every request carries.",
		.secret = true,
		.since = "0.1.0",
		.offset = AT(token),
	},
	{
		.name = "NOMAD_HTTP_AUTH",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "USER or USER:PASSWORD for HTTP basic authentication, where a proxy before Nomad "
			"asks for it.",
		.secret = true,
		.since = "0.1.0",
		.offset = AT(http_auth),
	},
	{
		.name = "NOMAD_CACERT",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "A PEM file with the CA that signed Nomad's certificate.",
		.since = "0.1.0",
		.offset = AT(cacert),
	},
	{
		.name = "NOMAD_CAPATH",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "A directory of such files; NOMAD_CACERT goes before it.",
		.since = "0.1.0",
		.offset = AT(capath),
	},
	{
		.name = "NOMAD_CLIENT_CERT",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "A PEM file with the certificate to show to Nomad; NOMAD_CLIENT_KEY belongs to it.",
		.since = "0.1.0",
		.offset = AT(client_cert),
	},
	{
		.name = "NOMAD_CLIENT_KEY",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "A PEM file with the key of NOMAD_CLIENT_CERT.",
		.since = "0.1.0",
		.offset = AT(client_key),
	},
	{
		.name = "NOMAD_TLS_SERVER_NAME",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.help = "The name that Nomad's certificate must have, where that is not the host of "
			"NOMAD_ADDR.",
		.since = "0.1.0",
		.offset = AT(tls_server_name),
	},
	{
		.name = "NOMAD_SKIP_VERIFY",
		.type = OPTION_BOOLEAN,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_CONNECTION,
		.initial = "false",
		.help = "Take any certificate. Only for trying things out.",
		.since = "0.1.0",
		.offset = AT(skip_verify),
	},

	{
		.name = "NOMAD_CPU",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "200",
		.help = "The share of CPU that the machine gets, in MHz.",
		.unit = "MHz",
		.min = 1,
		.max = 1000000,
		.since = "0.1.0",
		.offset = AT(cpu_mhz),
	},
	{
		.name = "NOMAD_CORES",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "0",
		.help = "Whole CPU cores for this machine alone. With 0, NOMAD_CPU counts; otherwise "
			"NOMAD_CPU is not used.",
		.unit = "cores",
		.min = 0,
		.max = 4096,
		.since = "0.1.0",
		.offset = AT(cores),
	},
	{
		.name = "NOMAD_MEMORYMB",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "512",
		.help = "Memory in MB that is reserved for the machine.",
		.unit = "MB",
		.min = 10,
		.max = 67108864,
		.since = "0.1.0",
		.offset = AT(memory_mb),
	},
	{
		.name = "NOMAD_MEMORY_MAX_MB",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "0",
		.help = "Memory in MB that the machine may use where the node has it to spare, "
			"NOMAD_MEMORYMB at least. With 0, "
			"NOMAD_MEMORYMB is the limit. The cluster must have memory oversubscription enabled.",
		.unit = "MB",
		.min = 0,
		.max = 67108864,
		.since = "0.1.0",
		.offset = AT(memory_max_mb),
	},
	{
		.name = "NOMAD_DISKMB",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "300",
		.help = "Disk space in MB that Nomad reserves on the node for the machine's allocation.",
		.unit = "MB",
		.min = 10,
		.max = 67108864,
		.since = "0.1.0",
		.offset = AT(disk_mb),
	},

	{
		.name = "NOMAD_DATACENTERS",
		.type = OPTION_LIST,
		.place = PLACE_PROVIDER,
		.group = GROUP_PLACEMENT,
		.initial = "*",
		.help = "The datacenters that a machine may be placed in, with commas between; * stands for "
			"any characters.",
		.check = check_list,
		.wants = "names with commas between",
		.since = "0.1.0",
		.offset = AT(datacenters),
	},
	{
		.name = "NOMAD_NODE_POOL",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_PLACEMENT,
		.help = "The node pool that a machine is placed in. Unset, it is the namespace's.",
		.check = check_node_pool,
		.pattern = "^[a-zA-Z0-9_-]{0,128}$",
		.wants = "a node pool's name (letters, digits, - and _, up to 128)",
		.since = "0.1.0",
		.offset = AT(node_pool),
	},
	{
		.name = "NOMAD_PRIORITY",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_PLACEMENT,
		.initial = "50",
		.help = "The job's priority. More than 100 needs servers with a higher job_max_priority.",
		.min = 1,
		.max = 32766,
		.since = "0.1.0",
		.offset = AT(priority),
	},
	{
		.name = "NOMAD_CONSTRAINTS_JSON",
		.type = OPTION_JSON,
		.place = PLACE_PROVIDER,
		.group = GROUP_PLACEMENT,
		.help = "Constraints on the node, a JSON array of objects with the strings attribute, "
			"operator (`=` where it is "
			"left out) and value, as in "
			"[{\"attribute\": \"${attr.cpu.arch}\", \"value\": \"amd64\"}].",
		.max_len = 65536,
		.convert = convert_constraints,
		.wants = "a JSON array",
		.since = "0.1.0",
		.offset = AT(constraints),
	},

	{
		.name = "NOMAD_IMAGE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "ubuntu:22.04",
		.help = "The image that the machine runs. It needs a POSIX shell; curl, git and CA "
			"certificates are installed "
			"where they are missing.",
		.max_len = 512,
		.check = check_image,
		.pattern = "^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}$",
		.wants = "an image's name (like ubuntu:22.04 or registry.example/team/image:tag)",
		.since = "0.1.0",
		.offset = AT(image),
	},
	{
		.name = "NOMAD_START_TIMEOUT",
		.type = OPTION_DURATION,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "30m",
		.help = "How long create and start wait until the machine is ready, image pull included.",
		.min = SECONDS(1),
		.max = HOURS(24),
		.pattern = "^([0-9]+(ms|s|m|h))+$",
		.since = "0.1.0",
		.offset = AT(start_timeout_ms),
	},
	{
		.name = "NOMAD_PLACEMENT_TIMEOUT",
		.type = OPTION_DURATION,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "60s",
		.help = "How long create and start wait for room on a node where all of it is taken at the "
			"moment.",
		.min = 0,
		.max = HOURS(24),
		.pattern = "^([0-9]+(ms|s|m|h))+$",
		.since = "0.1.0",
		.offset = AT(placement_timeout_ms),
	},
	{
		.name = "NOMAD_HOST_DIR",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "/var/lib/devpod-workspaces",
		.help = "The directory on the node that holds a directory for each machine. What is in there "
			"outlives a stop, "
			"and is removed by delete.",
		.max_len = 256,
		.check = check_host_dir,
		.pattern = "^/[a-zA-Z0-9._/-]{1,255}$",
		.lasting = true,
		.wants = "an absolute path (of letters, digits, - . _ and /)",
		.since = "0.1.0",
		.offset = AT(host_dir),
	},
	{
		.name = "AGENT_PATH",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "${NOMAD_HOST_DIR}/${MACHINE_ID}/agent/devpod",
		.help = "Where DevPod puts its agent in the machine.",
		.max_len = 512,
		.check = check_agent_path,
		.pattern = "^/[a-zA-Z0-9._/-]{1,511}$",
		.local = true,
		.hidden = true,
		.lasting = true,
		.wants = "an absolute path (of letters, digits, - . _ and /)",
		.since = "0.1.0",
		.offset = AT(agent_path),
	},
	{
		.name = "AGENT_DATA_PATH",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "${NOMAD_HOST_DIR}/${MACHINE_ID}/agent/data",
		.help = "Where DevPod's agent keeps workspaces; only the machine's own directory, "
			"NOMAD_HOST_DIR/MACHINE_ID, is the same in the machine and for the node's Docker.",
		.max_len = 512,
		.check = check_agent_path,
		.pattern = "^/[a-zA-Z0-9._/-]{1,511}$",
		.local = true,
		.hidden = true,
		.lasting = true,
		.wants = "an absolute path (of letters, digits, - . _ and /)",
		.since = "0.1.0",
		.offset = AT(agent_data_path),
	},
	{
		.name = "INJECT_GIT_CREDENTIALS",
		.type = OPTION_BOOLEAN,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "true",
		.help = "Whether DevPod lends this computer's git credentials to the machine.",
		.values = true_false,
		.since = "0.1.0",
		.offset = AT(inject_git_credentials),
	},
	{
		.name = "INJECT_DOCKER_CREDENTIALS",
		.type = OPTION_BOOLEAN,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "true",
		.help = "Whether DevPod lends this computer's Docker credentials to the machine.",
		.values = true_false,
		.since = "0.1.0",
		.offset = AT(inject_docker_credentials),
	},
};

const size_t option_count = ARRAY_SIZE(option_table);

const char *option_group_name(enum option_group group)
{
	static const char *const names[GROUPS] = {"Connection", "Size", "Placement", "Machine",
						  "From DevPod"};

	return names[group];
}

const struct option_row *option_find(const char *name)
{
	for (size_t i = 0; i < option_count; i++)
		if (text_eq(option_table[i].name, name))
			return &option_table[i];
	return NULL;
}

char *option_duration(int64_t ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (ms % units[i].ms == 0 && ms >= units[i].ms)
			return xasprintf("%" PRId64 "%s", ms / units[i].ms, units[i].unit);
	return ms ? xasprintf("%" PRId64 "ms", ms) : xstrdup("0s");
}

char *option_wants(const struct option_row *row)
{
	if (row->wants)
		return xstrdup(row->wants);
	AUTO(freep) char *least = option_duration(row->min);
	AUTO(freep) char *most = option_duration(row->max);

	switch (row->type) {
	case OPTION_INTEGER:
		return xasprintf("a whole number (%s%s%" PRId64 " to %" PRId64 ")",
				 row->unit ? row->unit : "", row->unit ? ", " : "", row->min, row->max);
	case OPTION_DURATION:
		return xasprintf("a duration like 90s, 30m or 1h30m (%s to %s)", least, most);
	case OPTION_BOOLEAN:
	case OPTION_FLAG:
		return xstrdup("true or false");
	case OPTION_PATH:
		return xstrdup("a path");
	case OPTION_STRING:
	case OPTION_COMMAND:
	case OPTION_LIST:
	case OPTION_JSON:
		break;
	}
	return xstrdup("text");
}
