#ifndef OPTIONS_H
#define OPTIONS_H

#include "buf.h"
#include "err.h"
#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The options: one table (src/options/table.c) says everything about each of them, and everything else comes
 * from it: parsing, validation, the help, the options of provider.yaml, docs/options.md.
 *
 * A variable that is empty counts as unset, because DevPod passes every option that was left empty as an
 * empty variable over the inherited one.
 */

/** Where the devcontainers run. */
enum options_docker {
	DOCKER_HOST = 1, /* on the client's Docker */
	DOCKER_DIND,     /* on the machine's own, inside the task */
};

/** What holds the machine's data. */
enum options_storage {
	STORAGE_EPHEMERAL,   /* a directory on its node */
	STORAGE_CSI,         /* a CSI volume */
	STORAGE_HOST_VOLUME, /* a dynamic host volume */
};

#define OPTIONS_IMAGE_HOST "ubuntu:22.04"
#define OPTIONS_IMAGE_DIND "docker:28-dind"
#define OPTIONS_NONE       "none" /* of an option that is a path: there is none */

/**
 * The values, checked; never written after options_load(). Strings are NULL where unset and there is no
 * default. Strings hold no control characters, and but for paths of this computer and the command they are
 * UTF-8.
 */
struct options {
	/* connection: as Nomad's own CLI reads them */
	char *addr;  /* http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH; no user, path, query */
	char *token; /* secret */
	char *namespace_;
	char *region;
	char *cacert;
	char *capath;
	char *client_cert;
	char *client_key;
	char *tls_server_name;
	bool skip_verify;
	char *http_auth; /* secret */
	bool exec_direct;

	/* size */
	int64_t cpu_mhz;
	int64_t cores; /* 0 = by cpu_mhz */
	int64_t memory_mb;
	int64_t memory_max_mb; /* 0 = memory_mb is the limit */
	int64_t disk_mb;

	/* placement */
	char **datacenters; /* NULL-terminated, never empty */
	char *node_pool;
	int64_t priority;
	cJSON *constraints; /* array of {attribute, operator, value}, all of them strings, or NULL */

	/* machine */
	char *image; /* never NULL */
	int64_t start_timeout_ms;
	int64_t placement_timeout_ms;
	char *host_dir;   /* absolute, no slash at the end */
	char *agent_path; /* both NULL where it is by default and there is no machine_id */
	char *agent_data_path;
	bool inject_git_credentials;
	bool inject_docker_credentials;
	int64_t inactivity_ms;    /* 0 = never; the agent's business */
	char *registry_certs_dir; /* of the node; NULL = none is mounted */
	char *registry_ca_cert;   /* likewise, a file */
	enum options_docker docker;

	/* storage */
	enum options_storage storage;
	char *host_volume_plugin;
	char *csi_plugin_id;
	char *csi_cluster_id; /* set where csi_parameters is not, with STORAGE_CSI */
	char *csi_pool;
	cJSON *csi_parameters; /* object of strings, or NULL */
	char *csi_fs_type;
	char **csi_mount_flags; /* NULL-terminated, or NULL */
	char *csi_access_mode;
	cJSON *csi_topology;     /* {required, preferred}, arrays of objects of strings, or NULL */
	char *csi_vault_path;    /* or NULL; vault_addr is set with it */
	char **csi_vault_fields; /* NULL-terminated, never empty */

	/* Vault, as its own CLI reads them */
	char *vault_addr;
	char *vault_namespace;
	char *vault_token; /* secret */
	char *vault_cacert;
	char *vault_capath;
	char *vault_client_cert;
	char *vault_client_key;
	char *vault_tls_server_name;
	bool vault_skip_verify;

	/* GPU */
	bool gpu;
	int64_t gpu_count;
	char *gpu_vendor;             /* nvidia, amd, intel */
	char *gpu_compute_capability; /* X.Y, or NULL */

	/* secrets in the machine; vault_addr and vault_policies are set where vault_secrets is */
	char *vault_role;
	char *vault_change_mode; /* restart, noop, signal */
	cJSON *vault_policies;   /* array of strings, or NULL */
	cJSON *vault_secrets;    /* array of {path, fields: {field: variable}}, or NULL; never empty */

	/* what DevPod says of the machine at hand */
	char *machine_id;       /* set where options_load() was told to require it */
	char *machine_folder;   /* or NULL */
	char *workspace_source; /* or NULL */
	char *command;          /* COMMAND or DEVCONTAINER_COMMAND, or NULL */
	bool debug;             /* DEVPOD_DEBUG or DEVSY_DEBUG */

	/* as given, before the rules between them: docker and storage are what counts */
	int docker_mode, storage_mode, storage_type;

	char *notices;                 /* what of the workspace's file has no effect, one a line */
	struct option_origin *origins; /* one a table row; see options_origin() */
};

/** Where values come from: get(arg, name) is the value or NULL, borrowed until the next call. */
struct options_source {
	const char *(*get)(void *arg, const char *name);
	void *arg;
};

/** options_environment() - the process's environment as a source. */
struct options_source options_environment(void);

/**
 * options_load() - read, check and default every option.
 * @require_machine: MACHINE_ID must be there and be [a-zA-Z0-9._-]{1,63} (not "." or "..").
 * @ret: for options_freep(); written on success only.
 * Return: 0, or -1 with ERR_CONFIG: all mistakes at once, one a line, each naming variable and value (secrets
 * without the value), and a hint where one of them is an option's.
 */
int options_load(const struct options_source *from, bool require_machine, struct options **ret,
		 struct err *e) MUST_CHECK;
/**
 * options_load_workspace() - the same with the workspace's own file, .devpod/nomad.yaml, between @from and
 * the defaults. @from says where it is (WORKSPACE_SOURCE, MACHINE_FOLDER).
 */
int options_load_workspace(const struct options_source *from, bool require_machine, struct options **ret,
			   struct err *e) MUST_CHECK;
void options_freep(struct options **p);

/** options_origin() - "NOMAD_TOKEN" for what came from that variable, ".devpod/nomad.yaml:3" from that line,
 * "the default" otherwise; borrowed. */
const char *options_origin(const struct options *o, const char *name);

/** options_docker_name(), options_storage_name() - as they stand in the job's Meta: "host"; "ephemeral",
 * "csi", "host". */
const char *options_docker_name(enum options_docker docker);
const char *options_storage_name(enum options_storage storage);
/** options_docker_named(), options_storage_named() - and back. Return: 0, or -1 for anything else. */
int options_docker_named(const char *name, enum options_docker *ret) MUST_CHECK;
int options_storage_named(const char *name, enum options_storage *ret) MUST_CHECK;

/** options_default() - an option's default as text, or NULL. */
const char *options_default(const char *name);

/* What the table generates. Each appends text to @to. */

/** options_help() - for `help`: groups, names, defaults, one line of text each. */
void options_help(struct buf *to);
/** options_provider_yaml() - the `options:` and `optionGroups:` of provider.yaml. */
void options_provider_yaml(struct buf *to);
/** options_markdown() - docs/options.md. */
void options_markdown(struct buf *to);

#endif
