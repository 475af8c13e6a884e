#include "unit.h"

#include "options.h"
#include "table.h"
#include "text.h"

#include <regex.h>

/* A source of NAME, VALUE, NAME, VALUE, ..., NULL. */
static const char *list_get(void *arg, const char *name)
{
	for (const char *const *p = arg; *p; p += 2)
		if (text_eq(p[0], name))
			return p[1];
	return NULL;
}

static int load(const char *const *vars, bool require_machine, struct options **ret, struct err *e)
{
	/* the source never writes through it */
	union {
		const char *const *in;
		void *out;
	} arg = {.in = vars};
	struct options_source from = {list_get, arg.out};

	return options_load(&from, require_machine, ret, e);
}

#define VARS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NONE      ((const char *const[]){NULL})

static struct options *loaded(const char *const *vars)
{
	struct options *o = NULL;
	struct err e = ERR_INIT;

	if (load(vars, false, &o, &e) < 0)
		fail_msg("%s", e.msg);
	assert_null(e.msg);
	return o;
}

static void refused(const char *const *vars, bool require_machine, const char *message)
{
	struct options *o = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(load(vars, require_machine, &o, &e), -1);
	assert_null(o);
	assert_int_equal(e.kind, ERR_CONFIG);
	assert_string_equal(e.msg, message);
	err_clear(&e);
}

static void defaults(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *o = loaded(NONE);

	assert_string_equal(o->addr, "http://127.0.0.1:4646");
	assert_null(o->token);
	assert_null(o->namespace_);
	assert_null(o->region);
	assert_null(o->cacert);
	assert_null(o->capath);
	assert_null(o->client_cert);
	assert_null(o->client_key);
	assert_null(o->tls_server_name);
	assert_false(o->skip_verify);
	assert_null(o->http_auth);
	assert_int_equal(o->cpu_mhz, 200);
	assert_int_equal(o->cores, 0);
	assert_int_equal(o->memory_mb, 512);
	assert_int_equal(o->memory_max_mb, 0);
	assert_int_equal(o->disk_mb, 300);
	assert_string_equal(o->datacenters[0], "*");
	assert_null(o->datacenters[1]);
	assert_null(o->node_pool);
	assert_int_equal(o->priority, 50);
	assert_null(o->constraints);
	assert_string_equal(o->image, "ubuntu:22.04");
	assert_int_equal(o->start_timeout_ms, 1800000);
	assert_int_equal(o->placement_timeout_ms, 60000);
	assert_string_equal(o->host_dir, "/var/lib/devpod-workspaces");
	assert_null(o->agent_path);
	assert_null(o->agent_data_path);
	assert_true(o->inject_git_credentials);
	assert_true(o->inject_docker_credentials);
	assert_null(o->machine_id);
	assert_null(o->machine_folder);
	assert_null(o->command);
	assert_false(o->debug);
	for (size_t i = 0; i < option_count; i++)
		assert_string_equal(options_origin(o, option_table[i].name), "the default");
}

static void empty_is_unset(void **state)
{
	(void)state;
	const char *vars[2 * 128 + 1];
	size_t n = 0;

	assert_true(option_count <= 128);
	for (size_t i = 0; i < option_count; i++) {
		vars[n++] = option_table[i].name;
		vars[n++] = "";
	}
	vars[n] = NULL;
	AUTO(options_freep) struct options *o = loaded(vars);
	assert_string_equal(o->addr, "http://127.0.0.1:4646");
	assert_int_equal(o->cpu_mhz, 200);
	assert_true(o->inject_git_credentials);
	assert_null(o->token);
	assert_null(o->constraints);
	for (size_t i = 0; i < option_count; i++)
		assert_string_equal(options_origin(o, option_table[i].name), "the default");
}

