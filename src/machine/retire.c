#include "clock.h"
#include "log.h"
#include "machine_private.h"
#include "platform.h"
#include "text.h"

#include <inttypes.h>

#define CLEANUP_TRIES    4 /* when other deletes are at it */
#define CLEANUP_PAUSE_MS 200
#define BLOCK_MS         30000
#define LAST_TASK_MS     15000 /* for a task that Nomad has yet to begin, and may never */

/* An allocation whose first task failed at once reads failed before the task `stopped` has begun (measured).
 */
static bool task_is_left(const cJSON *allocations)
{
	const cJSON *alloc, *task;

	cJSON_ArrayForEach (alloc, allocations) {
		if (!text_eq(json_str(alloc, "ClientStatus"), "failed"))
			continue;
		cJSON_ArrayForEach (task, json_get(alloc, "TaskStates"))
			if (!text_eq(json_str(task, "State"), "dead"))
				return true;
	}
	return false;
}

/* Wait until every allocation of the job is terminal. @ret: the allocations as they are then. */
static int await_settled(struct machine *m, const char *job_id, int64_t settle_ms, cJSON **ret, struct err *e)
{
	struct nomad_wait wait = NOMAD_WAIT_INIT;
	int64_t deadline = clock_ms() + settle_ms, patience = clock_ms() + LAST_TASK_MS, trouble_since = 0;

	for (;;) {
		AUTO(sight_clear) struct sight s = SIGHT_INIT;

		if (nomad_job_allocations(m->nomad, job_id, &wait, &s.allocations, e) < 0) {
			if (!trouble_passes(m, &trouble_since, e))
				return -1;
			continue;
		}
		trouble_since = 0;
		bool settled = sight_settled(&s);
		if (settled && (!task_is_left(s.allocations) || !clock_left(patience))) {
			*ret = TAKE(s.allocations);
			return 0;
		}
		if (!clock_left(deadline)) {
			err_set(e, ERR_TIMEOUT,
				"job '%s' still has a running allocation %" PRId64 " s after it was stopped",
				job_id, settle_ms / 1000);
			return err_hint(e, "is its node reachable? See: nomad job status %s", job_id);
		}
		int64_t left = clock_left(settled ? patience : deadline);
		wait.ms = left < BLOCK_MS ? left : BLOCK_MS;
	}
}

/* The task that stops the devcontainers may have failed: the user must know what still runs. */
static void check_stopped_task(struct machine *m, const cJSON *allocations, struct err *ret)
{
	const cJSON *newest = nomad_newest(allocations);
	AUTO(err_clear) struct err why = ERR_INIT;

	if (!newest || !json_is_true(task_state(newest, SPEC_TASK_STOPPED), "Failed"))
		return;
	alloc_failure(m, newest, SPEC_TASK_STOPPED, &why);
	const char *node = json_str(newest, "NodeName");
	err_set(ret, ERR_REMOTE, "the machine is stopped, its devcontainers may still run: %s", why.msg);
	err_hint(ret, "look at the containers on node %s: docker ps", node ? node : "?");
}

int retire_job(struct machine *m, const char *job_id, int64_t settle_ms, struct err *ret_containers,
	       struct err *e)
{
	AUTO(json_freep) cJSON *allocations = NULL;

	if (nomad_job_stop(m->nomad, job_id, false, e) < 0)
		return -1;
	if (await_settled(m, job_id, settle_ms, &allocations, e) < 0)
		return -1;
	if (ret_containers)
		check_stopped_task(m, allocations, ret_containers);
	return 0;
}

int machine_stop(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;
	AUTO(err_clear) struct err containers = ERR_INIT;
	const char *id = m->options->machine_id;

	if (sight_take(m, &s, e) < 0)
		return err_wrap(e, "stop machine '%s'", id);
	/* a machine whose node is away has no allocation, but Nomad would start it when the node is back */
	if (!s.job || (text_eq(json_str(s.job, "Status"), "dead") && sight_settled(&s)))
		return 0;
	log_info("stopping machine '%s'", id);
	/* before it is stopped: once Nomad forgets the dead job, this file is what still knows the node */
	if (state_save(m, &s.data, e) < 0)
		return err_wrap(e, "stop machine '%s'", id);
	if (retire_job(m, id, RETIRE_MS, &containers, e) == 0)
		err_move(e, &containers);
	return e->kind != ERR_NONE ? err_wrap(e, "stop machine '%s'", id) : 0;
}

/* Return: 1 when the node can run a job, 0 when it is away (told), -1 on error. */
static int node_is_there(struct machine *m, struct state *where, struct err *e)
{
	AUTO(json_freep) cJSON *node = NULL;
	const char *why = "is no longer known to Nomad";

	if (node_find(m, where, &node, e) < 0)
		return -1;
	if (node && node_usable(node))
		return 1;
	if (node)
		why = text_eq(json_str(node, "Status"), "ready")
			      ? "takes no jobs (it is ineligible or drains)"
			      : "is down";
	const char *name = where->node_name ? where->node_name : where->node_id;
	log_warn("node %s %s: the directory %s and the devcontainers of this machine stay there", name, why,
		 where->dir);
	return 0;
}

/*
 * The clean-up job as it is: another delete may be at it, which is waited for, or an interrupted one has left
 * it.
 * @ret_expect: its JobModifyIndex, 0 when there is none.
 */
