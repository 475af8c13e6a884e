#include "log.h"
#include "machine_private.h"
#include "text.h"

#include <inttypes.h>

#define PLAN_ID      "devpod-init-check" /* planned, never registered */
#define NODES_SHOWN  5
#define CAPABILITIES "submit-job, read-job, read-logs and alloc-exec in its namespace, and node:read"

static void ok(const char *fmt, ...) PRINTF(1, 2);
static void ok(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO(freep) char *text = xvasprintf(fmt, ap);
	va_end(ap);
	log_info("ok: %s", text);
}

static int check_address(struct machine *m, struct err *e)
{
	AUTO(json_freep) cJSON *leader = NULL;
	const char *addr = http_addr(nomad_http(m->nomad));

	/* needs no token */
	if (nomad_get(m->nomad, "/v1/status/leader", &leader, e) < 0) {
		if (m->options->region && strstr(e->msg, "region"))
			err_hint(e, "NOMAD_REGION is '%s': is there such a region?", m->options->region);
		return -1;
	}
	if (!cJSON_IsString(leader) || !*cJSON_GetStringValue(leader)) {
		err_set(e, ERR_REMOTE, "%s: Nomad has no leader", addr);
		return err_hint(e, "its servers have lost their quorum: nomad server members");
	}
	ok("Nomad answers at %s%s", addr,
	   text_starts(addr, "https:")
		   ? m->options->skip_verify ? " (TLS, not verified: NOMAD_SKIP_VERIFY)" : " (TLS)"
		   : "");
	return 0;
}

static bool has_string(const cJSON *array, const char *wanted)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, array)
		if (text_eq(cJSON_GetStringValue(item), wanted))
			return true;
	return false;
}

/* What one policy's rules grant in the namespace; Nomad writes shorthands out (acl.Parse). */
static bool policy_grants(const cJSON *policy, const char *namespace_, const char *capability)
{
	const cJSON *rule;

	cJSON_ArrayForEach (rule, json_get(json_get(policy, "RulesJSON"), "Namespaces")) {
		const char *name = json_str(rule, "Name");

		if (name && text_glob(name, namespace_) &&
		    has_string(json_get(rule, "Capabilities"), capability))
			return true;
	}
	return false;
}

/*
 * exec and logs are asked for only once there is a machine, so read the policies. A token may read those it
 * has. Roles' policies are not followed: what cannot be seen is not a failure.
 */
