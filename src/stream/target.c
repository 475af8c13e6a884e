#include "target.h"

#include "log.h"

int target_choose(struct nomad *n, const struct stream_route *route, struct target *ret, struct err *e)
{
	struct target t = {.nomad = route->direct ? route->direct : n, .direct = route->direct != NULL};

	if (strlen(route->alloc_id) == NOMAD_ID_LEN) {
		memcpy(t.alloc, route->alloc_id, sizeof(t.alloc));
		t.remembered = true;
	} else if (route->find(route->arg, t.alloc, e) < 0) {
		return -1;
	}
	*ret = t;
	return 0;
}

bool target_failed(const struct target *t, const struct err *why, struct stream_route *route)
{
	bool no_answer = why->kind == ERR_CONNECT || why->kind == ERR_TIMEOUT || why->kind == ERR_TLS;

	/* without TLS a server is no use for any allocation */
	if (why->kind == ERR_INTERRUPTED || (why->kind == ERR_TLS && !t->direct))
		return false;
	/* the node's agent first: without an answer nothing is known of the allocation */
	if (t->direct)
		route->direct = NULL;
	if (t->remembered && !(t->direct && no_answer))
		route->alloc_id[0] = '\0';
	if (!t->direct && !t->remembered)
		return false;
	log_debug("exec: %s %.8s: %s",
		  t->direct ? "directly to the node, allocation" : "remembered allocation", t->alloc,
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