static int await_other_cleanup(struct machine *m, const char *id, uint64_t *ret_expect, struct err *e)
{
	int64_t deadline = clock_ms() + RETIRE_MS;

	for (;;) {
		AUTO(json_freep) cJSON *job = NULL, *allocations = NULL;

		*ret_expect = 0;
		if (nomad_find_job(m->nomad, id, &job, e) < 0)
			return -1;
		if (!job)
			return 0;
		if (!spec_is_ours(job, m->options->machine_id))
			return err_set(e, ERR_CONFLICT, "job '%s' exists in Nomad and is not ours", id);
		*ret_expect = json_u64(job, "JobModifyIndex", 0);
		if (text_eq(json_str(job, "Status"), "dead") || !clock_left(deadline))
			return 0;
		/* it may have no allocation yet */
		if (await_settled(m, id, RETIRE_MS, &allocations, e) < 0 ||
		    http_wait(nomad_http(m->nomad), CLEANUP_PAUSE_MS, e) < 0)
			return -1;
	}
}

/* Forget the clean-up job, unless another delete has made it its own meanwhile. @ended: nothing of it runs.
 */
static int forget_cleanup(struct machine *m, const char *id, const char *stamp, bool ended, struct err *e)
{
	AUTO(json_freep) cJSON *job = NULL, *allocations = NULL;

	if (nomad_find_job(m->nomad, id, &job, e) < 0)
		return -1;
	if (!job || !text_eq(spec_meta(job, SPEC_META_START), stamp))
		return 0;
	if (!ended && (nomad_job_stop(m->nomad, id, false, e) < 0 ||
		       await_settled(m, id, RETIRE_MS, &allocations, e) < 0))
		return -1;
	return nomad_job_stop(m->nomad, id, true, e);
}

/* Run the clean-up job once, and forget it. ERR_CONFLICT: another delete took the job for its own. */
static int run_cleanup_once(struct machine *m, const cJSON *job, const char *stamp, struct err *e)
{
	const char *id = json_str(job, "ID");
	AUTO(json_freep) cJSON *alloc = NULL;
	struct nomad_registered registered;
	uint64_t expect;

	if (await_other_cleanup(m, id, &expect, e) < 0 ||
	    nomad_job_register(m->nomad, job, &expect, &registered, e) < 0)
		return -1;
	struct observation what = {
		.job_id = id,
		.eval_id = registered.eval_id,
		.since = registered.job_modify_index,
		.task = SPEC_TASK_CLEANUP,
	};
	int failed = observe(m, &what, &alloc, e);

	/* the clean-up job goes whatever came of it */
	struct err stays = ERR_INIT;
	if (failed && e->kind == ERR_INTERRUPTED)
		interrupt_acknowledge();
	if (forget_cleanup(m, id, stamp, failed == 0, &stays) < 0) {
		err_wrap(&stays, "remove the clean-up job '%s'", id);
		err_move(e, &stays);
		return -1;
	}
	return failed;
}

static int run_cleanup(struct machine *m, const struct state *where, const char *only_of, const char *image,
		       struct err *e)
{
	AUTO(freep) char *stamp = deploy_stamp(e);
	AUTO(json_freep) cJSON *job = NULL;
	int failed = -1;

	if (!stamp)
		return -1;
	job = spec_cleanup(&(struct spec_request){.options = m->options,
						  .machine_id = m->options->machine_id,
						  .owner = m->owner,
						  .version = m->version,
						  .start = stamp,
						  .node_id = where->node_id,
						  .dir = where->dir,
						  .image = image,
						  .only_of = only_of,
						  .docker = where->docker});
	for (int tries = 0; failed && tries < CLEANUP_TRIES; tries++) {
		err_clear(e);
		failed = run_cleanup_once(m, job, stamp, e);
		if (failed && e->kind != ERR_CONFLICT)
			break;
	}
	return failed;
}

int retire_data(struct machine *m, struct state *where, const char *only_of, struct err *e)
{
	static const char other[] = OPTIONS_IMAGE_HOST;

	if (where->storage != STORAGE_EPHEMERAL)
		return storage_remove(m, where->storage, e);

	int there = node_is_there(m, where, e);
	if (there <= 0)
		return there;
	int failed = run_cleanup(m, where, only_of, NULL, e);
	/* an image that cannot even run the script must not keep its machine from being deleted */
	if (failed && e->kind == ERR_REMOTE && !e->status && !text_eq(other, m->options->image)) {
		log_info("%s; trying it with the image %s", e->msg, other);
		err_clear(e);
		failed = run_cleanup(m, where, only_of, other, e);
	}
	return failed ? err_wrap(e, "clean up %s on node %s", where->dir,
				 where->node_name ? where->node_name : where->node_id)
		      : 0;
}

int machine_delete(struct machine *m, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;
	const char *id = m->options->machine_id;

	if (sight_take(m, &s, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	if (storage_look(m, &s, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	if (s.job || s.data.known)
		log_info("deleting machine '%s'", id);
	if (state_save(m, &s.data, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	/* the clean-up removes also what could not be stopped */
	if (s.job && retire_job(m, id, RETIRE_MS, NULL, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	if (s.data.known && retire_data(m, &s.data, NULL, e) < 0) {
		err_wrap(e, "delete machine '%s'", id);
		return err_hint(e, "the job stays in Nomad, dead, so that delete can be tried again");
	}
	if (s.job && nomad_job_stop(m->nomad, id, true, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	if (state_remove(m, e) < 0)
		return err_wrap(e, "delete machine '%s'", id);
	return 0;
}
