/* The job JSON for given options, byte for byte: tests/unit/golden. UPDATE_GOLDEN=1 writes what is made now.
 */
#include "unit.h"

#include "machine_sh.h"
#include "options.h"
#include "platform.h"
#include "secrets_sh.h"
#include "spec.h"
#include "text.h"

static const char *const *variables; /* NAME, value, …, NULL */

static const char *get(void *arg, const char *name)
{
	(void)arg;
	for (const char *const *v = variables; *v; v += 2)
		if (text_eq(*v, name))
			return v[1];
	return NULL;
}

static struct options *load(const char *const *with)
{
	struct options_source from = {get, NULL};
	struct err e = ERR_INIT;
	struct options *o = NULL;

	json_init();
	variables = with;
	if (options_load(&from, true, &o, &e) < 0)
		fail_msg("%s", e.msg);
	return o;
}

/* The scripts have tests of their own; here they would only make every golden file change with them. */
static void hide_script(cJSON *job)
{
	const cJSON *group = cJSON_GetArrayItem(json_get(job, "TaskGroups"), 0), *task;

	cJSON_ArrayForEach (task, json_get(group, "Tasks")) {
		cJSON *args = cJSON_GetObjectItem(json_get(task, "Config"), "args");
		const char *script = cJSON_GetStringValue(cJSON_GetArrayItem(args, 0));
		const char *shown = "(src/spec/machine.sh)";

		if (json_get(task, "Vault")) {
			assert_true(text_starts(script, secrets_sh));
			script += strlen(secrets_sh);
			shown = "(src/spec/secrets.sh)(src/spec/machine.sh)";
		}
		assert_string_equal(script, machine_sh);
		cJSON_ReplaceItemInArray(args, 0, cJSON_CreateString(shown));
	}
}

static void compare(cJSON *job, const char *name)
{
	AUTO(freep) char *path = xasprintf("%s/tests/unit/golden/%s.json", SOURCE_DIR, name);
	AUTO(err_clear) struct err e = ERR_INIT;

	hide_script(job);
	char *text = cJSON_Print(job);
	AUTO(freep) char *line = xasprintf("%s\n", text);
	free(text);
	if (getenv("UPDATE_GOLDEN") && file_replace(path, line, strlen(line), &e) < 0)
		fail_msg("%s", e.msg);
	AUTO(freep) char *golden = file_read(path, 1 << 20, NULL, &e);
	if (!golden)
		fail_msg("%s", e.msg);
	assert_string_equal(line, golden);
}

static struct spec_request request(const struct options *o, const char *dir, const char *node)
{
	return (struct spec_request){.options = o,
				     .machine_id = o->machine_id,
				     .owner = "dev@laptop",
				     .version = "0.1.0",
				     .start = "00112233aabbccdd",
				     .node_id = node,
				     .dir = dir,
				     .docker = o->docker,
				     .storage = o->storage};
}

static void machine_with(const char *const *with, const char *node, const char *golden)
{
	AUTO(options_freep) struct options *o = load(with);
	AUTO(freep) char *dir = spec_dir(o, o->machine_id);
	struct spec_request rq = request(o, dir, node);
	rq.expect_data = node != NULL;
	AUTO(json_freep) cJSON *job = spec_machine(&rq);
	AUTO(json_freep) cJSON *again = spec_machine(&rq);
	AUTO(freep) char *one = json_print(job);
	AUTO(freep) char *two = json_print(again);

	assert_string_equal(one, two);
	compare(job, golden);
}

static void defaults(void **state)
{
	(void)state;
	machine_with((const char *const[]){"MACHINE_ID", "ws-1", NULL}, NULL, "machine-defaults");
}

static void every_option(void **state)
{
	(void)state;
	machine_with(
		(const char *const[]){
			"MACHINE_ID",
			"ws-1.b_c",
			"NOMAD_NAMESPACE",
			"dev",
			"NOMAD_REGION",
			"eu",
			"NOMAD_CORES",
			"2",
			"NOMAD_MEMORYMB",
			"1024",
			"NOMAD_MEMORY_MAX_MB",
			"2048",
			"NOMAD_DISKMB",
			"5000",
			"NOMAD_DATACENTERS",
			"dc1,eu-*",
			"NOMAD_NODE_POOL",
			"workstations",
			"NOMAD_PRIORITY",
			"70",
			"NOMAD_IMAGE",
			"example/machine:1",
			"NOMAD_HOST_DIR",
			"/srv/devpod/machines",
			"NOMAD_CONSTRAINTS_JSON",
			"[{\"attribute\":\"${attr.cpu.arch}\",\"operator\":\"=\",\"value\":\"amd64\"}]",
			NULL},
		"11111111-2222-3333-4444-555555555555", "machine-every-option");
}

#define CSI                                                                                                  \
	"MACHINE_ID", "ws-1", "NOMAD_STORAGE_MODE", "persistent", "NOMAD_CSI_CLUSTER_ID", "b9127830",        \
		"NOMAD_DISKMB", "20000"
#define CSI_OTHER                                                                                            \
	"MACHINE_ID", "ws-1", "NOMAD_NAMESPACE", "dev", "NOMAD_STORAGE_MODE", "persistent",                  \
		"NOMAD_CSI_PLUGIN_ID", "ebs0", "NOMAD_CSI_PARAMETERS_JSON", "{\"type\": \"gp3\"}",           \
		"NOMAD_CSI_MOUNT_FLAGS", "noatime,discard", "NOMAD_CSI_FS_TYPE", "xfs",                      \
		"NOMAD_CSI_ACCESS_MODE", "multi-node-single-writer", "NOMAD_CSI_TOPOLOGY_JSON",              \
		"{\"required\": [{\"zone\": \"a\"}], \"preferred\": [{\"rack\": \"R1\"}]}"