/* Values of each row that are taken. The test below sees to it that no row is missing. */
static const struct {
	const char *name;
	const char *values[9];
} good[] = {
	{"MACHINE_ID", {"ws-1", "a", "A_b.c-9", "...", ".hidden"}},
	{"MACHINE_FOLDER", {"/home/me/.devpod/x", "C:/Users/\xe4", "relative"}},
	{"WORKSPACE_SOURCE", {"local:/home/me/ws", "git:https://git.example/a@main", "image:alpine"}},
	{"COMMAND", {"true", "a\nb\tc\x01", "\xff"}},
	{"DEVCONTAINER_COMMAND", {"true"}},
	{"DEVPOD_DEBUG", {"true", "1", "false", "verbose"}},
	{"DEVSY_DEBUG", {"true", "no"}},
	{"NOMAD_ADDR",
	 {"http://127.0.0.1:4646", "https://nomad.example", "http://[::1]:4646", "http://[::1]",
	  "unix:///run/n.sock", "https://h:4646/ui/", "http://h:1", "http://h:65535/"}},
	{"NOMAD_NAMESPACE", {"default", "Team-1"}},
	{"NOMAD_REGION", {"global", "eu_1.a-b"}},
	{"NOMAD_EXEC_DIRECT", {"true", "false"}},
	{"NOMAD_TOKEN", {"00000000-0000-0000-0000-000000000000", " odd "}},
	{"NOMAD_HTTP_AUTH", {"me", "me:pass:word", "me:"}},
	{"NOMAD_CACERT", {"/etc/ca.pem", "with space.pem", "/\xff"}},
	{"NOMAD_CAPATH", {"/etc/ca"}},
	{"NOMAD_CLIENT_CERT", {NULL}},
	{"NOMAD_CLIENT_KEY", {NULL}},
	{"NOMAD_TLS_SERVER_NAME", {"server.global.nomad"}},
	{"NOMAD_SKIP_VERIFY", {"1", "t", "T", "TRUE", "true", "True", "0", "false"}},
	{"NOMAD_CPU", {"1", "200", "1000000", "0200"}},
	{"NOMAD_CORES", {"0", "4096"}},
	{"NOMAD_MEMORYMB", {"10", "67108864"}},
	{"NOMAD_MEMORY_MAX_MB", {"0", "512", "67108864"}},
	{"NOMAD_DISKMB", {"10", "67108864"}},
	{"NOMAD_DATACENTERS", {"*", "dc1", "dc1,dc2", "dc1 , dc-*", "my dc"}},
	{"NOMAD_NODE_POOL", {"default", "gpu_A-1"}},
	{"NOMAD_PRIORITY", {"1", "100", "32766"}},
	{"NOMAD_CONSTRAINTS_JSON",
	 {"[]", "[\n\t{\"attribute\": \"${attr.cpu.arch}\", \"value\": \"amd64\"}\r\n]",
	  "[{\"operator\":\"distinct_hosts\"}]", "[{\"attribute\":\"${meta.x}\",\"operator\":\"is_set\"}]"}},
	{"NOMAD_DOCKER_MODE", {"host", "dind"}},
	{"NOMAD_IMAGE",
	 {"ubuntu:22.04", "r.example:5000/a/b_c:1",
	  "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}},
	{"NOMAD_START_TIMEOUT", {"1s", "1000ms", "90s", "1h30m", "24h"}},
	{"NOMAD_PLACEMENT_TIMEOUT", {"0s", "60s", "24h"}},
	{"NOMAD_HOST_DIR", {"/var/devpod", "/srv/a/b/", "/var/lib/devpod-workspaces", "/home/me", "/tmp/x"}},
	{"AGENT_PATH", {"/usr/local/bin/devpod", "/agent"}},
	{"AGENT_DATA_PATH", {"/x/y"}},
	{"INJECT_GIT_CREDENTIALS", {"true", "false"}},
	{"INJECT_DOCKER_CREDENTIALS", {"true", "false"}},
	{"INACTIVITY_TIMEOUT", {"1s", "30m", "8h"}},
	{"NOMAD_REGISTRY_CERTS_DIR", {"none", "/etc/docker/certs.d/", "/srv/certs"}},
	{"NOMAD_REGISTRY_CA_CERT", {"none", "/usr/local/share/ca-certificates/registry.cluster.crt"}},
	{"NOMAD_STORAGE_MODE", {"ephemeral"}},
	{"NOMAD_STORAGE_TYPE", {"csi", "host"}},
	{"NOMAD_HOST_VOLUME_PLUGIN", {"mkdir", "my-plugin_1.2"}},
	{"NOMAD_CSI_PLUGIN_ID", {"ceph-csi"}},
	{"NOMAD_CSI_CLUSTER_ID", {"b9127830-b0cc-4e34-aa47-9d1a2e9949a8"}},
	{"NOMAD_CSI_POOL", {"nomad"}},
	{"NOMAD_CSI_PARAMETERS_JSON", {"{}", "{\"type\": \"gp3\", \"encrypted\": \"true\"}"}},
	{"NOMAD_CSI_FS_TYPE", {"ext4", "xfs"}},
	{"NOMAD_CSI_MOUNT_FLAGS", {"noatime", "noatime, discard"}},
	{"NOMAD_CSI_ACCESS_MODE",
	 {"single-node-writer", "multi-node-single-writer", "multi-node-multi-writer"}},
	{"NOMAD_CSI_TOPOLOGY_JSON",
	 {"{\"required\": [{\"rack\": \"R1\"}, {\"rack\": \"R2\", \"zone\": \"z\"}]}",
	  "{\"required\": [], \"preferred\": [{\"rack\": \"R1\"}]}"}},
	{"NOMAD_CSI_VAULT_PATH", {"secret/data/ceph/csi", "/kv/a b/", "secret/x"}},
	{"NOMAD_CSI_VAULT_FIELDS", {"userID,userKey", "*", "a"}},
	{"VAULT_ADDR", {"http://127.0.0.1:8200", "https://vault.example:8200/"}},
	{"VAULT_NAMESPACE", {"admin", "admin/team-1"}},
	{"VAULT_ROLE", {"nomad-workloads", "a.b_c-1"}},
	{"VAULT_CHANGE_MODE", {"restart", "noop", "signal"}},
	{"VAULT_POLICIES_JSON", {"[]", "[\"devpod-secrets\", \"team/one\"]"}},
	{"VAULT_SECRETS_JSON", {"[]"}}, /* the others need more: vault_secrets() */
	{"VAULT_TOKEN", {"hvs.x"}},
	{"DEVPOD_VAULT_TOKEN", {"hvs.x"}},
	{"VAULT_CACERT", {"/etc/ca.pem"}},
	{"VAULT_CAPATH", {"/etc/ca"}},
	{"VAULT_CLIENT_CERT", {NULL}},
	{"VAULT_CLIENT_KEY", {NULL}},
	{"VAULT_TLS_SERVER_NAME", {"vault.example"}},
	{"VAULT_SKIP_VERIFY", {"true", "0"}},
	{"NOMAD_GPU", {"true", "false"}},
	{"NOMAD_GPU_COUNT", {"1", "128"}},
	{"NOMAD_GPU_VENDOR", {"nvidia", "amd", "intel"}},
	{"NOMAD_GPU_COMPUTE_CAPABILITY", {"7.5", "10.0", "123.456"}},
};

static void good_values(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_SIZE(good), option_count);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_string_equal(good[i].name, option_table[i].name);
		for (size_t j = 0; good[i].values[j]; j++) {
			bool text = option_table[i].type == OPTION_FLAG;
			AUTO(options_freep) struct options *o = loaded(VARS(good[i].name, good[i].values[j]));
			if (!text)
				assert_string_equal(options_origin(o, good[i].name), good[i].name);
		}
	}
}

