#include "table.h"

#include "options.h"
#include "text.h"
#include "values.h"

#include <inttypes.h>

static const char *const true_false[] = {"true", "false", NULL};
/* in the order of their enums in options.h */
static const char *const docker_modes[] = {"host", "dind", NULL};
static const char *const storage_modes[] = {"ephemeral", "persistent", NULL};
static const char *const storage_types[] = {"csi", "host", NULL};
static const char *const access_modes[] = {"single-node-writer", "multi-node-single-writer",
					   "multi-node-multi-writer", NULL};
static const char *const change_modes[] = {"restart", "noop", "signal", NULL};
static const char *const gpu_vendors[] = {"nvidia", "amd", "intel", NULL};

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
		.name = "WORKSPACE_SOURCE",
		.type = OPTION_PATH,
		.place = PLACE_HOST,
		.group = GROUP_HOST,
		.help = "What the workspace is made from: `local:` and a folder, whose .devpod/nomad.yaml is "
			"read, or `git:`, `image:` or `container:` and what that is.",
		.since = "0.1.0",
		.offset = AT(workspace_source),
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
		.harmless = true,
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
		.harmless = true,
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
		.harmless = true,
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
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(memory_max_mb),
	},
	{
		.name = "NOMAD_DISKMB",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_SIZE,
		.initial = "300",
		.help = "Disk space in MB: what Nomad reserves on the node for the machine, or the capacity "
			"of "
			"its volume, where NOMAD_STORAGE_MODE is persistent. A volume is expanded at the "
			"next "
			"start when this grows, where its plugin can do that.",
		.unit = "MB",
		.min = 10,
		.max = 67108864,
		.harmless = true,
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
		.name = "NOMAD_DOCKER_MODE",
		.type = OPTION_CHOICE,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.help = "`host`: the devcontainers run on the node's Docker, whose images they share. "
			"`dind`: a "
			"Docker of the machine's own, inside the job, so that Nomad's limits hold for the "
			"devcontainers too. Unset, it is host with ephemeral and dind with persistent "
			"storage.",
		.values = docker_modes,
		.lasting = true,
		.since = "0.1.0",
		.offset = AT(docker_mode),
	},
	{
		.name = "NOMAD_IMAGE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.help = "The image that the machine runs. It needs a POSIX shell; what the machine lacks "
			"(curl, "
			"git, CA certificates, docker) is installed, once. Unset, it is " OPTIONS_IMAGE_HOST
			", or " OPTIONS_IMAGE_DIND " where NOMAD_DOCKER_MODE is dind.",
		.max_len = 512,
		.check = check_image,
		.pattern = "^([a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511})?$",
		.wants = "an image's name (like ubuntu:22.04 or registry.example/team/image:tag)",
		.harmless = true,
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
		.devpods = true,
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
		.devpods = true,
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
		.devpods = true,
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
		.devpods = true,
		.since = "0.1.0",
		.offset = AT(inject_docker_credentials),
	},
	{
		.name = "INACTIVITY_TIMEOUT",
		.type = OPTION_DURATION,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.help = "Stop the machine when nobody has used it for that long, like 30m; `devpod up` "
			"starts it again. DevPod's agent in the machine looks after it. Unset, it runs until "
			"it is stopped.",
		.min = SECONDS(1),
		.max = HOURS(8784),
		.pattern = "^(([0-9]+(ms|s|m|h))+)?$",
		.devpods = true,
		.since = "0.1.0",
		.offset = AT(inactivity_ms),
	},
	{
		.name = "NOMAD_REGISTRY_CERTS_DIR",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "/etc/docker/certs.d",
		.help = "The directory on the node that holds the certificates of private registries, "
			"HOST:PORT/ca.crt; the machine's Docker trusts them. `none` where there is none.",
		.max_len = 512,
		.check = check_off_or_path,
		.pattern = "^(none|/[a-zA-Z0-9._/-]{1,511})$",
		.wants = "an absolute path (of letters, digits, - . _ and /), or none",
		.since = "0.1.0",
		.offset = AT(registry_certs_dir),
	},
	{
		.name = "NOMAD_REGISTRY_CA_CERT",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_MACHINE,
		.initial = "/usr/local/share/ca-certificates/registry.cluster.crt",
		.help = "A CA certificate on the node (PEM) that all programs in the machine trust. `none` "
			"where there is none.",
		.max_len = 512,
		.check = check_off_or_path,
		.pattern = "^(none|/[a-zA-Z0-9._/-]{1,511})$",
		.wants = "an absolute path (of letters, digits, - . _ and /), or none",
		.since = "0.1.0",
		.offset = AT(registry_ca_cert),
	},

	{
		.name = "NOMAD_STORAGE_MODE",
		.type = OPTION_CHOICE,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "ephemeral",
		.help = "`ephemeral`: the machine's data are in a directory on its node, and it starts there "
			"again after a stop. `persistent`: they are on a volume, which can move between "
			"nodes where the storage can. Both keep the data until the machine is deleted.",
		.values = storage_modes,
		.lasting = true,
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(storage_mode),
	},
	{
		.name = "NOMAD_STORAGE_TYPE",
		.type = OPTION_CHOICE,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "csi",
		.help = "What makes a persistent machine's volume: `csi`, a CSI plugin; `host`, a dynamic "
			"host volume of its node (Nomad 1.10 or later).",
		.values = storage_types,
		.lasting = true,
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(storage_type),
	},
	{
		.name = "NOMAD_HOST_VOLUME_PLUGIN",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "mkdir",
		.help = "The plugin that makes dynamic host volumes. `mkdir` is part of Nomad, and sets no "
			"limit to their size.",
		.lasting = true,
		.check = check_word,
		.pattern = "^[a-zA-Z0-9._-]{1,128}$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(host_volume_plugin),
	},
	{
		.name = "NOMAD_CSI_PLUGIN_ID",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "ceph-csi",
		.help = "The CSI plugin's ID in Nomad.",
		.lasting = true,
		.check = check_word,
		.pattern = "^[a-zA-Z0-9._-]{1,128}$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_plugin_id),
	},
	{
		.name = "NOMAD_CSI_CLUSTER_ID",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.help = "The Ceph cluster's ID (fsid), for ceph-csi; needed unless NOMAD_CSI_PARAMETERS_JSON "
			"is there.",
		.lasting = true,
		.check = check_word,
		.pattern = "^([a-zA-Z0-9._-]{1,128})?$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_cluster_id),
	},
	{
		.name = "NOMAD_CSI_POOL",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "nomad",
		.help = "The Ceph pool, for ceph-csi.",
		.lasting = true,
		.check = check_word,
		.pattern = "^[a-zA-Z0-9._-]{1,128}$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_pool),
	},
	{
		.name = "NOMAD_CSI_PARAMETERS_JSON",
		.type = OPTION_JSON,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.help = "For another plugin than ceph-csi: what it wants to be told when a volume is made, a "
			"JSON object of strings ({} for nothing). It takes the place of the parameters for "
			"Ceph.",
		.max_len = 65536,
		.convert = convert_parameters,
		.lasting = true,
		.wants = "a JSON object of strings",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_parameters),
	},
	{
		.name = "NOMAD_CSI_FS_TYPE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "ext4",
		.help = "The file system on a CSI volume.",
		.lasting = true,
		.check = check_word,
		.pattern = "^[a-zA-Z0-9._-]{1,128}$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_fs_type),
	},
	{
		.name = "NOMAD_CSI_MOUNT_FLAGS",
		.type = OPTION_LIST,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.help = "Mount options for a CSI volume, with commas between, like noatime,discard.",
		.check = check_list,
		.wants = "mount options with commas between",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_mount_flags),
	},
	{
		.name = "NOMAD_CSI_ACCESS_MODE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "single-node-writer",
		.help = "How a CSI volume is claimed. A machine is one writer; some plugins know only the "
			"other modes.",
		.values = access_modes,
		.lasting = true,
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_access_mode),
	},
	{
		.name = "NOMAD_CSI_TOPOLOGY_JSON",
		.type = OPTION_JSON,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.help = "Where a CSI volume must, or should, be reachable from: a JSON object of required "
			"and preferred, both arrays of segments, as in {\"required\": [{\"rack\": \"R1\"}]}.",
		.max_len = 65536,
		.convert = convert_topology,
		.lasting = true,
		.wants = "a JSON object",
		.harmless = true,
		.since = "0.1.0",
		.offset = AT(csi_topology),
	},
	{
		.name = "NOMAD_CSI_VAULT_PATH",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.help = "The KV secret (v1 or v2) in Vault that holds what the CSI plugin needs to make, "
			"mount and delete volumes, like secret/data/ceph/csi. It is read by this program "
			"with VAULT_TOKEN. Unset, the plugin gets no secrets.",
		.max_len = 512,
		.check = check_vault_path,
		.wants = "a secret's path in Vault, its mount first",
		.since = "0.1.0",
		.offset = AT(csi_vault_path),
	},
	{
		.name = "NOMAD_CSI_VAULT_FIELDS",
		.type = OPTION_LIST,
		.place = PLACE_PROVIDER,
		.group = GROUP_STORAGE,
		.initial = "userID,userKey",
		.help = "The fields of that secret that the plugin gets, with commas between; * for all of "
			"them.",
		.check = check_list,
		.wants = "names with commas between",
		.since = "0.1.0",
		.offset = AT(csi_vault_fields),
	},

	{
		.name = "VAULT_ADDR",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.help = "Where Vault's API is.",
		.check = check_address,
		.pattern = "^((https?://[^/?#@[:space:]]+(/[^?#@[:space:]]*)?)|(unix:///[^[:cntrl:]]+))?$",
		.inherits = true,
		.wants = "http://HOST:PORT, https://HOST:PORT or unix:///PATH, without user and password",
		.since = "0.1.0",
		.offset = AT(vault_addr),
	},
	{
		.name = "VAULT_NAMESPACE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.help = "Vault's namespace, where it has such. VAULT_SECRETS_JSON takes secrets from another "
			"one "
			"than Nomad's only with Nomad Enterprise.",
		.check = check_vault_namespace,
		.pattern = "^([a-zA-Z0-9._/-]{1,256})?$",
		.inherits = true,
		.wants = "a namespace's path (letters, digits, - . _ and /, up to 256)",
		.since = "0.1.0",
		.offset = AT(vault_namespace),
	},
	{
		.name = "VAULT_ROLE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.initial = "nomad-workloads",
		.help = "The role that Nomad logs the machine into Vault with, to read VAULT_SECRETS_JSON; "
			"what it may read, the role's policies say.",
		.check = check_word,
		.pattern = "^[a-zA-Z0-9._-]{1,128}$",
		.wants = "a name (letters, digits, - . and _, up to 128)",
		.since = "0.1.0",
		.offset = AT(vault_role),
	},
	{
		.name = "VAULT_CHANGE_MODE",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.initial = "restart",
		.help = "What happens when a secret changes: `restart` restarts the machine's task, `signal` "
			"sends it SIGHUP, `noop` does nothing. The file .vault-secrets is renewed in each "
			"case; the environment only by a restart.",
		.values = change_modes,
		.since = "0.1.0",
		.offset = AT(vault_change_mode),
	},
	{
		.name = "VAULT_POLICIES_JSON",
		.type = OPTION_JSON,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.help = "The Vault policies that the secrets need, a JSON array of names, as in "
			"[\"devpod-secrets\"]. Vault goes by the role's policies; these stand in the job.",
		.max_len = 65536,
		.convert = convert_vault_policies,
		.wants = "a JSON array of strings",
		.since = "0.1.0",
		.offset = AT(vault_policies),
	},
	{
		.name = "VAULT_SECRETS_JSON",
		.type = OPTION_JSON,
		.place = PLACE_PROVIDER,
		.group = GROUP_VAULT,
		.help = "Which secrets the machine gets, as which variables: a JSON array of objects with a "
			"path (KV v1 or v2) and fields, as in [{\"path\": \"secret/data/aws\", \"fields\": "
			"{\"access_key\": \"AWS_ACCESS_KEY_ID\"}}].",
		.max_len = 65536,
		.convert = convert_vault_secrets,
		.wants = "a JSON array of objects",
		.since = "0.1.0",
		.offset = AT(vault_secrets),
	},
	{
		.name = "VAULT_TOKEN",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "The token that NOMAD_CSI_VAULT_PATH is read with. VAULT_SECRETS_JSON needs none: "
			"Nomad reads those.",
		.secret = true,
		.since = "0.1.0",
		.offset = AT(vault_token),
	},
	{
		.name = "DEVPOD_VAULT_TOKEN",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "The same, where VAULT_TOKEN is not set.",
		.secret = true,
		.since = "0.1.0",
		.offset = AT(vault_token),
	},
	{
		.name = "VAULT_CACERT",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "A PEM file with the CA that signed Vault's certificate.",
		.since = "0.1.0",
		.offset = AT(vault_cacert),
	},
	{
		.name = "VAULT_CAPATH",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "A directory of such files; VAULT_CACERT goes before it.",
		.since = "0.1.0",
		.offset = AT(vault_capath),
	},
	{
		.name = "VAULT_CLIENT_CERT",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "A PEM file with the certificate to show to Vault; VAULT_CLIENT_KEY belongs to it.",
		.since = "0.1.0",
		.offset = AT(vault_client_cert),
	},
	{
		.name = "VAULT_CLIENT_KEY",
		.type = OPTION_PATH,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "A PEM file with the key of VAULT_CLIENT_CERT.",
		.since = "0.1.0",
		.offset = AT(vault_client_key),
	},
	{
		.name = "VAULT_TLS_SERVER_NAME",
		.type = OPTION_STRING,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.help = "The name that Vault's certificate must have, where that is not the host of "
			"VAULT_ADDR.",
		.since = "0.1.0",
		.offset = AT(vault_tls_server_name),
	},
	{
		.name = "VAULT_SKIP_VERIFY",
		.type = OPTION_BOOLEAN,
		.place = PLACE_ENVIRONMENT,
		.group = GROUP_VAULT,
		.initial = "false",
		.help = "Take any certificate. Only for trying things out.",
		.since = "0.1.0",
		.offset = AT(vault_skip_verify),
	},

	{
		.name = "NOMAD_GPU",
		.type = OPTION_BOOLEAN,
		.place = PLACE_PROVIDER,
		.group = GROUP_GPU,
		.initial = "false",
		.help = "Whether the machine gets a GPU. Its node needs Nomad's device plugin for them.",
		.values = true_false,
		.since = "0.1.0",
		.offset = AT(gpu),
	},
	{
		.name = "NOMAD_GPU_COUNT",
		.type = OPTION_INTEGER,
		.place = PLACE_PROVIDER,
		.group = GROUP_GPU,
		.initial = "1",
		.help = "How many.",
		.min = 1,
		.max = 128,
		.since = "0.1.0",
		.offset = AT(gpu_count),
	},
	{
		.name = "NOMAD_GPU_VENDOR",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_GPU,
		.initial = "nvidia",
		.help = "Whose.",
		.values = gpu_vendors,
		.since = "0.1.0",
		.offset = AT(gpu_vendor),
	},
	{
		.name = "NOMAD_GPU_COMPUTE_CAPABILITY",
		.type = OPTION_STRING,
		.place = PLACE_PROVIDER,
		.group = GROUP_GPU,
		.help = "The least compute capability of an NVIDIA GPU, like 7.5; the node's meta "
			"gpu_compute_capability tells what it has. Unset, any will do.",
		.check = check_capability,
		.pattern = "^([0-9]{1,3}[.][0-9]{1,3})?$",
		.wants = "two numbers with a point between, like 7.5",
		.since = "0.1.0",
		.offset = AT(gpu_compute_capability),
	},
};

const size_t option_count = ARRAY_SIZE(option_table);

const char *option_group_name(enum option_group group)
{
	static const char *const names[GROUPS] = {"Connection", "Size",  "Placement", "Machine",
						  "Storage",    "Vault", "GPU",       "From DevPod"};

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
	case OPTION_CHOICE:
	case OPTION_LIST:
	case OPTION_JSON:
		break;
	}
	return xstrdup("text");
}
