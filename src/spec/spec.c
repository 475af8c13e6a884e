#include "spec.h"

#include "machine_sh.h"
#include "text.h"

#define NS_PER_S       INT64_C(1000000000)
#define KILL_TIMEOUT_S 30
#define NODE_ID        "${node.unique.id}"
#define DOCKER_SOCK    "/var/run/docker.sock"
#define REGISTRY_CERTS "/etc/docker/certs.d:/etc/docker/certs.d:ro"
#define REGISTRY_CA    "/usr/local/share/ca-certificates/registry.cluster.crt"
#define CLEANUP_CPU    100
#define CLEANUP_MEMORY 256 /* MB: enough for a package manager, where the image has no curl */
#define LOG_FILE_MB    2
#define CLEANUP_DISK   20 /* MB: more than the task's log */
#define CLEANUP_PREFIX "devpod-cleanup-"

static cJSON *constraint(const char *attribute, const char *operator_, const char *value)
{
	cJSON *c = json_object();

	json_put_str(c, "LTarget", attribute);
	json_put_str(c, "RTarget", value);
	json_put_str(c, "Operand", operator_);
	return c;
}

static void add_constraints(cJSON *job, const struct spec_request *rq, bool users)
{
	cJSON *list = json_put(job, "Constraints", json_array());
	const cJSON *c;

	/* the machine script and docker.sock are Linux's */
	json_push(list, constraint("${attr.kernel.name}", "=", "linux"));
	if (rq->node_id)
		json_push(list, constraint(NODE_ID, "=", rq->node_id));
	if (!users)
		return;
	cJSON_ArrayForEach (c, rq->options->constraints) {
		const char *operator_ = json_str(c, "operator");
		const char *value = json_str(c, "value");

		json_push(list, constraint(json_str(c, "attribute"), operator_ ? operator_ : "=",
					   value ? value : ""));
	}
}

static void add_meta(cJSON *job, const struct spec_request *rq, const char *kind)
{
	cJSON *meta = json_put(job, "Meta", json_object());

	json_put_str(meta, SPEC_META_PROVIDER, SPEC_PROVIDER);
	json_put_str(meta, SPEC_META_MACHINE, rq->machine_id);
	json_put_str(meta, SPEC_META_KIND, kind);
	json_put_str(meta, SPEC_META_OWNER, rq->owner);
	json_put_str(meta, SPEC_META_VERSION, rq->version);
	json_put_str(meta, SPEC_META_START, rq->start);
	json_put_str(meta, SPEC_META_DIR, rq->dir);
}

static cJSON *new_job(const struct spec_request *rq, const char *id, const char *pool)
{
	const struct options *o = rq->options;
	cJSON *job = json_object();

	json_put_str(job, "ID", id);
	json_put_str(job, "Name", id);
	/* PID 1 ending with 0 is then a stop, without any credential */
	json_put_str(job, "Type", "batch");
	if (o->namespace_)
		json_put_str(job, "Namespace", o->namespace_);
	if (o->region)
		json_put_str(job, "Region", o->region);
	if (pool)
		json_put_str(job, "NodePool", pool);
	json_put_int(job, "Priority", o->priority);
	return job;
}

/* Return: the tasks' array. */
static cJSON *new_group(cJSON *job, int64_t disk_mb)
{
	cJSON *group = json_push(json_put(job, "TaskGroups", json_array()), json_object());
	cJSON *restart, *reschedule, *disk;

	json_put_str(group, "Name", SPEC_GROUP);
	json_put_int(group, "Count", 1);
	restart = json_put(group, "RestartPolicy", json_object());
	json_put_int(restart, "Attempts", 0);
	json_put_int(restart, "Interval", 60 * NS_PER_S);
	json_put_int(restart, "Delay", NS_PER_S);
	json_put_str(restart, "Mode", "fail");
	reschedule = json_put(group, "ReschedulePolicy", json_object());
	json_put_int(reschedule, "Attempts", 0);
	json_put_bool(reschedule, "Unlimited", false);
	disk = json_put(group, "EphemeralDisk", json_object());
	json_put_int(disk, "SizeMB", disk_mb);
	return json_put(group, "Tasks", json_array());
}

static void add_resources(cJSON *task, int64_t cpu, int64_t cores, int64_t memory, int64_t memory_max)
{
	cJSON *r = json_put(task, "Resources", json_object());

	/* Nomad takes one of the two */
	if (cores)
		json_put_int(r, "Cores", cores);
	else
		json_put_int(r, "CPU", cpu);
	json_put_int(r, "MemoryMB", memory);
	if (memory_max)
		json_put_int(r, "MemoryMaxMB", memory_max);
}

/* A task that runs one part of the machine script, with docker's socket and one directory at the same path as
 * outside. */
struct script {
	cJSON *task, *config, *volumes;
};

