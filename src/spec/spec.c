#include "spec.h"

#include "machine_sh.h"
#include "secrets_sh.h"
#include "spec_private.h"
#include "text.h"

#define NS_PER_S       INT64_C(1000000000)
#define KILL_TIMEOUT_S 30
#define MB             (INT64_C(1) << 20) /* as Nomad counts its MB */
#define NODE_ID        "${node.unique.id}"
#define DOCKER_SOCK    "/var/run/docker.sock"
#define CLEANUP_CPU    100
#define CLEANUP_MEMORY 256 /* MB: enough for a package manager, where the image has no curl */
#define LOG_FILE_MB    2
#define CLEANUP_DISK   20     /* MB: more than the task's log */
#define LOGS_DISK      50     /* MB: of a machine whose data are on a volume */
#define VOLUME         "data" /* in the job */
#define WORKSPACE      "/workspace"
#define CLEANUP_PREFIX "devpod-cleanup-"

cJSON *spec_constraint(const char *attribute, const char *operator_, const char *value)
{
	cJSON *c = json_object();

	json_put_str(c, "LTarget", attribute);
	json_put_str(c, "RTarget", value);
	json_put_str(c, "Operand", operator_);
	return c;
}

static void add_user_constraints(cJSON *list, const struct spec_request *rq)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, rq->options->constraints) {
		const char *operator_ = json_str(c, "operator");
		const char *value = json_str(c, "value");

		json_push(list, spec_constraint(json_str(c, "attribute"), operator_ ? operator_ : "=",
						value ? value : ""));
	}
}

static void add_constraints(cJSON *job, const struct spec_request *rq, bool users)
{
	cJSON *list = json_put(job, "Constraints", json_array());

	/* the machine script and docker.sock are Linux's */
	json_push(list, spec_constraint("${attr.kernel.name}", "=", "linux"));
	if (rq->node_id)
		json_push(list, spec_constraint(NODE_ID, "=", rq->node_id));
	if (users)
		add_user_constraints(list, rq);
}

