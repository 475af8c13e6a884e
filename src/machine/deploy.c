#include "log.h"
#include "machine_private.h"
#include "platform.h"
#include "text.h"

#define PULL_PATIENCE_MS 20000

char *deploy_stamp(struct err *e)
{
	unsigned char random[8];
	AUTO(buf_clear) struct buf text = BUF_INIT;

	if (platform_random(random, sizeof(random), e) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(random); i++)
		buf_printf(&text, "%02x", random[i]);
	return buf_take(&text);
}

/* Remember the machine, which is ready, and where it runs. */
static int note_ready(struct machine *m, const struct state *data, const cJSON *alloc, struct err *e)
{
	AUTO(state_clear) struct state s = STATE_INIT;
	const char *node = json_str(alloc, "NodeID");

	if (!node)
		return err_set(e, ERR_REMOTE, "the allocation names no node");
	s.known = s.ready = true;
	s.storage = data->storage;
	s.docker = data->docker;
	if (s.storage != STORAGE_CSI) {
		s.node_id = xstrdup(node);
		s.node_name = xstrdup(json_str(alloc, "NodeName"));
	}
	s.dir = xstrdup(data->dir);
	s.alloc_id = xstrdup(json_str(alloc, "ID"));
	s.node_addr = route_address(m, node);
	return state_save(m, &s, e);
}

/* Wait for an allocation that somebody else, or an earlier try, has started. */
static int adopt(struct machine *m, const struct sight *s, struct err *e)
{
	AUTO(json_freep) cJSON *alloc = NULL;
	struct observation what = {
		.job_id = m->options->machine_id,
		.since = s->newest ? json_u64(s->newest, "CreateIndex", 0) : 0,
		.task = SPEC_TASK,
		.until_ready = true,
	};

	log_info("machine '%s' runs already", m->options->machine_id);
	if (observe(m, &what, &alloc, e) < 0)
		return -1;
	return note_ready(m, &s->data, alloc, e);
}

/*
 * Take back a machine whose task has not started, as far as was seen. A node does not end an image pull
 * before its time (measured): after some patience the job is forgotten all the same, and the node ends the
 * task when it starts.
 */
static int forget_unstarted(struct machine *m, struct sight *s, const char *stamp, struct err *e)
{
	const char *id = m->options->machine_id;

	if (retire_job(m, id, PULL_PATIENCE_MS, NULL, e) < 0 && e->kind == ERR_TIMEOUT) {
		const char *node = json_str(s->newest, "NodeName"), *dir = spec_meta(s->job, SPEC_META_DIR);

		err_clear(e);
		log_warn("node %s still fetches the image: the job is forgotten, an empty directory %s may "
			 "stay there",
			 node ? node : "?", dir ? dir : "?");
		return nomad_job_stop(m->nomad, id, true, e);
	}
	if (e->kind != ERR_NONE)
		return -1;
	/* it may have started meanwhile */
	sight_clear(s);
	if (sight_take(m, s, e) < 0)
		return -1;
	if (s->data.known && retire_data(m, &s->data, stamp, e) < 0)
		return -1;
	return nomad_job_stop(m->nomad, id, true, e);
}

/* Undo what was registered under that stamp: stop it, or forget it with all it left. */
static int take_back(struct machine *m, const char *stamp, bool forget, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;
	AUTO(err_clear) struct err containers = ERR_INIT;
	const char *id = m->options->machine_id;

	if (sight_take(m, &s, e) < 0)
		return -1;
	if (!s.job && forget) /* no further than its volume */
		return storage_remove(m, s.data.storage, e);
	if (!s.job || !text_eq(spec_meta(s.job, SPEC_META_START), stamp))
		return 0;
	log_info("taking back machine '%s'", id);
	if (forget && !s.data.known)
		return forget_unstarted(m, &s, stamp, e);
	/* the state file: should this be cut short, delete knows the node */
	if (state_save(m, &s.data, e) < 0 || retire_job(m, id, RETIRE_MS, forget ? NULL : &containers, e) < 0)
		return -1;
	if (!forget) {
		err_move(e, &containers);
		return e->kind != ERR_NONE ? -1 : 0;
	}
	if (retire_data(m, &s.data, stamp, e) < 0 || nomad_job_stop(m->nomad, id, true, e) < 0)
		return -1;
	return state_remove(m, e);
}

/* After a failure; tells what could not be undone. */
static void roll_back(struct machine *m, const char *stamp, bool forget)
{
	AUTO(err_clear) struct err e = ERR_INIT;
	const char *id = m->options->machine_id;

	/* after a signal: a second one ends this too */
	interrupt_acknowledge();
	if (take_back(m, stamp, forget, &e) == 0)
		return;
	log_warn("could not take back all of it: %s; try: nomad job stop %s%s", e.msg,
		 forget ? "-purge " : "", id);
	if (forget && m->options->storage != STORAGE_EPHEMERAL)
		log_warn("the volume devpod-%s may be left: nomad volume status", id);
}