static void bad_values(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value, *message;
	} bad[] = {
		{"MACHINE_ID", "..",
		 "MACHINE_ID='..': not a machine's name (letters, digits, - . and _, up to 63)"},
		{"MACHINE_ID", "a/b",
		 "MACHINE_ID='a/b': not a machine's name (letters, digits, - . and _, up to 63)"},
		{"MACHINE_ID", "0123456789012345678901234567890123456789012345678901234567890123",
		 "MACHINE_ID='012345678901234567890123456789012345678901234567890123456789...': not a "
		 "machine's name "
		 "(letters, digits, - . and _, up to 63)"},
		{"MACHINE_FOLDER", "/a\nb", "MACHINE_FOLDER='/a b': control characters in it"},
		{"NOMAD_ADDR", "ftp://h",
		 "NOMAD_ADDR='ftp://h': not http://HOST:PORT, https://HOST:PORT or unix:///PATH, without "
		 "user and password"},
		{"NOMAD_ADDR", "127.0.0.1:4646",
		 "NOMAD_ADDR='127.0.0.1:4646': not http://HOST:PORT, https://HOST:PORT or unix:///PATH, "
		 "without user and "
		 "password"},
		{"NOMAD_ADDR", "unix://run/n.sock",
		 "NOMAD_ADDR='unix://run/n.sock': not http://HOST:PORT, https://HOST:PORT or unix:///PATH, "
		 "without user and "
		 "password"},
		{"NOMAD_ADDR", "http://", "NOMAD_ADDR='http://': no host"},
		{"NOMAD_ADDR", "http://:4646", "NOMAD_ADDR='http://:4646': no host"},
		{"NOMAD_ADDR", "http://h:0", "NOMAD_ADDR='http://h:0': the port is not 1 to 65535"},
		{"NOMAD_ADDR", "http://h:", "NOMAD_ADDR='http://h:': the port is not 1 to 65535"},
		{"NOMAD_ADDR", "http://h:65536", "NOMAD_ADDR='http://h:65536': the port is not 1 to 65535"},
		{"NOMAD_ADDR", "http://::1", "NOMAD_ADDR='http://::1': no host"},
		{"NOMAD_ADDR", "http://[::1",
		 "NOMAD_ADDR='http://[::1': no closing bracket after the IPv6 address"},
		{"NOMAD_ADDR", "http://[]",
		 "NOMAD_ADDR='http://[]': no closing bracket after the IPv6 address"},
		{"NOMAD_ADDR", "http://[x]",
		 "NOMAD_ADDR='http://[x]': not an IPv6 address between the brackets"},
		{"NOMAD_ADDR", "http://[::1]4646",
		 "NOMAD_ADDR='http://[::1]4646': something between the bracket and the port"},
		{"NOMAD_ADDR", "http://h?x=1",
		 "NOMAD_ADDR='http://h?x=1': a query, fragment, space or backslash has no place in it"},
		{"NOMAD_ADDR", "http://h/#top",
		 "NOMAD_ADDR='http://h/#top': a query, fragment, space or backslash has no place in it"},
		{"NOMAD_ADDR", "http://me:pw@h",
		 "NOMAD_ADDR: holds a user or a password; those go into NOMAD_HTTP_AUTH"},
		{"NOMAD_ADDR", " http://h", "NOMAD_ADDR='http://h': a space at its start or end"},
		{"NOMAD_NAMESPACE", "*",
		 "NOMAD_NAMESPACE='*': not a namespace's name (letters, digits and -, up to 128)"},
		{"NOMAD_REGION", "a b",
		 "NOMAD_REGION='a b': not a region's name (letters, digits, - . and _, up to 128)"},
		{"NOMAD_TOKEN", "secret\n", "NOMAD_TOKEN: control characters in it"},
		{"NOMAD_TOKEN", "secret\xff", "NOMAD_TOKEN: not valid UTF-8"},
		{"NOMAD_HTTP_AUTH",
		 "me:se\x7f"
		 "cret",
		 "NOMAD_HTTP_AUTH: control characters in it"},
		{"NOMAD_TLS_SERVER_NAME",
		 "a\xc2\x9b"
		 "b",
		 "NOMAD_TLS_SERVER_NAME='a?b': control characters in it"},
		{"NOMAD_SKIP_VERIFY", "yes", "NOMAD_SKIP_VERIFY='yes': not true or false"},
		{"NOMAD_CPU", "abc", "NOMAD_CPU='abc': not a whole number (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "1.5", "NOMAD_CPU='1.5': not a whole number (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "-", "NOMAD_CPU='-': not a whole number (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "0", "NOMAD_CPU='0': out of range (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "-5", "NOMAD_CPU='-5': out of range (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "1000001", "NOMAD_CPU='1000001': out of range (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "99999999999999999999",
		 "NOMAD_CPU='99999999999999999999': out of range (MHz, 1 to 1000000)"},
		{"NOMAD_CPU", "9223372036854775808",
		 "NOMAD_CPU='9223372036854775808': out of range (MHz, 1 to 1000000)"},
		{"NOMAD_CORES", "4097", "NOMAD_CORES='4097': out of range (cores, 0 to 4096)"},
		{"NOMAD_MEMORYMB", "9", "NOMAD_MEMORYMB='9': out of range (MB, 10 to 67108864)"},
		{"NOMAD_MEMORY_MAX_MB", "511", "NOMAD_MEMORY_MAX_MB='511': less than NOMAD_MEMORYMB (512)"},
		{"NOMAD_DISKMB", "9", "NOMAD_DISKMB='9': out of range (MB, 10 to 67108864)"},
		{"NOMAD_DATACENTERS", "dc1,,dc2",
		 "NOMAD_DATACENTERS='dc1,,dc2': not names with commas between"},
		{"NOMAD_DATACENTERS", "dc1,", "NOMAD_DATACENTERS='dc1,': not names with commas between"},
		{"NOMAD_DATACENTERS", ",", "NOMAD_DATACENTERS=',': not names with commas between"},
		{"NOMAD_NODE_POOL", "a.b",
		 "NOMAD_NODE_POOL='a.b': not a node pool's name (letters, digits, - and _, up to 128)"},
		{"NOMAD_PRIORITY", "0", "NOMAD_PRIORITY='0': out of range (1 to 32766)"},
		{"NOMAD_IMAGE", "a b",
		 "NOMAD_IMAGE='a b': not an image's name (like ubuntu:22.04 or "
		 "registry.example/team/image:tag)"},
		{"NOMAD_IMAGE", "${meta.x}",
		 "NOMAD_IMAGE='${meta.x}': not an image's name (like ubuntu:22.04 or "
		 "registry.example/team/image:tag)"},
		{"NOMAD_IMAGE", "https://r/a",
		 "NOMAD_IMAGE='https://r/a': not an image's name (like ubuntu:22.04 or "
		 "registry.example/team/image:tag)"},
		{"NOMAD_START_TIMEOUT", "30",
		 "NOMAD_START_TIMEOUT='30': not a duration like 90s, 30m or 1h30m (1s to 24h)"},
		{"NOMAD_START_TIMEOUT", "0s", "NOMAD_START_TIMEOUT='0s': out of range (1s to 24h)"},
		{"NOMAD_START_TIMEOUT", "25h", "NOMAD_START_TIMEOUT='25h': out of range (1s to 24h)"},
		{"NOMAD_PLACEMENT_TIMEOUT", "1.5h",
		 "NOMAD_PLACEMENT_TIMEOUT='1.5h': not a duration like 90s, 30m or 1h30m (0s to 24h)"},
		{"NOMAD_HOST_DIR", "srv/x",
		 "NOMAD_HOST_DIR='srv/x': not an absolute path (of letters, digits, - . _ and /)"},
		{"NOMAD_HOST_DIR", "/srv/x y",
		 "NOMAD_HOST_DIR='/srv/x y': not an absolute path (of letters, digits, - . _ and /)"},
		{"NOMAD_HOST_DIR", "/srv/../etc",
		 "NOMAD_HOST_DIR='/srv/../etc': an empty part, . or .. is in this path"},
		{"NOMAD_HOST_DIR", "/srv/./x",
		 "NOMAD_HOST_DIR='/srv/./x': an empty part, . or .. is in this path"},
		{"NOMAD_HOST_DIR", "/srv//x",
		 "NOMAD_HOST_DIR='/srv//x': an empty part, . or .. is in this path"},
		{"NOMAD_HOST_DIR", "/",
		 "NOMAD_HOST_DIR='/': a directory of the system; use one of its own, like "
		 "/var/lib/devpod-workspaces"},
		{"NOMAD_HOST_DIR", "///",
		 "NOMAD_HOST_DIR='///': a directory of the system; use one of its own, like "
		 "/var/lib/devpod-workspaces"},
		{"NOMAD_HOST_DIR", "/srv/",
		 "NOMAD_HOST_DIR='/srv/': a directory of the system; use one of its own, like "
		 "/var/lib/devpod-workspaces"},
		{"NOMAD_HOST_DIR", "/etc/devpod",
		 "NOMAD_HOST_DIR='/etc/devpod': a directory of the system; use one of its own, like "
		 "/var/lib/devpod-workspaces"},
		{"NOMAD_HOST_DIR", "/var/lib/",
		 "NOMAD_HOST_DIR='/var/lib/': a directory of the system; use one of its own, like "
		 "/var/lib/devpod-workspaces"},
		{"AGENT_PATH", "/", "AGENT_PATH='/': not an absolute path (of letters, digits, - . _ and /)"},
		{"AGENT_PATH", "/a b",
		 "AGENT_PATH='/a b': not an absolute path (of letters, digits, - . _ and /)"},
		{"AGENT_DATA_PATH", "${X}",
		 "AGENT_DATA_PATH='${X}': not an absolute path (of letters, digits, - . _ and /)"},
		{"INJECT_GIT_CREDENTIALS", "1", "INJECT_GIT_CREDENTIALS='1': none of: true, false"},
		{"INJECT_DOCKER_CREDENTIALS", "no", "INJECT_DOCKER_CREDENTIALS='no': none of: true, false"},
		{"NOMAD_DOCKER_MODE", "podman", "NOMAD_DOCKER_MODE='podman': none of: host, dind"},
		{"NOMAD_STORAGE_MODE", "Persistent",
		 "NOMAD_STORAGE_MODE='Persistent': none of: ephemeral, persistent"},
		{"NOMAD_STORAGE_MODE", "persistent",
		 "NOMAD_CSI_CLUSTER_ID is required when NOMAD_STORAGE_MODE is 'persistent' (it is for "
		 "ceph-csi; a "
		 "plugin with other parameters takes NOMAD_CSI_PARAMETERS_JSON, {} for none)"},
		{"NOMAD_CSI_PLUGIN_ID", "a/b",
		 "NOMAD_CSI_PLUGIN_ID='a/b': not a name (letters, digits, - . and _, up to 128)"},
		{"NOMAD_CSI_PARAMETERS_JSON", "[]",
		 "NOMAD_CSI_PARAMETERS_JSON='[]': not a JSON object of strings"},
		{"NOMAD_CSI_PARAMETERS_JSON", "{\"a\": 1, \"b\": \"\", \"b\": \"\"}",
		 "NOMAD_CSI_PARAMETERS_JSON='{\"a\": 1, \"b\": \"\", \"b\": \"\"}': a is not a string\n"
		 "NOMAD_CSI_PARAMETERS_JSON='{\"a\": 1, \"b\": \"\", \"b\": \"\"}': b is there twice"},
		{"NOMAD_CSI_ACCESS_MODE", "rw",
		 "NOMAD_CSI_ACCESS_MODE='rw': none of: single-node-writer, multi-node-single-writer, "
		 "multi-node-multi-writer"},
		{"NOMAD_CSI_TOPOLOGY_JSON", "{\"required\": {}}",
		 "NOMAD_CSI_TOPOLOGY_JSON='{\"required\": {}}': required is not an array of objects"},
		{"NOMAD_CSI_TOPOLOGY_JSON", "{\"preferred\": [{\"rack\": 1}]}",
		 "NOMAD_CSI_TOPOLOGY_JSON='{\"preferred\": [{\"rack\": 1}]}': preferred, entry 0: rack is "
		 "not a "
		 "string"},
		{"NOMAD_CSI_TOPOLOGY_JSON", "{\"wanted\": []}",
		 "NOMAD_CSI_TOPOLOGY_JSON='{\"wanted\": []}': unknown member 'wanted' (there are required, "
		 "preferred)"},
		{"NOMAD_CSI_VAULT_PATH", "v1/secret/data/x",
		 "NOMAD_CSI_VAULT_PATH='v1/secret/data/x': without v1/ at its start"},
		{"NOMAD_CSI_VAULT_PATH", "secret//x",
		 "NOMAD_CSI_VAULT_PATH='secret//x': an empty part, . or .. is in this path"},
		{"NOMAD_CSI_VAULT_PATH", "secret",
		 "NOMAD_CSI_VAULT_PATH='secret': not a secret's path in Vault, its mount first"},
		{"INACTIVITY_TIMEOUT", "30",
		 "INACTIVITY_TIMEOUT='30': not a duration like 90s, 30m or 1h30m (1s to 8784h)"},
		{"NOMAD_REGISTRY_CERTS_DIR", "certs",
		 "NOMAD_REGISTRY_CERTS_DIR='certs': not an absolute path (of letters, digits, - . _ and /), "
		 "or "
		 "none"},
		{"NOMAD_REGISTRY_CA_CERT", "/a/../b",
		 "NOMAD_REGISTRY_CA_CERT='/a/../b': an empty part, . or .. is in this path"},
		{"VAULT_ROLE", "a b", "VAULT_ROLE='a b': not a name (letters, digits, - . and _, up to 128)"},
		{"VAULT_CHANGE_MODE", "reload", "VAULT_CHANGE_MODE='reload': none of: restart, noop, signal"},
		{"VAULT_POLICIES_JSON", "\"a\"", "VAULT_POLICIES_JSON='\"a\"': not a JSON array of strings"},
		{"VAULT_POLICIES_JSON", "[\"a\",",
		 "VAULT_POLICIES_JSON='[\"a\",': invalid JSON at line 1, column 5"},
		{"VAULT_POLICIES_JSON", "[1, \"\"]",
		 "VAULT_POLICIES_JSON='[1, \"\"]': entry 0: not the name of a policy\n"
		 "VAULT_POLICIES_JSON='[1, \"\"]': entry 1: not the name of a policy"},
		{"NOMAD_GPU", "yes", "NOMAD_GPU='yes': none of: true, false"},
		{"NOMAD_GPU_COUNT", "0", "NOMAD_GPU_COUNT='0': out of range (1 to 128)"},
		{"NOMAD_GPU_VENDOR", "Nvidia", "NOMAD_GPU_VENDOR='Nvidia': none of: nvidia, amd, intel"},
		{"NOMAD_GPU_COMPUTE_CAPABILITY", "7",
		 "NOMAD_GPU_COMPUTE_CAPABILITY='7': not two numbers with a point between, like 7.5"},
		{"NOMAD_GPU_COMPUTE_CAPABILITY", "7.5.1",
		 "NOMAD_GPU_COMPUTE_CAPABILITY='7.5.1': not two numbers with a point between, like 7.5"},
		{"NOMAD_GPU_COMPUTE_CAPABILITY", "-7.5",
		 "NOMAD_GPU_COMPUTE_CAPABILITY='-7.5': not two numbers with a point between, like 7.5"},
		{"VAULT_CLIENT_KEY", "/k.pem",
		 "VAULT_CLIENT_KEY='/k.pem': VAULT_CLIENT_CERT is not set; both client cert and client key "
		 "must be provided"},
		{"NOMAD_CACERT", "a\tb", "NOMAD_CACERT='a b': control characters in it"},
		{"NOMAD_CLIENT_CERT", "/c.pem",
		 "NOMAD_CLIENT_CERT='/c.pem': NOMAD_CLIENT_KEY is not set; both client cert and client key "
		 "must be provided"},
		{"NOMAD_CLIENT_KEY", "/k.pem",
		 "NOMAD_CLIENT_KEY='/k.pem': NOMAD_CLIENT_CERT is not set; both client cert and client key "
		 "must be provided"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(VARS(bad[i].name, bad[i].value), false, bad[i].message);
}

static void modes_go_together(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *plain = loaded(VARS("NOMAD_CPU", "1"));
	AUTO(options_freep) struct options *dind = loaded(VARS("NOMAD_DOCKER_MODE", "dind"));
	AUTO(options_freep)
	struct options *csi = loaded(VARS("NOMAD_STORAGE_MODE", "persistent", "NOMAD_CSI_CLUSTER_ID", "c"));
	AUTO(options_freep)
	struct options *host = loaded(VARS("NOMAD_STORAGE_MODE", "persistent", "NOMAD_STORAGE_TYPE", "host",
					   "NOMAD_IMAGE", "own:1"));

	assert_int_equal(plain->storage, STORAGE_EPHEMERAL);
	assert_int_equal(plain->docker, DOCKER_HOST);
	assert_string_equal(plain->image, OPTIONS_IMAGE_HOST);
	assert_int_equal(dind->docker, DOCKER_DIND);
	assert_string_equal(dind->image, OPTIONS_IMAGE_DIND);
	assert_int_equal(csi->storage, STORAGE_CSI);
	assert_int_equal(csi->docker, DOCKER_DIND);
	assert_int_equal(host->storage, STORAGE_HOST_VOLUME);
	assert_string_equal(host->image, "own:1");
	refused(VARS("NOMAD_STORAGE_MODE", "persistent", "NOMAD_STORAGE_TYPE", "host", "NOMAD_DOCKER_MODE",
		     "host"),
		false,
		"NOMAD_DOCKER_MODE='host': does not go with NOMAD_STORAGE_MODE='persistent': the node's "
		"Docker cannot "
		"see into the volume, and the devcontainers would stay behind on the node; use dind, or "
		"leave it "
		"unset");
	refused(VARS("NOMAD_STORAGE_MODE", "persistent", "NOMAD_CSI_PARAMETERS_JSON", "{}",
		     "NOMAD_CSI_VAULT_PATH", "secret/data/ceph"),
		false, "VAULT_ADDR is required when NOMAD_CSI_VAULT_PATH is specified");
}

#define VAULT "VAULT_ADDR", "http://v:8200", "VAULT_POLICIES_JSON", "[\"p\"]"

static void vault_secrets(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o =
		loaded(VARS(VAULT, "VAULT_SECRETS_JSON",
			    "[{\"path\": \"/secret/data/aws/\", \"fields\": {\"a \\\"b\": \"A_1\", "
			    "\"{{\": \"_b\"}},\n{\"fields\": {\"c\": \"C\"}, \"path\": \"kv/x y\"}]"));
	AUTO(freep) char *secrets = json_print(o->vault_secrets);
	AUTO(freep) char *policies = json_print(o->vault_policies);

	assert_string_equal(secrets, "[{\"fields\":{\"a \\\"b\":\"A_1\",\"{{\":\"_b\"},\"path\":"
				     "\"secret/data/aws\"},{\"fields\":{\"c\":\"C\"},\"path\":\"kv/x y\"}]");
	assert_string_equal(policies, "[\"p\"]");
	assert_string_equal(o->vault_role, "nomad-workloads");
	assert_string_equal(o->vault_change_mode, "restart");
}

#define ONE_SECRET "[{\"path\":\"secret/data/a\",\"fields\":{\"f\":\"F\"}}]"

/* Users search for these. */
static void vault_secrets_need_policies_and_address(void **state)
{
	(void)state;
	refused(VARS("VAULT_SECRETS_JSON", ONE_SECRET, "VAULT_ADDR", "http://v:8200"), false,
		"VAULT_POLICIES_JSON is required when VAULT_SECRETS_JSON is specified");
	refused(VARS("VAULT_SECRETS_JSON", ONE_SECRET, "VAULT_POLICIES_JSON", "[\"p\"]"), false,
		"VAULT_ADDR is required when VAULT_SECRETS_JSON is specified");
	refused(VARS("VAULT_SECRETS_JSON", ONE_SECRET, "VAULT_POLICIES_JSON", "[]"), false,
		"VAULT_POLICIES_JSON is required when VAULT_SECRETS_JSON is specified\n"
		"VAULT_ADDR is required when VAULT_SECRETS_JSON is specified");
	refused(VARS("VAULT_SECRETS_JSON", "[", "VAULT_POLICIES_JSON", "{}"), false,
		"VAULT_POLICIES_JSON='{}': not a JSON array of strings\n"
		"VAULT_SECRETS_JSON='[': invalid JSON at line 1, column 1\n"
		"VAULT_ADDR is required when VAULT_SECRETS_JSON is specified");
}

static void bad_vault_secrets(void **state)
{
	(void)state;
	static const struct {
		const char *value, *message;
	} bad[] = {
		{"[{", "invalid JSON at line 1, column 2"},
		{"{}", "not a JSON array of objects"},
		{"[1]", "entry 0: not an object of path and fields"},
		{"[{}]", "entry 0: no path\nentry 0: no fields"},
		{"[{\"path\":\"\",\"fields\":{}}]", "entry 0: the path is empty\nentry 0: no fields"},
		{"[{\"path\":7,\"fields\":[]}]",
		 "entry 0: path is not a string\nentry 0: fields is not an object of strings"},
		{"[{\"path\":\"secret\",\"fields\":{\"a\":\"A\"}}]",
		 "entry 0: not a secret's path in Vault, its mount first"},
		{"[{\"path\":\"v1/s/a\",\"fields\":{\"a\":\"A\"}}]", "entry 0: without v1/ at its start"},
		{"[{\"path\":\"s/../a\",\"fields\":{\"a\":\"A\"}}]",
		 "entry 0: an empty part, . or .. is in this path"},
		{"[{\"path\":\"s/a \",\"fields\":{\"a\":\"A\"}}]",
		 "entry 0: a space at the start or end of the path"},
		{"[{\"path\":\"s/a\\n\",\"fields\":{\"a\\t\":\"A\"}}]",
		 "entry 0: control characters in the path\n"
		 "entry 0 (s/a): control characters in the field name 'a'"},
		{"[{\"path\":\"s/a\",\"fields\":{\"\":\"A\"}}]", "entry 0 (s/a): an empty field name"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":\"\"}}]",
		 "entry 0 (s/a): field 'a': an empty variable name"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":1}}]",
		 "entry 0 (s/a): field 'a': its variable's name is not a string"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":\"A\",\"a\":\"B\"}}]",
		 "entry 0 (s/a): field 'a' is there twice"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":\"1A\",\"b\":\"A-B\"}}]",
		 "entry 0 (s/a): field 'a': '1A' is no name of a variable (letters, digits and _, no digit "
		 "first)\n"
		 "entry 0 (s/a): field 'b': 'A-B' is no name of a variable (letters, digits and _, no digit "
		 "first)"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":\"PATH\",\"b\":\"NOMAD_TOKEN\"}}]",
		 "entry 0 (s/a): field 'a': 'PATH' is a name that the machine needs for itself\n"
		 "entry 0 (s/a): field 'b': 'NOMAD_TOKEN' is a name that the machine needs for itself"},
		{"[{\"path\":\"s/a\",\"fields\":{\"a\":\"A\"}},{\"path\":\"s/b\",\"fields\":{\"b\":\"A\"}}]",
		 "entry 1 (s/b): field 'b': the variable A is there twice"},
		{"[{\"path\":\"s/a\",\"path\":\"s/b\",\"field\":{},\"fields\":{\"a\":\"A\"}}]",
		 "entry 0: path is there twice\nentry 0: unknown member 'field' (there are path, fields)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO(freep) char *shown = text_cleaned(bad[i].value, 60);
		AUTO(buf_clear) struct buf message = BUF_INIT;

		for (const char *line = bad[i].message, *end; line; line = *end ? end + 1 : NULL) {
			end = line + strcspn(line, "\n");
			buf_printf(&message, "%sVAULT_SECRETS_JSON='%s': %.*s", message.len ? "\n" : "",
				   shown, (int)(end - line), line);
		}
		refused(VARS(VAULT, "VAULT_SECRETS_JSON", bad[i].value), false, buf_str(&message));
	}
}

static void none_is_no_path(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o =
		loaded(VARS("NOMAD_REGISTRY_CERTS_DIR", "none", "NOMAD_REGISTRY_CA_CERT", "none"));
	AUTO(options_freep) struct options *initial = loaded(NONE);

	assert_null(o->registry_certs_dir);
	assert_null(o->registry_ca_cert);
	assert_string_equal(initial->registry_certs_dir, "/etc/docker/certs.d");
	assert_string_equal(initial->registry_ca_cert,
			    "/usr/local/share/ca-certificates/registry.cluster.crt");
}

static void capability_is_nvidias(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o = loaded(VARS("NOMAD_GPU_VENDOR", "amd", "NOMAD_GPU_COMPUTE_CAPABILITY", "8.0"));

	assert_false(o->gpu);
	refused(VARS("NOMAD_GPU", "true", "NOMAD_GPU_VENDOR", "amd", "NOMAD_GPU_COMPUTE_CAPABILITY", "8.0"),
		false, "NOMAD_GPU_COMPUTE_CAPABILITY='8.0': is NVIDIA's, and NOMAD_GPU_VENDOR is 'amd'");
}

static void bad_constraints(void **state)
{
	(void)state;
	static const struct {
		const char *value, *message;
	} bad[] = {
		{"[{", "NOMAD_CONSTRAINTS_JSON='[{': invalid JSON at line 1, column 2"},
		{"{}", "NOMAD_CONSTRAINTS_JSON='{}': not a JSON array of objects"},
		{"[1]",
		 "NOMAD_CONSTRAINTS_JSON='[1]': entry 0: not an object of attribute, operator and value"},
		{"[{\"value\":4}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"value\":4}]': entry 0: value is not a string"},
		{"[{\"value\":\"4\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"value\":\"4\"}]': entry 0: operator '=' needs an attribute"},
		{"[{\"attribute\":\"a\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\"}]': entry 0: operator '=' needs a value"},
		{"[{\"attribute\":\"a\",\"attribute\":\"b\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\",\"attribute\":\"b\"}]': entry 0: attribute "
		 "is there twice"},
		{"[{\"attribute\":\"a\\n\"}]", "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\\n\"}]': entry "
					       "0: control characters in attribute"},
		{"[{\"attribute\":\"a\",\"operator\":\"is_set\",\"value\":\"x\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\",\"operator\":\"is_set\",\"value\":\"x\"}]': "
		 "entry 0: operator "
		 "'is_set' takes no value"},
		{"[{\"attribute\":\"a\",\"operator\":\"~\",\"value\":\"x\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\",\"operator\":\"~\",\"value\":\"x\"}]': entry "
		 "0: unknown operator "
		 "'~' (Nomad has =, ==, is, !=, not, <, <=, >, >=, regexp, version, semver, set_contains, "
		 "set_contains_all, "
		 "set_contains_any, is_set, is_not_set, distinct_hosts, distinct_property)"},
		{"[{\"attribute\":\"a\",\"value\":\"b\"},{\"name\":\"x\",\"Value\":\"\"}]",
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\",\"value\":\"b\"},{\"name\":\"x\",\"Value\":"
		 "\"\"}]': entry 1: unknown "
		 "member 'name' (there are attribute, operator, value)\n"
		 "NOMAD_CONSTRAINTS_JSON='[{\"attribute\":\"a\",\"value\":\"b\"},{\"name\":\"x\",\"Value\":"
		 "\"\"}]': entry 1: unknown "
		 "member 'Value' (there are attribute, operator, value)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(VARS("NOMAD_CONSTRAINTS_JSON", bad[i].value), false, bad[i].message);
}

static void constraints_are_completed(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o = loaded(VARS("NOMAD_CONSTRAINTS_JSON",
					"[{\"value\":\"amd64\",\"attribute\":\"${attr.cpu.arch}\"},"
					"{\"operator\":\"distinct_hosts\"}]"));
	AUTO(freep) char *text = json_print(o->constraints);

	assert_string_equal(text,
			    "[{\"attribute\":\"${attr.cpu.arch}\",\"operator\":\"=\",\"value\":\"amd64\"},"
			    "{\"attribute\":\"\",\"operator\":\"distinct_hosts\",\"value\":\"\"}]");
}

static void no_constraints_is_null(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *o = loaded(VARS("NOMAD_CONSTRAINTS_JSON", "[]"));

	assert_null(o->constraints);
}

static void too_long(void **state)
{
	(void)state;
	char value[OPTION_MAX_LEN + 2];

	memset(value, 'a', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	refused(VARS("NOMAD_TLS_SERVER_NAME", value), false,
		"NOMAD_TLS_SERVER_NAME='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...': "
		"longer than 4096 "
		"bytes");
	AUTO(options_freep) struct options *o = loaded(VARS("COMMAND", value));
	assert_string_equal(o->command, value);
}

static void all_mistakes_at_once(void **state)
{
	(void)state;
	refused(VARS("NOMAD_CPU", "abc", "NOMAD_IMAGE", "a b", "NOMAD_TOKEN", "s3cret\x01",
		     "NOMAD_CLIENT_CERT", "/c", "NOMAD_MEMORYMB", "1000", "NOMAD_MEMORY_MAX_MB", "999"),
		true,
		"NOMAD_TOKEN: control characters in it\n"
		"NOMAD_CPU='abc': not a whole number (MHz, 1 to 1000000)\n"
		"NOMAD_IMAGE='a b': not an image's name (like ubuntu:22.04 or "
		"registry.example/team/image:tag)\n"
		"MACHINE_ID: not set (DevPod sets it for each command but init)\n"
		"NOMAD_MEMORY_MAX_MB='999': less than NOMAD_MEMORYMB (1000)\n"
		"NOMAD_CLIENT_CERT='/c': NOMAD_CLIENT_KEY is not set; both client cert and client key must "
		"be provided");
}

/* One mistake is told once: what follows from it is not. */
static void no_mistake_after_a_mistake(void **state)
{
	(void)state;
	refused(VARS("MACHINE_ID", "a b", "NOMAD_CLIENT_CERT", "/c", "NOMAD_CLIENT_KEY", "/k\n"), true,
		"MACHINE_ID='a b': not a machine's name (letters, digits, - . and _, up to 63)\n"
		"NOMAD_CLIENT_KEY='/k': control characters in it");
	refused(VARS("NOMAD_MEMORYMB", "1", "NOMAD_MEMORY_MAX_MB", "5"), false,
		"NOMAD_MEMORYMB='1': out of range (MB, 10 to 67108864)");
}

static void hints(void **state)
{
	(void)state;
	struct options *o = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(load(VARS("NOMAD_CPU", "x"), false, &o, &e), -1);
	assert_non_null(strstr(e.hint, "--provider-option NAME=VALUE"));
	err_clear(&e);
	assert_int_equal(load(VARS("NOMAD_SKIP_VERIFY", "x"), false, &o, &e), -1);
	assert_null(e.hint);
	err_clear(&e);
}

static void secrets_are_taken_as_they_are(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o = loaded(VARS("NOMAD_TOKEN", "t0ken", "NOMAD_HTTP_AUTH", "me:a b:c "));

	assert_string_equal(o->token, "t0ken");
	assert_string_equal(o->http_auth, "me:a b:c ");
	assert_string_equal(options_origin(o, "NOMAD_TOKEN"), "NOMAD_TOKEN");
	assert_string_equal(options_origin(o, "NOMAD_CACERT"), "the default");
	assert_string_equal(options_origin(o, "no such name"), "the default");
}

static void address_loses_its_path(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *a = loaded(VARS("NOMAD_ADDR", "https://h:4646/ui/jobs"));
	AUTO(options_freep) struct options *b = loaded(VARS("NOMAD_ADDR", "unix:///run/n@1.sock"));

	assert_string_equal(a->addr, "https://h:4646");
	assert_string_equal(b->addr, "unix:///run/n@1.sock");
}

static void datacenters_are_split(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *o = loaded(VARS("NOMAD_DATACENTERS", "dc1 ,my dc,  b*"));

	assert_string_equal(o->datacenters[0], "dc1");
	assert_string_equal(o->datacenters[1], "my dc");
	assert_string_equal(o->datacenters[2], "b*");
	assert_null(o->datacenters[3]);
}

static void agent_paths_follow_the_machine(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *a = loaded(VARS("MACHINE_ID", "ws-1"));
	AUTO(options_freep)
	struct options *b = loaded(VARS("MACHINE_ID", "ws-1", "NOMAD_HOST_DIR", "/srv/x//", "AGENT_PATH",
					"/opt/agent", "AGENT_DATA_PATH", "/srv/x/ws-1/data"));

	assert_string_equal(a->agent_path, "/var/lib/devpod-workspaces/ws-1/agent/devpod");
	assert_string_equal(a->agent_data_path, "/var/lib/devpod-workspaces/ws-1/agent/data");
	assert_string_equal(options_origin(a, "AGENT_PATH"), "the default");
	assert_string_equal(b->host_dir, "/srv/x");
	assert_string_equal(b->agent_path, "/opt/agent");
	assert_string_equal(b->agent_data_path, "/srv/x/ws-1/data");
	refused(VARS("MACHINE_ID", "ws-1", "AGENT_DATA_PATH", "/var/lib/devpod-workspaces/ws-10/data"), true,
		"AGENT_DATA_PATH='/var/lib/devpod-workspaces/ws-10/data': not below "
		"/var/lib/devpod-workspaces/ws-1/, the one "
		"directory that the machine keeps and the node's Docker sees");
}

static void command_before_devcontainer_command(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *a = loaded(VARS("DEVCONTAINER_COMMAND", "b", "COMMAND", "a\n\x02"));
	AUTO(options_freep) struct options *b = loaded(VARS("DEVCONTAINER_COMMAND", "b", "COMMAND", ""));

	assert_string_equal(a->command, "a\n\x02");
	assert_string_equal(options_origin(a, "COMMAND"), "COMMAND");
	assert_string_equal(options_origin(a, "DEVCONTAINER_COMMAND"), "the default");
	assert_string_equal(b->command, "b");
	assert_string_equal(options_origin(b, "DEVCONTAINER_COMMAND"), "DEVCONTAINER_COMMAND");
}

static void debug_from_either(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *a = loaded(VARS("DEVPOD_DEBUG", "true", "DEVSY_DEBUG", "false"));
	AUTO(options_freep) struct options *b = loaded(VARS("DEVSY_DEBUG", "1"));
	AUTO(options_freep) struct options *c = loaded(VARS("DEVPOD_DEBUG", "loud"));

	assert_true(a->debug);
	assert_string_equal(options_origin(a, "DEVPOD_DEBUG"), "DEVPOD_DEBUG");
	assert_true(b->debug);
	assert_false(c->debug);
}

static void from_the_environment(void **state)
{
	(void)state;
	struct options_source from = options_environment();
	AUTO(options_freep) struct options *o = NULL;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < option_count; i++)
		unsetenv(option_table[i].name);
	assert_int_equal(setenv("NOMAD_CPU", "7", 1), 0);
	assert_int_equal(setenv("MACHINE_ID", "m", 1), 0);
	assert_int_equal(options_load(&from, true, &o, &e), 0);
	assert_int_equal(o->cpu_mhz, 7);
	assert_string_equal(o->machine_id, "m");
	unsetenv("NOMAD_CPU");
	unsetenv("MACHINE_ID");
}

/* The table itself */

static void rows_are_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		assert_ptr_equal(option_find(row->name), row); /* and so no name is there twice */
		assert_int_equal(strspn(row->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
				 strlen(row->name));
		assert_int_equal(row->place == PLACE_HOST, row->group == GROUP_HOST);
		assert_string_equal(row->since, "0.1.0");
		assert_true(row->help[0] && row->help[strlen(row->help) - 1] == '.');
		for (const char *p = row->help; *p; p++)
			assert_true(*p >= ' ' && *p < 0x7f);
		if (row->type == OPTION_INTEGER || row->type == OPTION_DURATION)
			assert_true(row->min < row->max);
		if (row->type == OPTION_INTEGER)
			assert_non_null(row->initial);
		if (row->type == OPTION_CHOICE)
			assert_non_null(row->values);
		if (row->type == OPTION_BOOLEAN)
			assert_non_null(row->initial);
		if (row->secret)
			assert_int_equal(row->place, PLACE_ENVIRONMENT);
		for (size_t j = 0; j < i; j++)
			if (option_table[j].offset == row->offset)
				assert_int_equal(option_table[j].type, row->type);
	}
	assert_null(option_find("NOMAD_NONE"));
}

/* DevPod must not refuse what we take; our patterns are in what POSIX and Go have in common. */
static void patterns_take_the_good_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		regex_t re;

		if (!option_table[i].pattern)
			continue;
		assert_int_equal(regcomp(&re, option_table[i].pattern, REG_EXTENDED | REG_NOSUB), 0);
		for (size_t j = 0; good[i].values[j]; j++)
			if (regexec(&re, good[i].values[j], 0, NULL, 0) != 0)
				fail_msg("%s='%s' is not in its pattern", good[i].name, good[i].values[j]);
		bool optional = !option_table[i].initial || option_table[i].inherits;
		assert_int_equal(regexec(&re, "", 0, NULL, 0) == 0, optional);
		assert_int_not_equal(regexec(&re, "/a b\n", 0, NULL, 0), 0);
		regfree(&re);
	}
}

static void durations_are_written(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} all[] = {{0, "0s"},        {1, "1ms"},       {1000, "1s"},     {90000, "90s"},
		   {1800000, "30m"}, {5400000, "90m"}, {86400000, "24h"}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO(freep) char *text = option_duration(all[i].ms);
		assert_string_equal(text, all[i].text);
	}
}

/* What is made of it */

static void help_has_every_row(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf out = BUF_INIT;

	options_help(&out);
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];
		AUTO(freep)
		char *line = row->initial ? xasprintf("\n  %s (%s)\n", row->name, row->initial)
					  : xasprintf("\n  %s\n", row->name);
		assert_non_null(strstr(out.data, line));
	}
	for (const char *p = out.data; *p; p += strcspn(p, "\n") + 1)
		assert_true(strcspn(p, "\n") <= 100);
}

static void provider_yaml_has_every_option(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf out = BUF_INIT;

	options_provider_yaml(&out);
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];
		AUTO(freep) char *key = xasprintf("\n  %s:\n", row->name);
		AUTO(freep) char *grouped = xasprintf("      - %s\n", row->name);
		const char *at = strstr(out.data, key);

		if (row->place != PLACE_PROVIDER) {
			assert_null(at);
			assert_null(strstr(out.data, grouped));
			continue;
		}
		assert_non_null(at);
		assert_null(strstr(at + 1, key));
		assert_non_null(strstr(out.data, grouped));
	}
	assert_null(strstr(out.data, "\t"));
}

