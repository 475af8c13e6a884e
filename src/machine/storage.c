#include "clock.h"
#include "log.h"
#include "machine_private.h"
#include "platform.h"
#include "text.h"
#include "volume.h"

#include <inttypes.h>

#define MB        (INT64_C(1) << 20)
#define CLAIM_MS  60000 /* how long a claim may outlive its allocation: half a second, where all is well */
#define READY_MS  60000 /* from a host volume's creation to its node's report */
#define REPEAT_MS 200   /* between two tries to delete */

/* What the plugin is to be given, from Vault. @ret: an object of strings, or NULL where it gets none. */
static int read_secrets(struct machine *m, cJSON **ret, struct err *e)
{
	const struct options *o = m->options;
	AUTO(json_secret_freep) cJSON *fields = NULL, *wanted = NULL;

	if (!o->csi_vault_path)
		return 0;
	if (!o->vault_token) {
		err_set(e, ERR_CONFIG, "NOMAD_CSI_VAULT_PATH '%s': VAULT_TOKEN is not set",
			o->csi_vault_path);
		return err_hint(
			e, "set VAULT_TOKEN in the environment of devpod to a token that can read that path");
	}
	if (read_vault(m, o->csi_vault_path, &fields, e) < 0)
		return err_wrap(e, "NOMAD_CSI_VAULT_PATH");
	if (text_eq(o->csi_vault_fields[0], "*")) {
		*ret = TAKE(fields);
		return 0;
	}
	wanted = json_object();
	for (char **name = o->csi_vault_fields; *name; name++) {
		cJSON *field = cJSON_DetachItemFromObjectCaseSensitive(fields, *name);
		if (!field) {
			err_set(e, ERR_CONFIG, "the secret '%s' in Vault has no field '%s'",
				o->csi_vault_path, *name);
			return err_hint(e, "NOMAD_CSI_VAULT_FIELDS says which fields the plugin gets");
		}
		json_put(wanted, *name, field);
	}
	*ret = TAKE(wanted);
	return 0;
}

static int hint_volume(const struct machine *m, struct err *e)
{
	if (e->kind != ERR_AUTH)
		return -1;
	return hint_token(
		m,
		m->options->storage == STORAGE_CSI
			? "csi-write-volume, csi-read-volume and csi-mount-volume, and plugin { policy = "
			  "\"read\" },"
			: "host-volume-create, host-volume-read and host-volume-delete, and host_volume "
			  "\"devpod-*\" { policy = \"write\" },",
		e);
}

static int hint_plugin(const struct machine *m, struct err *e)
{
	if (e->kind != ERR_REMOTE)
		return hint_volume(m, e);
	if (m->options->storage == STORAGE_CSI)
		return err_hint(e, "NOMAD_CSI_PLUGIN_ID is '%s': nomad plugin status",
				m->options->csi_plugin_id);
	return err_hint(
		e,
		"a node in reach needs the plugin '%s' (NOMAD_HOST_VOLUME_PLUGIN; Nomad 1.10 or later), and "
		"must meet NOMAD_CONSTRAINTS_JSON",
		m->options->host_volume_plugin);
}

int storage_look(struct machine *m, struct sight *s, struct err *e)
{
	AUTO(freep) char *id = spec_volume_id(m->options->machine_id);
	bool csi = s->data.storage == STORAGE_CSI;

	if (s->data.storage == STORAGE_EPHEMERAL)
		return 0;
	if ((csi ? nomad_csi_volume_find(m->nomad, id, &s->volume, e)
		 : nomad_host_volume_find(m->nomad, id, &s->volume, e)) < 0)
		return hint_volume(m, e);
	if (!s->volume)
		return 0;
	s->data.known = true;
	if (!csi && json_str(s->volume, "NodeID")) {
		free(s->data.node_id);
		s->data.node_id = xstrdup(json_str(s->volume, "NodeID"));
	}
	return 0;
}

/* Asked for a volume in a namespace that is not there, Nomad makes the storage first and forgets it
 * (measured). */
static int check_namespace(struct machine *m, struct err *e)
{
	const char *name = m->options->namespace_;

	return name ? namespace_exists(m, name, "a capability in the namespace", e) : 0;
}

static int make_csi(struct machine *m, const struct spec_request *rq, struct err *e)
{
	AUTO(json_secret_freep) cJSON *volume = spec_volume(rq), *secrets = NULL;

	if (check_namespace(m, e) < 0 || read_secrets(m, &secrets, e) < 0)
		return -1;
	if (secrets)
		json_put(volume, "Secrets", TAKE(secrets));
	return nomad_csi_volume_create(m->nomad, volume, e) < 0 ? hint_plugin(m, e) : 0;
}