/*
 * From now on the machine belongs to its node: neither a drain nor `nomad alloc stop` may start it elsewhere,
 * empty. A constraint that the node meets changes the job in place, the task goes on (measured).
 */
static int pin(struct machine *m, struct spec_request *rq, const cJSON *alloc, uint64_t expect, struct err *e)
{
	struct nomad_registered unused;

	rq->node_id = json_str(alloc, "NodeID");
	AUTO(json_freep) cJSON *job = spec_machine(rq);
	if (nomad_job_register(m->nomad, job, &expect, &unused, e) < 0)
		return err_wrap(e, "bind the machine to its node");
	return 0;
}

/* Register the job, and wait until the machine is ready. */
static int launch(struct machine *m, struct spec_request *rq, const struct sight *s, struct err *e)
{
	/* create-only, or this very version of it: two at once cannot both win */
	uint64_t expect = s->job ? json_u64(s->job, "JobModifyIndex", 0) : 0;
	AUTO(json_freep) cJSON *job = spec_machine(rq), *alloc = NULL;
	struct nomad_registered registered;

	if (nomad_job_register(m->nomad, job, &expect, &registered, e) < 0) {
		if (e->kind == ERR_AUTH)
			return hint_token(m, "submit-job", e);
		if (e->kind == ERR_REMOTE)
			hint_refused(m, e);
		return -1;
	}
	struct observation what = {
		.job_id = m->options->machine_id,
		.eval_id = registered.eval_id,
		.since = registered.job_modify_index,
		.task = SPEC_TASK,
		.until_ready = true,
	};
	if (observe(m, &what, &alloc, e) < 0 || note_ready(m, &s->data, alloc, e) < 0)
		return -1;
	if (rq->storage == STORAGE_EPHEMERAL && !rq->node_id)
		return pin(m, rq, alloc, registered.job_modify_index, e);
	return 0;
}

/*
 * Make the machine run. @s: what was there before: nothing, or a dead machine, whose data decide the node.
 * Failing, a machine that was not there before is gone again, one that was is stopped again.
 */
static int deploy(struct machine *m, const struct sight *s, struct err *e)
{
	const struct state *data = &s->data;
	bool is_new = !s->job && !data->known;
	AUTO(freep) char *stamp = deploy_stamp(e);

	if (!stamp)
		return -1;
	struct spec_request rq = {
		.options = m->options,
		.machine_id = m->options->machine_id,
		.owner = m->owner,
		.version = m->version,
		.start = stamp,
		.node_id = data->storage == STORAGE_EPHEMERAL ? data->node_id : NULL,
		.dir = data->dir,
		.docker = data->docker,
		.storage = data->storage,
		.expect_data = data->ready && data->storage == STORAGE_EPHEMERAL,
	};
	if ((is_new ? storage_make(m, &rq, e) : storage_grow(m, &rq, s->volume, e)) < 0) {
		if (is_new && storage_may_be_made(e)) {
			storage_settle(m, &rq);
			roll_back(m, stamp, true);
		}
		return -1;
	}
	/* a conflict: it is somebody else's now; otherwise it may have been registered although the reply
	 * never came: the stamp tells */
	if (launch(m, &rq, s, e) < 0) {
		if (e->kind != ERR_CONFLICT)
			roll_back(m, stamp, is_new);
		return -1;
	}
	return 0;
}

/* For people. */
static const char *storage_words(enum options_storage storage)
{
	switch (storage) {
	case STORAGE_EPHEMERAL:
		return "ephemeral";
	case STORAGE_CSI:
		return "persistent (CSI)";
	case STORAGE_HOST_VOLUME:
		return "persistent (host volume)";
	}
	return "no";
}

/* Why it ended last, where that was not a stop: somebody may look for it. */
static void tell_last_end(struct machine *m, const struct sight *s)
{
	AUTO(err_clear) struct err why = ERR_INIT;
	const cJSON *task = task_state(s->newest, SPEC_TASK);
	const char *client = json_str(s->newest, "ClientStatus");
	const char *node = json_str(s->newest, "NodeName");
	const char *wanted = json_str(s->newest, "DesiredStatus");
	AUTO(freep) char *clean = text_cleaned(json_str(s->newest, "DesiredDescription"), 300);

	if (!s->newest || json_is_true(s->job, "Stop"))
		return;
	if (text_eq(wanted, "evict")) {
		log_info("the machine had to make room on node %s: %s", node ? node : "?", clean);
	} else if (text_eq(client, "lost") || text_eq(client, "unknown")) {
		log_info("the machine ended when its node %s went away", node ? node : "?");
	} else if (json_is_true(task, "Failed")) {
		alloc_failure(m, s->newest, SPEC_TASK, &why);
		log_info("the machine ended: %s", why.msg);
	} else if (text_eq(wanted, "stop")) { /* a drain, or `nomad alloc stop` */
		log_info("the machine was stopped on node %s: %s", node ? node : "?", clean);
	} else if (text_eq(json_str(task, "State"), "dead")) {
		log_info("the machine had stopped by itself");
	}
}