void spec_constrain(cJSON *job, const char *attribute, const char *operator_, const char *value)
{
	json_push(cJSON_GetObjectItemCaseSensitive(job, "Constraints"),
		  spec_constraint(attribute, operator_, value));
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
	json_put_str(meta, SPEC_META_DOCKER, options_docker_name(rq->docker));
	json_put_str(meta, SPEC_META_STORAGE, options_storage_name(rq->storage));
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

/* A task that runs one part of the machine script. */
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

/* docker:dind and its kind declare a volume where docker's data are by default. Nothing uses it here, docker
 * makes one for each container all the same, and Nomad leaves it on the client when it removes the container.
 */
static void cover_image_volume(cJSON *config)
{
	cJSON *mount = json_push(json_put(config, "mount", json_array()), json_object());

	json_put_str(mount, "type", "tmpfs");
	json_put_str(mount, "target", "/var/lib/docker");
}

/* @dir: of the node, at the same path in the task, because its dockerd resolves the devcontainers' bind
 * mounts on the host; NULL where the data are on a volume. */
static struct script script_task(cJSON *tasks, const struct spec_request *rq, const char *name,
				 const char *part, const char *dir)
{
	cJSON *task = json_push(tasks, json_object());
	cJSON *config, *env, *volumes;

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
	if (rq->docker == DOCKER_HOST)
		json_push_str(volumes, DOCKER_SOCK ":" DOCKER_SOCK);
	else
		cover_image_volume(config);
	if (dir) {
		AUTO(freep) char *same = xasprintf("%s:%s", dir, dir);
		json_push_str(volumes, same);
	}
	env = json_put(task, "Env", json_object());
	json_put_str(env, "DEVPOD_MACHINE_DIR", rq->dir);
	json_put_str(env, "DEVPOD_DOCKER_MODE", options_docker_name(rq->docker));
	if (rq->only_of)
		json_put_str(env, "DEVPOD_ONLY_OF", rq->only_of);
	if (rq->expect_data)
		json_put_str(env, "DEVPOD_EXPECT_DATA", "1");
	json_put_int(task, "KillTimeout", KILL_TIMEOUT_S * NS_PER_S);
	add_log_limit(task);
	return (struct script){task, config, volumes};
}

/* The machine script calls what is before it where it is there. */
static void add_secrets_script(cJSON *task, cJSON *config, const struct spec_request *rq)
{
	AUTO(freep) char *both = xasprintf("%s%s", secrets_sh, machine_sh);
	AUTO(freep)
	char *data = rq->options->agent_data_path ? xstrdup(rq->options->agent_data_path)
						  : xasprintf("%s/agent/data", rq->dir);

	json_put_str(cJSON_GetObjectItemCaseSensitive(task, "Env"), "DEVPOD_MACHINE_DATA", data);

	cJSON_ReplaceItemInArray(cJSON_GetObjectItemCaseSensitive(config, "args"), 0,
				 cJSON_CreateString(both));
}

static void add_machine_resources(cJSON *task, const struct options *o)
{
	add_resources(task, o->cpu_mhz, o->cores, o->memory_mb, o->memory_max_mb);
}

static const char *access_mode(const struct spec_request *rq)
{
	return rq->storage == STORAGE_CSI ? rq->options->csi_access_mode : "single-node-single-writer";
}

static cJSON *csi_mount_options(const struct options *o)
{
	cJSON *mount = json_object();

	json_put_str(mount, "FSType", o->csi_fs_type);
	if (o->csi_mount_flags)
		json_put(mount, "MountFlags", json_strings((const char *const *)o->csi_mount_flags));
	return mount;
}

static void mount_volume(cJSON *mounts, const char *destination)
{
	cJSON *mount = json_push(mounts, json_object());

	json_put_str(mount, "Volume", VOLUME);
	json_put_str(mount, "Destination", destination);
}

/* The volume is there twice: where people look for it, and at the path that DevPod's agent is told for every
 * machine. */
static void add_volume(cJSON *job, cJSON *task, const struct spec_request *rq)
{
	AUTO(freep) char *id = spec_volume_id(rq->machine_id);
	cJSON *group = cJSON_GetArrayItem(json_get(job, "TaskGroups"), 0);
	cJSON *volume = json_put(json_put(group, "Volumes", json_object()), VOLUME, json_object());

	json_put_str(volume, "Name", VOLUME);
	json_put_str(volume, "Type", rq->storage == STORAGE_CSI ? "csi" : "host");
	json_put_str(volume, "Source", id);
	json_put_str(volume, "AccessMode", access_mode(rq));
	json_put_str(volume, "AttachmentMode", "file-system");
	if (rq->storage == STORAGE_CSI)
		json_put(volume, "MountOptions", csi_mount_options(rq->options));
	cJSON *mounts = json_put(task, "VolumeMounts", json_array());
	mount_volume(mounts, WORKSPACE);
	mount_volume(mounts, rq->dir);
}

cJSON *spec_machine(const struct spec_request *rq)
{
	const struct options *o = rq->options;
	bool on_node = rq->storage == STORAGE_EPHEMERAL;
	cJSON *job = new_job(rq, rq->machine_id, o->node_pool);

	json_put(job, "Datacenters", json_strings((const char *const *)o->datacenters));
	add_meta(job, rq, SPEC_KIND_MACHINE);
	add_constraints(job, rq, true);

	cJSON *tasks = new_group(job, on_node ? o->disk_mb : LOGS_DISK);
	struct script machine = script_task(tasks, rq, SPEC_TASK, "run", on_node ? rq->dir : NULL);
	json_put_bool(machine.config, "init", true); /* reaps, and forwards TERM to the script */
	json_put_bool(machine.config, "privileged", true);
	spec_add_registries(machine.volumes, o);
	add_machine_resources(machine.task, o);
	spec_add_gpu(cJSON_GetObjectItemCaseSensitive(job, "Constraints"), machine.task, o);
	spec_add_vault(machine.task, o);
	if (o->vault_secrets)
		add_secrets_script(machine.task, machine.config, rq);
	if (!on_node)
		add_volume(job, machine.task, rq);
	if (rq->docker == DOCKER_DIND) /* nothing of it runs outside this task */
		return job;

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

static cJSON *topologies(const cJSON *list)
{
	cJSON *out = json_array();
	const cJSON *segments;

	cJSON_ArrayForEach (segments, list)
		json_put(json_push(out, json_object()), "Segments", cJSON_Duplicate(segments, true));
	return out;
}

static void add_csi(cJSON *volume, const struct options *o, const char *id)
{
	cJSON *parameters;

	json_put_str(volume, "ID", id);
	json_put_str(volume, "PluginID", o->csi_plugin_id);
	json_put(volume, "MountOptions", csi_mount_options(o));
	if (o->csi_parameters) {
		json_put(volume, "Parameters", cJSON_Duplicate(o->csi_parameters, true));
	} else {
		/* of ceph-csi's RBD driver: what any kernel can map */
		parameters = json_put(volume, "Parameters", json_object());
		json_put_str(parameters, "clusterID", o->csi_cluster_id);
		json_put_str(parameters, "pool", o->csi_pool);
		json_put_str(parameters, "imageFeatures", "layering");
		json_put_str(parameters, "csi.storage.k8s.io/fstype", o->csi_fs_type);
	}
	if (o->csi_topology) {
		cJSON *wanted = json_put(volume, "RequestedTopologies", json_object());
		json_put(wanted, "Required", topologies(json_get(o->csi_topology, "required")));
		json_put(wanted, "Preferred", topologies(json_get(o->csi_topology, "preferred")));
	}
}

/* A host volume is placed before the job is, by nothing but these: what the job will ask of its node. */
static void add_host_volume(cJSON *volume, const struct spec_request *rq)
{
	const struct options *o = rq->options;
	cJSON *list = json_put(volume, "Constraints", json_array());
	AUTO(buf_clear) struct buf datacenters = BUF_INIT;

	json_put_str(volume, "PluginID", o->host_volume_plugin);
	if (o->node_pool)
		json_put_str(volume, "NodePool", o->node_pool);
	json_push(list, spec_constraint("${attr.kernel.name}", "=", "linux"));
	json_push(list, spec_constraint("${attr.driver.docker.privileged.enabled}", "=", "true"));
	if (!text_eq(o->datacenters[0], "*")) {
		for (char **d = o->datacenters; *d; d++) {
			buf_puts(&datacenters, d == o->datacenters ? "^(" : "|");
			text_glob_regexp(&datacenters, *d);
		}
		buf_puts(&datacenters, ")$");
		json_push(list, spec_constraint("${node.datacenter}", "regexp", buf_str(&datacenters)));
	}
	add_user_constraints(list, rq);
}

cJSON *spec_volume(const struct spec_request *rq)
{
	const struct options *o = rq->options;
	AUTO(freep) char *id = spec_volume_id(rq->machine_id);
	cJSON *volume = json_object(), *capability;
	bool csi = rq->storage == STORAGE_CSI;

	if (csi && o->namespace_) {
		/* a CSI plugin knows no namespaces, and the storage by this name alone (measured) */
		AUTO(freep) char *name = xasprintf("%s.%s", o->namespace_, id);
		json_put_str(volume, "Name", name);
	} else {
		json_put_str(volume, "Name", id);
	}
	if (o->namespace_)
		json_put_str(volume, "Namespace", o->namespace_);
	json_put_int(volume, csi ? "RequestedCapacityMin" : "RequestedCapacityMinBytes", o->disk_mb * MB);
	if (!csi) /* Nomad does not take the one without the other */
		json_put_int(volume, "RequestedCapacityMaxBytes", o->disk_mb * MB);
	capability = json_push(json_put(volume, "RequestedCapabilities", json_array()), json_object());
	json_put_str(capability, "AccessMode", access_mode(rq));
	json_put_str(capability, "AttachmentMode", "file-system");
	if (csi)
		add_csi(volume, o, id);
	else
		add_host_volume(volume, rq);
	return volume;
}

char *spec_volume_id(const char *machine_id)
{
	return xasprintf("devpod-%s", machine_id);
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
