#include "machine_private.h"

#include "log.h"
#include "platform.h"
#include "text.h"
#include "vault.h"

int connect_to(const struct machine *m, const char *addr, const char *tls_server_name, int64_t connect_ms,
	       struct nomad **ret, struct err *e)
{
	const struct options *o = m->options;
	AUTO(freep) char *agent = xasprintf("devpod-provider-nomad/%s", m->version);
	struct http_config config = {
		.addr = addr,
		.token = o->token,
		.namespace_ = o->namespace_,
		.region = o->region,
		.cacert = o->cacert,
		.capath = o->capath,
		.client_cert = o->client_cert,
		.client_key = o->client_key,
		.tls_server_name = tls_server_name,
		.skip_verify = o->skip_verify,
		.http_auth = o->http_auth,
		.user_agent = agent,
		.connect_ms = connect_ms,
	};

	return nomad_open(&config, o->token ? options_origin(o, "NOMAD_TOKEN") : NULL, ret, e);
}

int read_vault(const struct machine *m, const char *path, cJSON **ret, struct err *e)
{
	const struct options *o = m->options;
	AUTO(freep) char *agent = xasprintf("devpod-provider-nomad/%s", m->version);
	struct vault_config config = {
		.addr = o->vault_addr,
		.token = o->vault_token,
		.namespace_ = o->vault_namespace,
		.cacert = o->vault_cacert,
		.capath = o->vault_capath,
		.client_cert = o->vault_client_cert,
		.client_key = o->vault_client_key,
		.tls_server_name = o->vault_tls_server_name,
		.skip_verify = o->vault_skip_verify,
		.user_agent = agent,
	};

	return vault_read_kv(&config, path, ret, e);
}

int machine_open(const struct options *o, const char *version, struct machine **ret, struct err *e)
{
	AUTO(machine_freep) struct machine *m = xcalloc(1, sizeof(*m));

	m->options = o;
	m->version = version;
	m->owner = platform_user();
	if (o->machine_folder)
		m->state_path = xasprintf("%s/nomad-machine.json", o->machine_folder);
	if (connect_to(m, o->addr, o->tls_server_name, 0, &m->nomad, e) < 0)
		return -1;
	*ret = TAKE(m);
	return 0;
}

void machine_freep(struct machine **p)
{
	struct machine *m = *p;

	if (!m)
		return;
	nomad_freep(&m->nomad);
	nomad_freep(&m->direct);
	free(m->owner);
	free(m->state_path);
	free(m->alloc_id);
	free(m);
	*p = NULL;
}

struct nomad *machine_nomad(struct machine *m)
{
	return m->nomad;
}

const char *machine_task(const struct machine *m)
{
	(void)m;
	return SPEC_TASK;
}

int hint_token(const struct machine *m, const char *capabilities, struct err *e)
{
	const char *origin = nomad_token_origin(m->nomad);

	if (!origin)
		return err_hint(e, "NOMAD_TOKEN is not set; a token with %s is needed", capabilities);
	return err_hint(e, "the token came from %s; it needs %s", origin, capabilities);
}

const cJSON *task_state(const cJSON *alloc, const char *name)
{
	return json_get(json_get(alloc, "TaskStates"), name);
}

int namespace_exists(struct machine *m, const char *name, const char *capabilities, struct err *e)
{
	AUTO(json_freep) cJSON *namespace_ = NULL;
	AUTO(buf_clear) struct buf path = BUF_INIT;

	buf_puts(&path, "/v1/namespace/");
	text_url_escape(&path, name);
	if (nomad_get(m->nomad, buf_str(&path), &namespace_, e) == 0)
		return 0;
	if (e->kind == ERR_NOT_FOUND)
		return err_hint(e, "NOMAD_NAMESPACE is '%s': nomad namespace list", name);
	return e->kind == ERR_AUTH ? hint_token(m, capabilities, e) : -1;
}

