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

/* Remember where the machine ran. */
static int note_node(struct machine *m, const cJSON *alloc, const char *dir, struct err *e)
{
	AUTO(state_clear) struct state s = STATE_INIT;

	if (!json_str(alloc, "NodeID"))
		return err_set(e, ERR_REMOTE, "the allocation names no node");
	s.node_id = xstrdup(json_str(alloc, "NodeID"));
	s.node_name = xstrdup(json_str(alloc, "NodeName"));
	s.dir = xstrdup(dir);
	s.alloc_id = xstrdup(json_str(alloc, "ID"));
	s.node_addr = route_address(m, s.node_id);
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
	const char *dir = spec_meta(s->job, SPEC_META_DIR);
	AUTO(freep) char *by_options = spec_dir(m->options, m->options->machine_id);
	return note_node(m, alloc, dir ? dir : by_options, e);
}

/*
 * Take back a machine whose task has not started, as far as was seen. A node does not end an image pull
 * before its time (measured): after some patience the job is forgotten all the same, and the node ends the
 * task when it starts.
 */
static int forget_unstarted(struct machine *m, struct sight *s, struct err *e)
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
	if (s->data.node_id && retire_data(m, &s->data, e) < 0)
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
	if (!s.job || !text_eq(spec_meta(s.job, SPEC_META_START), stamp))
		return 0;
	log_info("taking back machine '%s'", id);
	if (forget && !s.data.node_id)
		return forget_unstarted(m, &s, e);
	/* the state file: should this be cut short, delete knows the node */
	if (state_save(m, &s.data, e) < 0 || retire_job(m, id, RETIRE_MS, forget ? NULL : &containers, e) < 0)
		return -1;
	if (!forget) {
		err_move(e, &containers);
		return e->kind != ERR_NONE ? -1 : 0;
	}
	if (retire_data(m, &s.data, e) < 0 || nomad_job_stop(m->nomad, id, true, e) < 0)
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

/*
 * Register and wait until ready. @s: what was there before: nothing, or a dead machine, whose data decide the
 * node. Failing, a machine that was not there before is gone again, one that was is stopped again.
 */
static int deploy(struct machine *m, const struct sight *s, struct err *e)
{
	bool is_new = !s->job && !s->data.node_id;
	AUTO(freep) char *stamp = deploy_stamp(e);
	AUTO(freep)
	char *dir = s->data.dir ? xstrdup(s->data.dir) : spec_dir(m->options, m->options->machine_id);
	AUTO(json_freep) cJSON *job = NULL, *alloc = NULL;
	/* create-only, or this very version of it: two at once cannot both win */
	uint64_t expect = s->job ? json_u64(s->job, "JobModifyIndex", 0) : 0;
	struct nomad_registered registered;

	if (!stamp)
		return -1;
	struct spec_request rq = {
		.options = m->options,
		.machine_id = m->options->machine_id,
		.owner = m->owner,
		.version = m->version,
		.start = stamp,
		.node_id = s->data.node_id,
		.dir = dir,
	};
	job = spec_machine(&rq);
	int failed = nomad_job_register(m->nomad, job, &expect, &registered, e);
	if (failed && e->kind == ERR_CONFLICT)
		return -1;
	if (failed && e->kind == ERR_AUTH)
		return hint_token(m, "submit-job", e);
	if (failed && e->kind == ERR_REMOTE)
		hint_refused(m, e);
	/* otherwise it may have been registered although the reply never came: the stamp tells */
	if (!failed) {
		struct observation what = {
			.job_id = m->options->machine_id,
			.eval_id = registered.eval_id,
			.since = registered.job_modify_index,
			.task = SPEC_TASK,
			.until_ready = true,
		};
		failed = observe(m, &what, &alloc, e);
	}
	if (!failed)
		failed = note_node(m, alloc, dir, e);
	if (!failed && !s->data.node_id)
		failed = pin(m, &rq, alloc, registered.job_modify_index, e);
	if (failed)
		roll_back(m, stamp, is_new);
	return failed;
}

/* A node that is away: say so with the ways out; never start empty elsewhere. */
static int check_node(struct machine *m, const struct state *data, struct err *e)
{
	AUTO(json_freep) cJSON *node = NULL;
	const char *name = data->node_name ? data->node_name : data->node_id;

	if (!data->node_id)
		return 0;
	if (nomad_node(m->nomad, data->node_id, &node, e) < 0) {
		if (e->kind != ERR_NOT_FOUND)
			return -1;
		err_clear(e);
		err_set(e, ERR_REMOTE, "the machine's data are on node %s (%s), which Nomad no longer knows",
			name, data->dir);
	} else if (node_usable(node)) {
		return 0;
	} else {
		const char *status = json_str(node, "Status");
		AUTO(freep) char *clean = text_clean(status ? status : "?", status ? strlen(status) : 1, 40);

		if (text_eq(status, "ready"))
			err_set(e, ERR_REMOTE,
				"the machine's data are on node %s (%s), which takes no jobs now", name,
				data->dir);
		else
			err_set(e, ERR_REMOTE, "the machine's data are on node %s (%s), which is %s", name,
				data->dir, clean);
	}
	return err_hint(e,
			"bring the node back (nomad node status %s; nomad node eligibility -enable), or give "
			"the data "
			"up: devpod delete, then devpod up",
			data->node_id);
}

/* A dead machine may still be stopping. */
static int start_dead(struct machine *m, struct sight *s, struct err *e)
{
	if (!sight_settled(s)) {
		log_info("waiting until the machine has stopped");
		if (retire_job(m, m->options->machine_id, RETIRE_MS, NULL, e) < 0)
			return -1;
		sight_clear(s);
		if (sight_take(m, s, e) < 0)
			return -1;
	}
	if (check_node(m, &s->data, e) < 0)
		return -1;
	return deploy(m, s, e);
}

int machine_start(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;
	const char *id = m->options->machine_id;
	int failed;

	if (sight_take(m, &s, e) < 0)
		return err_wrap(e, "start machine '%s'", id);
	if (sight_alive(&s)) {
		failed = adopt(m, &s, e);
	} else if (!s.job && !s.data.node_id) {
		failed = err_set(e, ERR_NOT_FOUND, "there is no such machine");
		err_hint(e, "create makes one");
	} else {
		log_info("starting machine '%s'", id);
		failed = start_dead(m, &s, e);
	}
	return failed ? err_wrap(e, "start machine '%s'", id) : 0;
}

static int create(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;

	if (sight_take(m, &s, e) < 0)
		return -1;
	const char *owner = s.job ? spec_meta(s.job, SPEC_META_OWNER) : NULL;
	if (owner && !text_eq(owner, m->owner)) {
		AUTO(freep) char *clean = text_clean(owner, strlen(owner), 100);
		err_set(e, ERR_CONFLICT, "a machine of that name exists and belongs to %s", clean);
		return err_hint(e, "give the workspace another name, or use another NOMAD_NAMESPACE");
	}
	if (sight_alive(&s))
		return adopt(m, &s, e);
	if (!s.job && !s.data.node_id) {
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
