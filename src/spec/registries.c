#include "spec_private.h"

/* Where dockerd and update-ca-certificates look, whatever they are called on the node. */
#define CERTS_DIR "/etc/docker/certs.d"
#define CA_CERT   "/usr/local/share/ca-certificates/registry.cluster.crt"

static void mount_read_only(cJSON *volumes, const char *source, const char *destination)
{
	if (!source)
		return;
	AUTO(freep) char *mount = xasprintf("%s:%s:ro", source, destination);
	json_push_str(volumes, mount);
}

void spec_add_registries(cJSON *volumes, const struct options *o)
{
	mount_read_only(volumes, o->registry_certs_dir, CERTS_DIR);
	mount_read_only(volumes, o->registry_ca_cert, CA_CERT);
}