static void provider_yaml_of_one_option(void **state)
{
	(void)state;
	static const char addr[] = "  NOMAD_ADDR:\n"
				   "    description: \"Where Nomad's API is.\"\n"
				   "    type: string\n"
				   "    command: \"printf %s \\\"${NOMAD_ADDR}\\\"\"\n"
				   "    validationPattern: ";
	static const char inject[] =
		"  INJECT_GIT_CREDENTIALS:\n"
		"    description: \"Whether DevPod lends this computer's git credentials to the machine.\"\n"
		"    type: boolean\n"
		"    default: \"true\"\n"
		"    enum:\n"
		"      - \"true\"\n"
		"      - \"false\"\n"
		"    mutable: true\n";
	static const char agent[] = "    type: string\n"
				    "    default: \"${NOMAD_HOST_DIR}/${MACHINE_ID}/agent/devpod\"\n"
				    "    validationPattern: \"^/[a-zA-Z0-9._/-]{1,511}$\"\n"
				    "    validationMessage: \"AGENT_PATH: not an absolute path (of letters, "
				    "digits, - . _ and /)\"\n"
				    "    local: true\n"
				    "    hidden: true\n";
	AUTO(buf_clear) struct buf out = BUF_INIT;

	options_provider_yaml(&out);
	assert_non_null(strstr(out.data, addr));
	assert_non_null(strstr(out.data, inject));
	assert_non_null(strstr(out.data, agent));
	assert_non_null(strstr(out.data, "[{\\\"attribute\\\": \\\"${attr.cpu.arch}\\\","));
}