static int check_policies(struct machine *m, const cJSON *token, struct err *e)
{
	static const struct {
		const char *name;
		enum options_storage storage; /* STORAGE_EPHEMERAL: for each of them */
	} wanted[] = {
		{"submit-job", STORAGE_EPHEMERAL},         {"read-job", STORAGE_EPHEMERAL},
		{"read-logs", STORAGE_EPHEMERAL},          {"alloc-exec", STORAGE_EPHEMERAL},
		{"csi-write-volume", STORAGE_CSI},         {"csi-read-volume", STORAGE_CSI},
		{"csi-mount-volume", STORAGE_CSI},         {"host-volume-create", STORAGE_HOST_VOLUME},
		{"host-volume-read", STORAGE_HOST_VOLUME}, {"host-volume-delete", STORAGE_HOST_VOLUME},
	};
	const char *namespace_ = m->options->namespace_ ? m->options->namespace_ : "default";
	bool has[ARRAY_SIZE(wanted)] = {false};
	const cJSON *name;

	if (cJSON_GetArraySize(json_get(token, "Roles")))
		return 0;
	cJSON_ArrayForEach (name, json_get(token, "Policies")) {
		AUTO(json_freep) cJSON *policy = NULL;
		AUTO(buf_clear) struct buf path = BUF_INIT;

		if (!cJSON_IsString(name))
			continue;
		buf_puts(&path, "/v1/acl/policy/");
		text_url_escape(&path, name->valuestring);
		if (nomad_get(m->nomad, buf_str(&path), &policy, e) < 0) {
			if (e->kind != ERR_AUTH && e->kind != ERR_NOT_FOUND)
				return -1;
			err_clear(e);
			return 0;
		}
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			has[i] |= policy_grants(policy, namespace_, wanted[i].name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (has[i] ||
		    (wanted[i].storage != STORAGE_EPHEMERAL && wanted[i].storage != m->options->storage))
			continue;
		err_set(e, ERR_AUTH, "the token's policies do not grant %s in namespace '%s'", wanted[i].name,
			namespace_);
		return hint_token(m, CAPABILITIES, e);
	}
	return 0;
}

static int check_token(struct machine *m, struct err *e)
{
	AUTO(json_freep) cJSON *token = NULL;

	if (nomad_get(m->nomad, "/v1/acl/token/self", &token, e) < 0) {
		/* before Nomad 1.10, and what it says with ACLs off */
		if (strstr(e->msg, "ACL support disabled")) {
			err_clear(e);
			ok("no token is needed (ACLs are off)");
			return 0;
		}
		return e->kind == ERR_AUTH || e->kind == ERR_NOT_FOUND ? hint_token(m, CAPABILITIES, e) : -1;
	}
	if (text_eq(json_str(token, "AccessorID"), "acls-disabled")) {
		ok("no token is needed (ACLs are off)");
		return 0;
	}
	if (!text_eq(json_str(token, "Type"), "management") && check_policies(m, token, e) < 0)
		return -1;
	/* without a token: the checks to come show what anonymous may do */
	if (text_eq(json_str(token, "AccessorID"), "anonymous"))
		return 0;
	const char *name = json_str(token, "Name");
	AUTO(freep) char *clean = text_cleaned(name, 80);
	ok("the token is valid%s%s", *clean ? ": " : "", clean);
	return 0;
}

static int check_namespace(struct machine *m, struct err *e)
{
	const char *name = m->options->namespace_ ? m->options->namespace_ : "default";

	if (namespace_exists(m, name, CAPABILITIES, e) < 0)
		return -1;
	ok("namespace '%s' exists", name);
	return 0;
}

/* The most GPUs of one model that a node has: Nomad gives a task no two models for one request. */
static int64_t most_gpus(const cJSON *node, const char *vendor)
{
	const cJSON *device, *instance;
	int64_t most = 0;

	cJSON_ArrayForEach (device, json_get(json_get(node, "NodeResources"), "Devices")) {
		int64_t n = 0;

		if (!text_eq(json_str(device, "Vendor"), vendor) || !text_eq(json_str(device, "Type"), "gpu"))
			continue;
		cJSON_ArrayForEach (instance, json_get(device, "Instances"))
			n += json_is_true(instance, "Healthy");
		most = n > most ? n : most;
	}
	return most;
}

/* Why a node cannot take a machine, for free(); NULL when it can. */
static char *node_lacks(const struct machine *m, const cJSON *node)
{
	const cJSON *docker = json_get(json_get(node, "Drivers"), "docker");
	const cJSON *attributes = json_get(docker, "Attributes");
	const char *text;

	if (!node_in_reach(m->options, node))
		return xstrdup("is not in the datacenters or the node pool asked for");
	if (!text_eq(json_str(node, "Status"), "ready"))
		return xstrdup("is not ready");
	if (!node_usable(node))
		return xstrdup("takes no jobs (ineligible, or draining)");
	if (!json_is_true(docker, "Detected"))
		return xstrdup("has no docker");
	if (!json_is_true(docker, "Healthy")) {
		text = json_str(docker, "HealthDescription");
		AUTO(freep) char *clean = text_cleaned(text, 200);
		return xasprintf("has an unhealthy docker: %s", clean);
	}
	if (!text_eq(json_str(attributes, "driver.docker.volumes.enabled"), "true"))
		return xstrdup("does not let docker mount host paths (volumes { enabled = true } in its "
			       "docker plugin)");
	if (!text_eq(json_str(attributes, "driver.docker.privileged.enabled"), "true"))
		return xstrdup("does not allow privileged containers (allow_privileged = true in its docker "
			       "plugin)");
	if (m->options->gpu && most_gpus(node, m->options->gpu_vendor) < m->options->gpu_count)
		return xasprintf("has %" PRId64 " healthy GPU(s) of %s where %" PRId64 " are asked for",
				 most_gpus(node, m->options->gpu_vendor), m->options->gpu_vendor,
				 m->options->gpu_count);
	return NULL;
}

static int check_nodes(struct machine *m, struct err *e)
{
	AUTO(json_freep) cJSON *nodes = NULL;
	AUTO(buf_clear) struct buf reasons = BUF_INIT;
	const cJSON *node;
	int fit = 0, shown = 0;

	if (nomad_nodes(m->nomad, &nodes, e) < 0)
		return e->kind == ERR_AUTH ? hint_token(m, CAPABILITIES, e) : -1;
	cJSON_ArrayForEach (node, nodes) {
		AUTO(freep) char *why = node_lacks(m, node);
		const char *name = json_str(node, "Name");
		AUTO(freep) char *clean = text_cleaned(name ? name : "?", 80);

		if (!why)
			fit++;
		else if (shown++ < NODES_SHOWN)
			buf_printf(&reasons, "%snode %s %s", reasons.len ? "; " : "", clean, why);
	}
	if (!fit) {
		int all = cJSON_GetArraySize(nodes);

		err_set(e, ERR_REMOTE, "none of %d node(s) can take a machine: %s%s", all, buf_str(&reasons),
			shown > NODES_SHOWN ? "; …" : "");
		return err_hint(e,
				"docs/cluster.md in the project says how a client is set up for machines%s",
				m->options->gpu ? ", docs/gpu.md for GPUs" : "");
	}
	ok("%d of %d node(s) can take a machine (docker, with volumes and privileged)", fit,
	   cJSON_GetArraySize(nodes));
	return 0;
}

static int check_plan(struct machine *m, struct err *e)
{
	AUTO(freep) char *dir = spec_dir(m->options, PLAN_ID);
	AUTO(json_freep) cJSON *job = NULL, *plan = NULL;
	bool never;

	job = spec_machine(&(struct spec_request){.options = m->options,
						  .machine_id = PLAN_ID,
						  .owner = m->owner,
						  .version = m->version,
						  .start = "plan",
						  .dir = dir,
						  .docker = m->options->docker,
						  /* there is no volume yet */
						  .storage = STORAGE_EPHEMERAL});
	if (m->options->storage == STORAGE_HOST_VOLUME) {
		AUTO(freep)
		char *attribute =
			xasprintf("${attr.plugins.host_volume.%s.version}", m->options->host_volume_plugin);
		spec_constrain(job, attribute, "is_set", "");
	}
	if (nomad_job_plan(m->nomad, job, &plan, e) < 0) {
		if (e->kind == ERR_AUTH)
			hint_token(m, CAPABILITIES, e);
		else
			hint_refused(m, e);
		return -1;
	}
	const cJSON *failed = json_get(plan, "FailedTGAllocs");
	if (failed && failed->child)
		return placement_error(m, failed->child, &never, e);
	const char *warnings = json_str(plan, "Warnings");
	if (warnings && *warnings) {
		AUTO(freep) char *clean = text_cleaned(warnings, 400);
		log_warn("Nomad's plan: %s", clean);
	}
	ok("a machine of this size can be placed");
	return 0;
}

int machine_check(struct machine *m, struct err *e)
{
	static int (*const checks[])(struct machine * m, struct err * e) = {
		check_address, check_token, check_namespace, check_nodes, storage_check, check_plan,
	};

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		if (checks[i](m, e) < 0)
			return -1;
	return 0;
}