void hint_refused(const struct machine *m, struct err *e)
{
	static const struct {
		const char *word, *option;
	} of[] = {
		{"Vault namespaces", "VAULT_NAMESPACE"},
		{"Vault", "VAULT_SECRETS_JSON"},
		{"priority", "NOMAD_PRIORITY"},
		{"node pool", "NOMAD_NODE_POOL"},
		{"disk", "NOMAD_DISKMB"},
		{"memory", "NOMAD_MEMORYMB"},
		{"cores", "NOMAD_CORES"},
		{"cpu", "NOMAD_CPU"},
		{"namespace", "NOMAD_NAMESPACE"},
		{"region", "NOMAD_REGION"},
		{"onstraint", "NOMAD_CONSTRAINTS_JSON"},
	};

	if (strstr(e->msg, "not enabled but used in the job")) {
		err_hint(e, "Nomad's servers and clients need a vault block (docs/vault.md in the project)");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		if (strstr(e->msg, of[i].word)) {
			err_hint(e, "look at %s (it came from %s)", of[i].option,
				 options_origin(m->options, of[i].option));
			return;
		}
	}
}

/* The script looked for the data of a machine that was here, and they were not. */
static bool found_nothing(const cJSON *task)
{
	const cJSON *event;

	cJSON_ArrayForEach (event, json_get(task, "Events"))
		if (text_eq(json_str(event, "Type"), "Terminated") &&
		    text_eq(json_str(json_get(event, "Details"), "exit_code"), SPEC_EXIT_NO_DATA))
			return true;
	return false;
}

static bool task_touched_node(const cJSON *task, const char *dir)
{
	const cJSON *event;

	cJSON_ArrayForEach (event, json_get(task, "Events")) {
		const char *type = json_str(event, "Type");
		const char *text = json_str(event, "DisplayMessage");

		if (text_eq(type, "Started"))
			return true;
		/* dockerd makes the bind source when it makes the container, which may then fail to start:
		 * unless that very directory is what it fails on */
		if (text_eq(type, "Driver Failure") && text && strstr(text, "to start container") &&
		    !(strstr(text, "mount") && strstr(text, dir)))
			return true;
	}
	return false;
}

bool alloc_touched_node(const cJSON *alloc, const char *dir)
{
	const cJSON *task;

	if (found_nothing(task_state(alloc, SPEC_TASK)))
		return false;
	/* the task `stopped` has the same mount, and runs also where the machine could not start */
	cJSON_ArrayForEach (task, json_get(alloc, "TaskStates"))
		if (task_touched_node(task, dir))
			return true;
	return false;
}

void sight_clear(struct sight *s)
{
	cJSON_Delete(s->job);
	cJSON_Delete(s->allocations);
	cJSON_Delete(s->volume);
	state_clear(&s->data);
	*s = (struct sight)SIGHT_INIT;
}

/* What the job's Meta says, or the file, or the options of a machine that is to be. */
static void find_modes(struct machine *m, struct sight *s, const struct state *file)
{
	const struct options *o = m->options;
	const char *storage = s->job ? spec_meta(s->job, SPEC_META_STORAGE) : NULL;
	const char *docker = s->job ? spec_meta(s->job, SPEC_META_DOCKER) : NULL;

	s->data.storage = file->known ? file->storage : o->storage;
	s->data.docker = file->known ? file->docker : o->docker;
	if (!s->job)
		return;
	/* a job of a version that knew no others */
	if (options_storage_named(storage, &s->data.storage) < 0)
		s->data.storage = STORAGE_EPHEMERAL;
	if (options_docker_named(docker, &s->data.docker) < 0)
		s->data.docker = DOCKER_HOST;
}

/* The last allocation that has been on its node, or NULL. */
static const cJSON *last_on_node(const struct sight *s, const char *dir)
{
	const cJSON *alloc, *last = NULL;
	uint64_t most = 0;

	cJSON_ArrayForEach (alloc, s->allocations) {
		uint64_t index = json_u64(alloc, "CreateIndex", 0);

		if (alloc_touched_node(alloc, dir) && json_str(alloc, "NodeID") && (!last || index > most)) {
			last = alloc;
			most = index;
		}
	}
	return last;
}

/* The truth is where the machine ran last; the job's constraint and the state file are for when Nomad has
 * forgotten that. */