/* Nomad makes a second one of that name, on another node, when two ask at once: the oldest stays. */
static int make_host_volume(struct machine *m, const struct spec_request *rq, struct err *e)
{
	AUTO(json_freep) cJSON *volume = spec_volume(rq), *made = NULL, *oldest = NULL;
	AUTO(err_clear) struct err unasked = ERR_INIT;

	int failed = nomad_host_volume_create(m->nomad, volume, &made, e);
	if (failed && e->kind != ERR_REMOTE)
		return hint_plugin(m, e);
	if (nomad_host_volume_find(m->nomad, json_str(volume, "Name"), &oldest, failed ? &unasked : e) < 0)
		return -1;
	/* on the same node, the second is refused */
	if (failed && !oldest)
		return hint_plugin(m, e);
	err_clear(e);
	const char *ours = json_str(made, "ID"), *stays = json_str(oldest, "ID");
	if (!stays)
		return err_set(e, ERR_REMOTE, "Nomad does not know the volume that it has made");
	if (ours && !text_eq(stays, ours) && nomad_host_volume_delete(m->nomad, ours, e) < 0)
		return -1;
	return nomad_host_volume_wait_ready(m->nomad, stays, READY_MS, e);
}

int storage_wait_usable(struct machine *m, const struct sight *s, struct err *e)
{
	const char *id = json_str(s->volume, "ID");
	int failed = 0;

	/* without a job the claim is nobody's, or that of another create, which is ahead */
	if (id && s->job && s->data.storage == STORAGE_CSI)
		failed = nomad_csi_volume_wait_free(m->nomad, id, CLAIM_MS, e);
	else if (id && s->data.storage == STORAGE_HOST_VOLUME)
		failed = nomad_host_volume_wait_ready(m->nomad, id, READY_MS, e);
	if (!failed)
		return 0;
	if (e->kind == ERR_CONFLICT)
		return err_hint(e, "see who has it: nomad volume status %s", id);
	return hint_volume(m, e);
}

/* Asked for with its ID, it is changed. */
static int change_host_volume(struct machine *m, const struct spec_request *rq, const cJSON *volume,
			      struct err *e)
{
	AUTO(json_freep) cJSON *wanted = spec_volume(rq), *changed = NULL;
	const char *id = json_str(volume, "ID"), *node = json_str(volume, "NodeID");

	if (!id || !node)
		return err_set(e, ERR_REMOTE, "Nomad names a volume without an ID and a node");
	json_put_str(wanted, "ID", id);
	json_put_str(wanted, "NodeID", node);
	if (nomad_host_volume_create(m->nomad, wanted, &changed, e) < 0)
		return hint_plugin(m, e);
	return nomad_host_volume_wait_ready(m->nomad, id, READY_MS, e);
}

bool storage_may_be_made(const struct err *e)
{
	return e->kind == ERR_CONNECT || e->kind == ERR_TIMEOUT || e->kind == ERR_INTERRUPTED;
}

int storage_make(struct machine *m, const struct spec_request *rq, struct err *e)
{
	if (rq->storage == STORAGE_EPHEMERAL)
		return 0;
	log_info("making the volume devpod-%s", rq->machine_id);
	int failed = rq->storage == STORAGE_CSI ? make_csi(m, rq, e) : make_host_volume(m, rq, e);
	return failed ? err_wrap(e, "make the volume devpod-%s", rq->machine_id) : 0;
}

int storage_grow(struct machine *m, const struct spec_request *rq, const cJSON *volume, struct err *e)
{
	bool csi = rq->storage == STORAGE_CSI;
	AUTO(json_freep) cJSON *whole = NULL;
	const char *asked = csi ? "RequestedCapacityMin" : "RequestedCapacityMinBytes";
	int64_t wanted = m->options->disk_mb;

	if (rq->storage == STORAGE_EPHEMERAL)
		return 0;
	/* it was found in a list, which has no sizes */
	const char *id = json_str(volume, "ID");
	if (!csi && nomad_host_volume(m->nomad, id ? id : "", &whole, e) < 0)
		return hint_volume(m, e);
	int64_t has = (int64_t)(json_u64(csi ? volume : whole, asked, 0) / (uint64_t)MB);
	if (wanted <= has)
		return 0;
	log_info("expanding the volume devpod-%s from %" PRId64 " to %" PRId64 " MB", rq->machine_id, has,
		 wanted);
	if ((csi ? make_csi(m, rq, e) : change_host_volume(m, rq, volume, e)) == 0)
		return 0;
	if (e->kind != ERR_REMOTE && e->kind != ERR_CONFLICT)
		return err_wrap(e, "expand the volume devpod-%s", rq->machine_id);
	log_warn("the volume devpod-%s stays as it is: %s", rq->machine_id, e->msg);
	err_clear(e);
	return 0;
}