#define HOST_VOLUME                                                                                          \
	"MACHINE_ID", "ws-1", "NOMAD_STORAGE_MODE", "persistent", "NOMAD_STORAGE_TYPE", "host",              \
		"NOMAD_NODE_POOL", "big", "NOMAD_DATACENTERS", "dc1,eu-*", "NOMAD_CONSTRAINTS_JSON",         \
		"[{\"attribute\":\"${attr.cpu.arch}\",\"value\":\"amd64\"}]"

static void other_modes(void **state)
{
	(void)state;
	machine_with((const char *const[]){"MACHINE_ID", "ws-1", "NOMAD_DOCKER_MODE", "dind", NULL}, NULL,
		     "machine-dind");
	machine_with((const char *const[]){CSI, NULL}, NULL, "machine-csi");
	machine_with((const char *const[]){CSI_OTHER, NULL}, NULL, "machine-csi-other");
	machine_with((const char *const[]){HOST_VOLUME, NULL}, NULL, "machine-host-volume");
}

static void secrets(void **state)
{
	(void)state;
	machine_with(
		(const char *const[]){"MACHINE_ID", "ws-1", "VAULT_ADDR", "http://vault.example:8200",
				      "VAULT_NAMESPACE", "team", "VAULT_CHANGE_MODE", "signal",
				      "VAULT_POLICIES_JSON", "[\"devpod-secrets\", \"more\"]",
				      "VAULT_SECRETS_JSON",
				      "[{\"path\": \"secret/data/aws\", \"fields\": {\"access_key\": "
				      "\"AWS_ACCESS_KEY_ID\", \"secret-key\": \"AWS_SECRET_ACCESS_KEY\"}},"
				      "{\"path\": \"kv/o{{d\\\" ü?#%/b\", \"fields\": "
				      "{\"it's \\\"{{ . }}\\\\\": \"ODD\"}}]",
				      NULL},
		NULL, "machine-vault");
}

static void registries(void **state)
{
	(void)state;
	machine_with((const char *const[]){"MACHINE_ID", "ws-1", "NOMAD_DOCKER_MODE", "dind",
					   "NOMAD_REGISTRY_CERTS_DIR", "/srv/certs", "NOMAD_REGISTRY_CA_CERT",
					   "none", NULL},
		     NULL, "machine-registries");
}

static void gpus(void **state)
{
	(void)state;
	machine_with((const char *const[]){"MACHINE_ID", "ws-1", "NOMAD_GPU", "true", "NOMAD_GPU_COUNT", "2",
					   "NOMAD_GPU_COMPUTE_CAPABILITY", "8.6", NULL},
		     NULL, "machine-gpu-nvidia");
	machine_with((const char *const[]){"MACHINE_ID", "ws-1", "NOMAD_DOCKER_MODE", "dind", "NOMAD_GPU",
					   "true", "NOMAD_GPU_VENDOR", "amd", NULL},
		     NULL, "machine-gpu-amd");
}

static void volume_with(const char *const *with, const char *golden)
{
	AUTO(options_freep) struct options *o = load(with);
	AUTO(freep) char *dir = spec_dir(o, o->machine_id);
	struct spec_request rq = request(o, dir, NULL);

	AUTO(json_freep) cJSON *volume = spec_volume(&rq);

	compare(volume, golden);
}

static void volumes(void **state)
{
	(void)state;
	volume_with((const char *const[]){CSI, NULL}, "volume-ceph");
	volume_with((const char *const[]){CSI_OTHER, NULL}, "volume-csi-other");
	volume_with((const char *const[]){HOST_VOLUME, NULL}, "volume-host");
}

static void cleanup(void **state)
{
	(void)state;
	AUTO(options_freep)
	struct options *o = load(
		(const char *const[]){"MACHINE_ID", "ws-1", "NOMAD_NODE_POOL", "p", "NOMAD_CONSTRAINTS_JSON",
				      "[{\"attribute\":\"a\",\"operator\":\"=\",\"value\":\"b\"}]", NULL});
	struct spec_request rq =
		request(o, "/var/lib/devpod-workspaces/ws-1", "11111111-2222-3333-4444-555555555555");
	AUTO(json_freep) cJSON *job = spec_cleanup(&rq);

	assert_string_equal(json_str(job, "ID"), "devpod-cleanup-ws-1");
	compare(job, "cleanup");
}

static void ours(void **state)
{
	(void)state;
	AUTO(options_freep) struct options *o = load((const char *const[]){"MACHINE_ID", "ws-1", NULL});
	struct spec_request rq = request(o, "/d/ws-1", NULL);
	AUTO(json_freep) cJSON *job = spec_machine(&rq);
	AUTO(json_freep) cJSON *foreign = json_object();

	assert_true(spec_is_ours(job, "ws-1"));
	assert_false(spec_is_ours(job, "ws-2"));
	assert_false(spec_is_ours(foreign, "ws-1"));
	assert_string_equal(spec_meta(job, SPEC_META_DIR), "/d/ws-1");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(defaults), cmocka_unit_test(every_option), cmocka_unit_test(other_modes),
	cmocka_unit_test(secrets),  cmocka_unit_test(registries),   cmocka_unit_test(gpus),
	cmocka_unit_test(volumes),  cmocka_unit_test(cleanup),      cmocka_unit_test(ours),
};

UNIT_MAIN(tests)
