#ifndef SPEC_H
#define SPEC_H

#include "json.h"
#include "options.h"

/*
 * Options to job JSON; pure, and byte-stable for the same input. The reasons for each member are in spec.c,
 * what was measured in CONTRIBUTING.md.
 */

#define SPEC_GROUP        "machine"
#define SPEC_TASK         "machine"
#define SPEC_TASK_STOPPED "stopped" /* poststop: stops the devcontainers */
#define SPEC_TASK_CLEANUP "cleanup" /* the clean-up job's */

/** What the machine script prints, a line each (src/spec/machine.sh). */
#define SPEC_SAYS_READY "machine: ready"

/** … and ends with, as Nomad shows exit codes, when it should have found data and there are none. */
#define SPEC_EXIT_NO_DATA "66"

/* The job's Meta: how a machine is known as ours. Each is also NOMAD_META_… in the task. */
#define SPEC_META_PROVIDER "devpod_provider" /* SPEC_PROVIDER */
#define SPEC_META_MACHINE  "devpod_machine"
#define SPEC_META_KIND     "devpod_kind"  /* SPEC_KIND_MACHINE or SPEC_KIND_CLEANUP */
#define SPEC_META_OWNER    "devpod_owner" /* user@host that created it */
#define SPEC_META_VERSION  "devpod_provider_version"
#define SPEC_META_START    "devpod_start"  /* another one at every start, or Nomad would not start it again */
#define SPEC_META_DIR      "devpod_dir"    /* the machine's directory there */
#define SPEC_META_DOCKER   "devpod_docker" /* options_docker_name() */
#define SPEC_META_STORAGE  "devpod_storage" /* options_storage_name() */

#define SPEC_PROVIDER     "devpod-provider-nomad"
#define SPEC_KIND_MACHINE "machine"
#define SPEC_KIND_CLEANUP "cleanup"

/** All borrowed during the call. */
struct spec_request {
	const struct options *options;
	const char *machine_id; /* the job's ID */
	const char *owner;
	const char *version;
	const char *start;   /* the start stamp */
	const char *node_id; /* pinned to that node, or NULL */
	const char *dir;     /* the machine's directory on the client */
	const char *image;   /* NULL = the options' */
	enum options_docker docker;
	enum options_storage storage;
	const char *only_of; /* a clean-up removes nothing but what the start of that stamp made, or NULL */
	bool expect_data;    /* the machine ran before: its script refuses to start on an empty directory */
};

/** spec_machine() - the machine's job, for json_freep(). */
cJSON *spec_machine(const struct spec_request *rq);

/**
 * spec_cleanup() - a short job that removes what the machine left on node_id (required): its devcontainers
 * (docker mode host) and dir. It runs in any node pool, since it is pinned.
 */
cJSON *spec_cleanup(const struct spec_request *rq);

/** spec_volume_id() - a persistent machine's volume: its ID (CSI), its name (host volume), for free(). */
char *spec_volume_id(const char *machine_id);

/**
 * spec_volume() - what Nomad is asked for when a persistent machine's volume is made (rq->storage says which
 * kind). Its Secrets are the caller's to add.
 */
cJSON *spec_volume(const struct spec_request *rq);

/** spec_cleanup_id() - the clean-up job's ID for a machine, for free(). */
char *spec_cleanup_id(const char *machine_id);

/** spec_dir() - the machine's directory by the options: host_dir/machine_id, for free(). */
char *spec_dir(const struct options *o, const char *machine_id);

/** spec_constrain() - add a constraint on the node to a job. */
void spec_constrain(cJSON *job, const char *attribute, const char *operator_, const char *value);

/** spec_is_ours() - the job's Meta says that this provider made it for that machine. */
bool spec_is_ours(const cJSON *job, const char *machine_id);

/**
 * spec_node() - the node that the job is bound to, borrowed, or NULL: a constraint, since Meta cannot change
 * without a restart.
 */
const char *spec_node(const cJSON *job);

/** spec_meta() - a member of the job's Meta, borrowed, or NULL. */
const char *spec_meta(const cJSON *job, const char *name);

#endif