static int remove_volume(struct machine *m, enum options_storage storage, const cJSON *secrets, struct err *e)
{
	AUTO(freep) char *id = spec_volume_id(m->options->machine_id);
	AUTO(json_freep) cJSON *volume = NULL;

	if (storage == STORAGE_CSI)
		return nomad_csi_volume_delete(m->nomad, id, secrets, e);
	if (nomad_host_volume_find(m->nomad, id, &volume, e) < 0)
		return -1;
	const char *known_as = json_str(volume, "ID");
	return known_as ? nomad_host_volume_delete(m->nomad, known_as, e) : 0;
}

int storage_remove(struct machine *m, enum options_storage storage, struct err *e)
{
	AUTO(json_secret_freep) cJSON *secrets = NULL;
	int64_t deadline = clock_ms() + CLAIM_MS;

	if (storage == STORAGE_EPHEMERAL)
		return 0;
	/* Nomad has those of the volume's creation, which may do */
	if (storage == STORAGE_CSI && read_secrets(m, &secrets, e) < 0) {
		log_warn("%s; the secrets that the volume was made with are used", e->msg);
		err_clear(e);
	}
	AUTO(freep) char *id = spec_volume_id(m->options->machine_id);
	int failed = storage == STORAGE_CSI ? nomad_csi_volume_wait_free(m->nomad, id, CLAIM_MS, e) : 0;
	while (!failed && (failed = remove_volume(m, storage, secrets, e)) < 0 && e->kind == ERR_CONFLICT &&
	       clock_left(deadline)) {
		err_clear(e);
		failed = http_wait(nomad_http(m->nomad), REPEAT_MS, e);
	}
	if (!failed)
		return 0;
	hint_volume(m, e);
	return err_wrap(e, "delete the volume %s", id);
}

void storage_settle(struct machine *m, const struct spec_request *rq)
{
	AUTO(err_clear) struct err e = ERR_INIT;

	/* Nomad goes on with what it was asked for; the same call again waits for it, and changes nothing */
	if (rq->storage != STORAGE_CSI)
		return;
	interrupt_acknowledge();
	if (make_csi(m, rq, &e) < 0)
		log_debug("%s", e.msg);
}

static int check_csi(struct machine *m, struct err *e)
{
	AUTO(json_freep) cJSON *plugin = NULL;
	AUTO(buf_clear) struct buf path = BUF_INIT;
	const char *id = m->options->csi_plugin_id;

	buf_puts(&path, "/v1/plugin/csi/");
	text_url_escape(&path, id);
	if (nomad_get(m->nomad, buf_str(&path), &plugin, e) < 0) {
		if (e->kind == ERR_NOT_FOUND)
			return err_hint(e, "NOMAD_CSI_PLUGIN_ID is '%s': nomad plugin status", id);
		return e->kind == ERR_AUTH ? hint_token(m, "plugin:read", e) : -1;
	}
	if (!json_u64(plugin, "NodesHealthy", 0) ||
	    (json_is_true(plugin, "ControllerRequired") && !json_u64(plugin, "ControllersHealthy", 0))) {
		err_set(e, ERR_REMOTE, "the CSI plugin '%s' has no healthy %s", id,
			json_u64(plugin, "NodesHealthy", 0) ? "controller" : "node");
		return err_hint(e, "nomad plugin status %s", id);
	}
	log_info("ok: the CSI plugin '%s' is healthy", id);
	return 0;
}

int storage_check(struct machine *m, struct err *e)
{
	AUTO(json_secret_freep) cJSON *secrets = NULL;

	/* a host volume's plugin is a matter of the plan */
	if (m->options->storage != STORAGE_CSI)
		return 0;
	if (check_csi(m, e) < 0 || read_secrets(m, &secrets, e) < 0)
		return -1;
	if (secrets)
		log_info("ok: the plugin's secrets can be read from Vault");
	return 0;
}