/* The data are where the machine was made with; elsewhere it would start empty. */
static int check_modes(struct machine *m, const struct state *data, struct err *e)
{
	const struct options *o = m->options;

	if (data->storage != o->storage) {
		err_set(e, ERR_CONFIG, "the machine was made with %s storage, the options say %s now",
			storage_words(data->storage), storage_words(o->storage));
		return err_hint(
			e, "set NOMAD_STORAGE_MODE and NOMAD_STORAGE_TYPE back, or give the data up: devpod "
			   "delete, then devpod up");
	}
	if (data->docker != o->docker) {
		err_set(e, ERR_CONFIG,
			"the machine was made with NOMAD_DOCKER_MODE=%s, the options say %s now",
			options_docker_name(data->docker), options_docker_name(o->docker));
		return err_hint(e,
				"its devcontainers are in that Docker: set NOMAD_DOCKER_MODE back, or give "
				"them up: devpod delete, then devpod up");
	}
	return 0;
}

static int check_volume(struct machine *m, const struct sight *s, struct err *e)
{
	if (s->data.storage == STORAGE_EPHEMERAL || s->volume)
		return 0;
	err_set(e, ERR_REMOTE,
		"the machine's volume devpod-%s is gone: somebody deleted it, and the data with it",
		m->options->machine_id);
	return err_hint(e, "give the machine up, and make a new one: devpod delete, then devpod up");
}

/* A dead machine may still be stopping. */
static int start_dead(struct machine *m, struct sight *s, struct err *e)
{
	if (!sight_settled(s)) {
		log_info("waiting until the machine has stopped");
		if (retire_job(m, m->options->machine_id, RETIRE_MS, NULL, e) < 0)
			return -1;
		sight_clear(s);
		if (sight_take(m, s, e) < 0 || storage_look(m, s, e) < 0)
			return -1;
	}
	if (check_modes(m, &s->data, e) < 0 || check_volume(m, s, e) < 0 ||
	    storage_wait_usable(m, s, e) < 0 || node_ready(m, &s->data, e) < 0)
		return -1;
	tell_last_end(m, s);
	return deploy(m, s, e);
}

static int start(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;

	if (sight_take(m, &s, e) < 0)
		return -1;
	if (sight_alive(&s))
		return adopt(m, &s, e);
	if (storage_look(m, &s, e) < 0)
		return -1;
	if (!s.job && !s.data.known) {
		err_set(e, ERR_NOT_FOUND, "there is no such machine");
		return err_hint(e, "create makes one");
	}
	log_info("starting machine '%s'", m->options->machine_id);
	return start_dead(m, &s, e);
}

int machine_start(struct machine *m, struct err *e)
{
	int failed = start(m, e);

	return failed ? err_wrap(e, "start machine '%s'", m->options->machine_id) : 0;
}

static int create(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;

	if (sight_take(m, &s, e) < 0)
		return -1;
	const char *owner = s.job ? spec_meta(s.job, SPEC_META_OWNER) : NULL;
	if (owner && !text_eq(owner, m->owner)) {
		AUTO(freep) char *clean = text_cleaned(owner, 100);
		err_set(e, ERR_CONFLICT, "a machine of that name exists and belongs to %s", clean);
		return err_hint(e, "give the workspace another name, or use another NOMAD_NAMESPACE");
	}
	if (sight_alive(&s))
		return adopt(m, &s, e);
	if (storage_look(m, &s, e) < 0)
		return -1;
	if (!s.job && !s.data.known) {
		log_info("creating machine '%s'", m->options->machine_id);
		return deploy(m, &s, e);
	}
	log_info("machine '%s' exists, starting it", m->options->machine_id);
	return start_dead(m, &s, e);
}

int machine_create(struct machine *m, struct err *e)
{
	int failed = create(m, e);

	/* somebody registered it between our look and our call: look again, once */
	if (failed && e->kind == ERR_CONFLICT && strstr(e->msg, "Enforcing job modify index")) {
		err_clear(e);
		failed = create(m, e);
	}
	return failed ? err_wrap(e, "create machine '%s'", m->options->machine_id) : 0;
}