/* Nomad's default of 100 MB a task would have to fit into the ephemeral disk, and the script says little. */
static void add_log_limit(cJSON *task)
{
	cJSON *limit = json_put(task, "LogConfig", json_object());

	json_put_int(limit, "MaxFiles", 2);
	json_put_int(limit, "MaxFileSizeMB", LOG_FILE_MB);
}

static struct script script_task(cJSON *tasks, const struct spec_request *rq, const char *name,
				 const char *part, const char *dir)
{
	cJSON *task = json_push(tasks, json_object());
	cJSON *config, *env, *volumes;
	/* dockerd resolves the devcontainers' bind mounts on the host */
	AUTO(freep) char *same = xasprintf("%s:%s", dir, dir);

	json_put_str(task, "Name", name);
	json_put_str(task, "Driver", "docker");
	json_put_str(task, "User",
		     "root"); /* whatever the image says: the script mounts, installs and trusts */
	config = json_put(task, "Config", json_object());
	json_put_str(config, "image", rq->image ? rq->image : rq->options->image);
	/* an image's own entrypoint is not ours to know */
	json_put(config, "entrypoint", json_strings((const char *[]){"/bin/sh", NULL}));
	json_put_str(config, "command", "-c");
	json_put(config, "args", json_strings((const char *[]){machine_sh, "machine", part, NULL}));
	json_put_str(config, "network_mode", "bridge");
	volumes = json_put(config, "volumes", json_array());
	json_push_str(volumes, DOCKER_SOCK ":" DOCKER_SOCK);
	json_push_str(volumes, same);
	env = json_put(task, "Env", json_object());
	json_put_str(env, "DEVPOD_MACHINE_DIR", rq->dir);
	json_put_int(task, "KillTimeout", KILL_TIMEOUT_S * NS_PER_S);
	add_log_limit(task);
	return (struct script){task, config, volumes};
}

static void add_machine_resources(cJSON *task, const struct options *o)
{
	add_resources(task, o->cpu_mhz, o->cores, o->memory_mb, o->memory_max_mb);
}

cJSON *spec_machine(const struct spec_request *rq)
{
	const struct options *o = rq->options;
	cJSON *job = new_job(rq, rq->machine_id, o->node_pool);

	json_put(job, "Datacenters", json_strings((const char *const *)o->datacenters));
	add_meta(job, rq, SPEC_KIND_MACHINE);
	add_constraints(job, rq, true);

	cJSON *tasks = new_group(job, o->disk_mb);
	struct script machine = script_task(tasks, rq, SPEC_TASK, "run", rq->dir);
	json_put_bool(machine.config, "init", true); /* reaps, and forwards TERM to the script */
	json_put_bool(machine.config, "privileged", true);
	json_push_str(machine.volumes, REGISTRY_CERTS);
	json_push_str(machine.volumes, REGISTRY_CA ":" REGISTRY_CA ":ro");
	add_machine_resources(machine.task, o);

	/* Tells a stop from a mere restart of the task. Nomad counts the greater of the two tasks, not their
	 * sum. */
	struct script stopped = script_task(tasks, rq, SPEC_TASK_STOPPED, "stopped", rq->dir);
	json_put_str(json_put(stopped.task, "Lifecycle", json_object()), "Hook", "poststop");
	add_machine_resources(stopped.task, o);
	return job;
}

cJSON *spec_cleanup(const struct spec_request *rq)
{
	AUTO(freep) char *id = spec_cleanup_id(rq->machine_id);
	AUTO(freep) char *parent = xstrdup(rq->dir);
	char *slash = strrchr(parent, '/');
	cJSON *job = new_job(rq, id, "all");

	json_put(job, "Datacenters", json_strings((const char *[]){"*", NULL}));
	add_meta(job, rq, SPEC_KIND_CLEANUP);
	add_constraints(job, rq, false);

	/* a mount point cannot be removed from inside: mount the directory above it */
	if (slash && slash != parent)
		*slash = '\0';
	struct script cleanup =
		script_task(new_group(job, CLEANUP_DISK), rq, SPEC_TASK_CLEANUP, "delete", parent);
	add_resources(cleanup.task, CLEANUP_CPU, 0, CLEANUP_MEMORY, 0);
	return job;
}

char *spec_cleanup_id(const char *machine_id)
{
	return xasprintf(CLEANUP_PREFIX "%s", machine_id);
}

char *spec_dir(const struct options *o, const char *machine_id)
{
	return xasprintf("%s/%s", o->host_dir, machine_id);
}

const char *spec_meta(const cJSON *job, const char *name)
{
	return json_str(json_get(job, "Meta"), name);
}

bool spec_is_ours(const cJSON *job, const char *machine_id)
{
	return text_eq(spec_meta(job, SPEC_META_PROVIDER), SPEC_PROVIDER) &&
	       text_eq(spec_meta(job, SPEC_META_MACHINE), machine_id);
}

const char *spec_node(const cJSON *job)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, json_get(job, "Constraints"))
		if (text_eq(json_str(c, "LTarget"), NODE_ID))
			return json_str(c, "RTarget");
	return NULL;
}
