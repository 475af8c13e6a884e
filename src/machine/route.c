#include "log.h"
#include "machine_private.h"
#include "text.h"

#define DIRECT_CONNECT_MS 300 /* a node that takes longer is reached through the servers */

static bool is_https(const char *addr)
{
	return text_starts(addr, "https://");
}

/*
 * As Nomad's CLI goes straight to a client node (api/api.go, getNodeClientImpl), but never where that would
 * show credentials to somebody who has not seen them yet: no TLS where the servers have it, or a proxy's
 * password.
 */
char *route_address(struct machine *m, const char *node_id)
{
	const struct options *o = m->options;
	AUTO(json_freep) cJSON *node = NULL;
	AUTO(err_clear) struct err e = ERR_INIT;

	if (!o->exec_direct || o->http_auth || text_starts(o->addr, "unix://"))
		return NULL;
	if (nomad_node(m->nomad, node_id, &node, &e) < 0) {
		log_debug("no direct way to the node: %s", e.msg);
		return NULL;
	}
	const char *http = json_str(node, "HTTPAddr");
	bool tls = json_is_true(node, "TLSEnabled");
	if (!http || !*http || tls != is_https(o->addr))
		return NULL;
	AUTO(freep) char *addr = xasprintf("%s://%s", tls ? "https" : "http", http);
	/* the agent we talk to anyway */
	if (text_eq(addr, http_addr(nomad_http(m->nomad))))
		return NULL;
	return TAKE(addr);
}

static int not_running(const struct machine *m, const struct sight *s, struct err *e)
{
	const char *id = m->options->machine_id, *alloc = json_str(s->newest, "ID");
	const char *status = json_str(s->newest, "ClientStatus");
	const char *state = json_str(task_state(s->newest, SPEC_TASK), "State");

	if (!s->job) {
		err_set(e, ERR_NOT_FOUND, "there is no machine '%s' in Nomad", id);
		return err_hint(e, "`devpod up` of its workspace makes or starts it");
	}
	if (!s->newest)
		err_set(e, ERR_NOT_FOUND, "the machine '%s' has no allocation", id);
	else
		err_set(e, ERR_NOT_FOUND,
			"the machine '%s' is not running: allocation %.8s is %s, its task %s", id,
			alloc ? alloc : "?", status ? status : "in no known state",
			state ? state : "has not begun");
	return err_hint(e, "start it: `devpod machine start`, or `devpod up` of its workspace");
}

int machine_find_allocation(struct machine *m, char *ret_id, struct err *e)
{
	AUTO(sight_clear) struct sight s = SIGHT_INIT;

	if (sight_take(m, &s, e) < 0)
		return -1;
	const char *id = json_str(s.newest, "ID");
	if (!s.newest || !nomad_alloc_running(s.newest, SPEC_TASK))
		return not_running(m, &s, e);
	if (!id || strlen(id) != NOMAD_ID_LEN)
		return err_set(e, ERR_REMOTE, "Nomad names an allocation without a valid ID");
	memcpy(ret_id, id, NOMAD_ID_LEN + 1);
	return 0;
}

void machine_route(struct machine *m, const char **ret_alloc_id, struct nomad **ret_direct)
{
	AUTO(state_clear) struct state s = STATE_INIT;
	AUTO(err_clear) struct err e = ERR_INIT;

	*ret_alloc_id = NULL;
	*ret_direct = NULL;
	/* a hint that cannot be read is no hint; the commands that need the file tell what is wrong with it
	 */
	if (state_load(m, &s, &e) < 0) {
		log_debug("%s", e.msg);
		return;
	}
	m->alloc_id = TAKE(s.alloc_id);
	*ret_alloc_id = m->alloc_id;
	if (!s.node_addr || !m->options->exec_direct || m->options->http_auth ||
	    is_https(s.node_addr) != is_https(m->options->addr))
		return;

	const char *region = m->options->region ? m->options->region : "global";
	AUTO(freep)
	char *name = xasprintf("client.%s.nomad", region); /* what clients' certificates are for */
	if (connect_to(m, s.node_addr, name, DIRECT_CONNECT_MS, &m->direct, &e) < 0)
		log_debug("%s", e.msg);
	*ret_direct = m->direct;
}

void machine_learn_route(struct machine *m, const char *alloc_id, bool direct)
{
	AUTO(state_clear) struct state s = STATE_INIT;
	AUTO(err_clear) struct err e = ERR_INIT;

	if (state_load(m, &s, &e) < 0 || !s.known)
		goto done;
	free(s.alloc_id);
	s.alloc_id = xstrdup(alloc_id);
	if (!direct)
		free(TAKE(s.node_addr));
	if (state_save(m, &s, &e) == 0)
		return;
done:
	log_debug("the way to the machine is not remembered: %s", e.msg ? e.msg : "no state file");
}
