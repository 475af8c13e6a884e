#include "log.h"
#include "machine_private.h"
#include "text.h"

/* The one node of that name, borrowed from @nodes; NULL when there is none, or several. */
static const cJSON *named(const cJSON *nodes, const char *name)
{
	const cJSON *node, *found = NULL;

	cJSON_ArrayForEach (node, nodes) {
		if (!text_eq(json_str(node, "Name"), name))
			continue;
		if (found)
			return NULL;
		found = node;
	}
	return found;
}

int node_find(struct machine *m, struct state *data, cJSON **ret, struct err *e)
{
	AUTO(json_freep) cJSON *nodes = NULL;

	if (nomad_node(m->nomad, data->node_id, ret, e) == 0)
		return 0;
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	if (!data->node_name)
		return 0;
	if (nomad_nodes(m->nomad, &nodes, e) < 0)
		return -1;
	const cJSON *other = named(nodes, data->node_name);
	const char *id = json_str(other, "ID");
	if (!id)
		return 0;
	log_info("node %s has another ID now (%.8s): looking for the machine's data there", data->node_name,
		 id);
	free(data->node_id);
	data->node_id = xstrdup(id);
	return nomad_node(m->nomad, id, ret, e);
}

int node_ready(struct machine *m, struct state *data, struct err *e)
{
	AUTO(json_freep) cJSON *node = NULL;

	if (!data->node_id || data->storage == STORAGE_CSI)
		return 0;
	if (node_find(m, data, &node, e) < 0)
		return -1;
	if (node && node_usable(node))
		return 0;

	const char *name = data->node_name ? data->node_name : data->node_id;
	const char *status = json_str(node, "Status");
	AUTO(freep) char *clean = text_cleaned(status ? status : "in no known state", 40);

	if (!node)
		err_set(e, ERR_REMOTE, "the machine's data are on node %s (%s), which Nomad no longer knows",
			name, data->dir);
	else if (text_eq(status, "ready"))
		err_set(e, ERR_REMOTE, "the machine's data are on node %s (%s), which takes no jobs now",
			name, data->dir);
	else
		err_set(e, ERR_REMOTE, "the machine's data are on node %s (%s), which is %s", name, data->dir,
			clean);
	return err_hint(e,
			"bring the node back (nomad node status %s; nomad node eligibility -enable), or give "
			"the data up: devpod delete, then devpod up",
			data->node_id);
}