static void markdown_has_every_row(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf out = BUF_INIT;

	options_markdown(&out);
	for (size_t i = 0; i < option_count; i++) {
		AUTO(freep) char *row = xasprintf("\n| `%s` | ", option_table[i].name);
		const char *at = strstr(out.data, row);

		assert_non_null(at);
		assert_null(strstr(at + 1, row));
	}
	assert_non_null(strstr(
		out.data, "| `NOMAD_CPU` | `200` | a whole number (MHz, 1 to 1000000) | The share of CPU "
			  "that the machine gets, in MHz. | 0.1.0 |\n"));
	assert_non_null(strstr(out.data, "`NOMAD_ADDR`, `NOMAD_NAMESPACE`, `NOMAD_REGION`, `VAULT_ADDR` and "
					 "`VAULT_NAMESPACE`:\n"));
}

static void contents(struct buf *to, const char *path)
{
	FILE *f = fopen(path, "rb");
	char chunk[4096];

	if (!f) {
		fail_msg("cannot open %s", path);
		return;
	}
	for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
		assert_int_equal(buf_add(to, chunk, n), 0);
	assert_int_equal(fclose(f), 0);
}

static void the_docs_are_what_the_table_says(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf made = BUF_INIT;
	AUTO(buf_clear) struct buf there = BUF_INIT;

	options_markdown(&made);
	contents(&there, SOURCE_DIR "/docs/options.md");
	if (!text_eq(buf_str(&made), buf_str(&there)))
		fail_msg("docs/options.md is not what the option table says: run hack/generate");
}

