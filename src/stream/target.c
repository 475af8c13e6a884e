#include "target.h"

#include "log.h"

static int not_running(const struct stream_request *rq, const cJSON *alloc, struct err *e)
{
	if (!alloc)
		err_set(e, ERR_NOT_FOUND, "the machine '%s' has no allocation", rq->job);
	else {
		const char *status = json_str(alloc, "ClientStatus");
		const cJSON *task = json_get(json_get(alloc, "TaskStates"), rq->task);
		const char *state = json_str(task, "State");

		err_set(e, ERR_NOT_FOUND,
			"the machine '%s' is not running: allocation %.8s is %s, its task %s", rq->job,
			json_str(alloc, "ID") ? json_str(alloc, "ID") : "?",
			status ? status : "in no known state", state ? state : "has not begun");
	}
	return err_hint(e, "start it: `devpod machine start`, or `devpod up` of its workspace");
}

/* The newest allocation, which must be running: @ret_id has room for a UUID. */
static int find_allocation(struct nomad *n, const struct stream_request *rq, char ret_id[NOMAD_ID_LEN + 1],
			   struct err *e)
{
	AUTO(json_freep) cJSON *list = NULL;

	if (nomad_job_allocations(n, rq->job, NULL, &list, e) < 0)
		return err_wrap(e, "look for the machine '%s'", rq->job);
	const cJSON *alloc = nomad_newest(list);
	const char *id = json_str(alloc, "ID");
	if (!alloc || !nomad_alloc_running(alloc, rq->task))
		return not_running(rq, alloc, e);
	if (!id || strlen(id) != NOMAD_ID_LEN)
		return err_set(e, ERR_REMOTE, "Nomad names an allocation without a valid ID");
	memcpy(ret_id, id, NOMAD_ID_LEN + 1);
	return 0;
}

int target_choose(struct nomad *n, const struct stream_request *rq, const struct stream_route *route,
		  struct target *ret, struct err *e)
{
	struct target t = {.nomad = route->direct ? route->direct : n, .direct = route->direct != NULL};

	if (strlen(route->alloc_id) == NOMAD_ID_LEN) {
		memcpy(t.alloc, route->alloc_id, sizeof(t.alloc));
		t.remembered = true;
	} else if (find_allocation(n, rq, t.alloc, e) < 0) {
		return -1;
	}
	*ret = t;
	return 0;
}

bool target_failed(const struct target *t, const struct err *why, struct stream_route *route)
{
	bool no_answer = why->kind == ERR_CONNECT || why->kind == ERR_TIMEOUT;

	if (why->kind == ERR_INTERRUPTED)
		return false;
	/* the node's agent first: without an answer nothing is known of the allocation */
	if (t->direct)
		route->direct = NULL;
	if (t->remembered && !(t->direct && no_answer))
		route->alloc_id[0] = '\0';
	if (!t->direct && !t->remembered)
		return false;
	log_debug("exec: %s %.8s: %s", t->direct ? "directly to the node, allocation" : "remembered allocation", t->alloc,
		  why->msg);
	route->changed = true;
	return true;
}

void target_worked(const struct target *t, struct stream_route *route)
{
	if (strcmp(route->alloc_id, t->alloc) != 0)
		route->changed = true;
	memcpy(route->alloc_id, t->alloc, sizeof(t->alloc));
}