static void find_data(struct machine *m, struct sight *s, struct state *file)
{
	const char *known = s->job ? spec_meta(s->job, SPEC_META_DIR) : NULL;
	AUTO(freep) char *by_options = spec_dir(m->options, m->options->machine_id);
	const char *dir = known ? known : file->known ? file->dir : by_options;
	const cJSON *last = last_on_node(s, dir);
	struct state *data = &s->data;

	find_modes(m, s, file);
	data->ready = file->ready || (s->job && spec_node(s->job));
	data->dir = xstrdup(dir);
	if (data->storage == STORAGE_CSI)
		last = NULL; /* anywhere */
	if (last) {
		data->node_id = xstrdup(json_str(last, "NodeID"));
		data->node_name = xstrdup(json_str(last, "NodeName"));
	} else if (s->job && spec_node(s->job)) {
		data->node_id = xstrdup(spec_node(s->job));
	} else {
		data->node_id = TAKE(file->node_id);
		data->node_name = TAKE(file->node_name);
	}
	if (last && file->node_id && !text_eq(file->node_id, data->node_id))
		log_info("machine '%s' was on node %s and ran on %s since: its data are taken to be there",
			 m->options->machine_id, file->node_name ? file->node_name : file->node_id,
			 data->node_name ? data->node_name : data->node_id);
	data->known =
		file->known || (data->storage == STORAGE_EPHEMERAL ? data->node_id != NULL : s->job != NULL);
}

int sight_take(struct machine *m, struct sight *ret, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;
	AUTO(state_clear) struct state file = STATE_INIT;
	const char *id = m->options->machine_id;

	if (state_load(m, &file, e) < 0)
		return -1;
	if (nomad_find_job(m->nomad, id, &s.job, e) < 0)
		return e->kind == ERR_AUTH ? hint_token(m, "read-job", e) : -1;
	if (!s.job) {
		s.allocations = json_array();
	} else {
		if (!spec_is_ours(s.job, id)) {
			err_set(e, ERR_CONFLICT,
				"job '%s' exists in Nomad and is not a machine of this provider", id);
			return err_hint(
				e, "give the workspace another name, or look at it with: nomad job status %s",
				id);
		}
		if (nomad_job_allocations(m->nomad, id, NULL, &s.allocations, e) < 0)
			return -1;
	}
	s.newest = nomad_newest(s.allocations);
	find_data(m, &s, &file);
	*ret = s;
	s = (struct sight)SIGHT_INIT;
	return 0;
}

static bool alloc_goes_on(const cJSON *alloc)
{
	const char *client = json_str(alloc, "ClientStatus");
	const cJSON *state = task_state(alloc, SPEC_TASK);

	return text_eq(json_str(alloc, "DesiredStatus"), "run") &&
	       !text_eq(json_str(state, "State"), "dead") &&
	       (text_eq(client, "pending") || text_eq(client, "running"));
}

bool sight_alive(const struct sight *s)
{
	if (!s->job || json_is_true(s->job, "Stop"))
		return false;
	if (s->newest && json_u64(s->newest, "JobVersion", 0) >= json_u64(s->job, "Version", 0))
		return alloc_goes_on(s->newest);
	/* waiting for a place */
	return !text_eq(json_str(s->job, "Status"), "dead");
}

bool sight_settled(const struct sight *s)
{
	const cJSON *alloc;

	cJSON_ArrayForEach (alloc, s->allocations) {
		/* unknown: its node is out of reach, so is what runs there */
		if (!nomad_alloc_terminal(alloc) && !text_eq(json_str(alloc, "ClientStatus"), "unknown"))
			return false;
	}
	return true;
}

int machine_status(struct machine *m, enum machine_status *ret, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;

	if (sight_take(m, &s, e) < 0)
		return -1;
	/* Nomad may have forgotten the job, and MACHINE_FOLDER may be another one: the volume tells */
	if (!s.job && !s.data.known && storage_look(m, &s, e) < 0)
		return -1;
	if (!s.job)
		*ret = s.data.known ? MACHINE_STOPPED : MACHINE_NOT_FOUND;
	else if (sight_alive(&s))
		*ret = s.newest && nomad_alloc_running(s.newest, SPEC_TASK) ? MACHINE_RUNNING : MACHINE_BUSY;
	else
		*ret = sight_settled(&s) ? MACHINE_STOPPED : MACHINE_BUSY;
	return 0;
}