static void provider_yaml_in_names_options_that_are_there(void **state)
{
	(void)state;
	AUTO(buf_clear) struct buf in = BUF_INIT;
	int seen = 0;

	contents(&in, SOURCE_DIR "/provider.yaml.in");
	assert_non_null(strstr(buf_str(&in), "\n@OPTIONS@\n"));
	for (const char *p = buf_str(&in); (p = strstr(p, ": ${")); seen++) {
		p += strlen(": ${");
		AUTO(freep) char *name = xstrndup(p, strcspn(p, "}"));
		const struct option_row *row = option_find(name);
		assert_non_null(row);
		assert_int_equal(row->place, PLACE_PROVIDER);
	}
	assert_int_equal(seen, 5);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(defaults),
	cmocka_unit_test(empty_is_unset),
	cmocka_unit_test(good_values),
	cmocka_unit_test(bad_values),
	cmocka_unit_test(modes_go_together),
	cmocka_unit_test(vault_secrets),
	cmocka_unit_test(vault_secrets_need_policies_and_address),
	cmocka_unit_test(bad_vault_secrets),
	cmocka_unit_test(none_is_no_path),
	cmocka_unit_test(capability_is_nvidias),
	cmocka_unit_test(bad_constraints),
	cmocka_unit_test(constraints_are_completed),
	cmocka_unit_test(no_constraints_is_null),
	cmocka_unit_test(too_long),
	cmocka_unit_test(all_mistakes_at_once),
	cmocka_unit_test(no_mistake_after_a_mistake),
	cmocka_unit_test(hints),
	cmocka_unit_test(secrets_are_taken_as_they_are),
	cmocka_unit_test(address_loses_its_path),
	cmocka_unit_test(datacenters_are_split),
	cmocka_unit_test(agent_paths_follow_the_machine),
	cmocka_unit_test(command_before_devcontainer_command),
	cmocka_unit_test(debug_from_either),
	cmocka_unit_test(from_the_environment),
	cmocka_unit_test(rows_are_sound),
	cmocka_unit_test(patterns_take_the_good_values),
	cmocka_unit_test(durations_are_written),
	cmocka_unit_test(help_has_every_row),
	cmocka_unit_test(provider_yaml_has_every_option),
	cmocka_unit_test(provider_yaml_of_one_option),
	cmocka_unit_test(markdown_has_every_row),
	cmocka_unit_test(the_docs_are_what_the_table_says),
	cmocka_unit_test(provider_yaml_in_names_options_that_are_there),
};

UNIT_MAIN(tests)
