#include "machine_private.h"

#include "text.h"

#include <inttypes.h>

bool node_in_reach(const struct options *o, const cJSON *node)
{
	const char *datacenter = json_str(node, "Datacenter"), *pool = json_str(node, "NodePool");

	if (o->node_pool && !text_eq(o->node_pool, "all") && pool && !text_eq(o->node_pool, pool))
		return false;
	for (char **d = o->datacenters; *d; d++)
		if (datacenter && text_glob(*d, datacenter))
			return true;
	return false;
}

bool node_usable(const cJSON *node)
{
	return text_eq(json_str(node, "Status"), "ready") &&
	       text_eq(json_str(node, "SchedulingEligibility"), "eligible");
}

/* A resource that an allocation takes: how Nomad names it when it is exhausted, and how we do. */
struct dimension {
	const char *name;    /* in DimensionExhausted */
	const char *unit;    /* for people */
	const char *option;  /* that asks for it */
	const char *path[2]; /* in NodeResources and ReservedResources of a node */
	int64_t asked;
};

static uint64_t capacity(const cJSON *node, const struct dimension *d)
{
	uint64_t all = json_u64(json_get(json_get(node, "NodeResources"), d->path[0]), d->path[1], 0);
	uint64_t reserved =
		json_u64(json_get(json_get(node, "ReservedResources"), d->path[0]), d->path[1], 0);

	return all > reserved ? all - reserved : 0;
}

/* The node in reach with most of it, borrowed from @nodes; NULL when there is none. */
static const cJSON *largest(struct machine *m, const cJSON *nodes, const struct dimension *d)
{
	const cJSON *best = NULL, *node;

	cJSON_ArrayForEach (node, nodes) {
		if (node_usable(node) && node_in_reach(m->options, node) &&
		    (!best || capacity(node, d) > capacity(best, d)))
			best = node;
	}
	return best;
}

static int exhausted(struct machine *m, const cJSON *metric, bool *ret_never, struct err *e)
{
	const struct options *o = m->options;
	const struct dimension dimensions[] = {
		{"cpu", "MHz", "NOMAD_CPU", {"Cpu", "CpuShares"}, o->cores ? 0 : o->cpu_mhz},
		{"cores", "cores", "NOMAD_CORES", {"Cpu", "TotalCpuCores"}, o->cores},
		{"memory", "MB", "NOMAD_MEMORYMB", {"Memory", "MemoryMB"}, o->memory_mb},
		{"disk", "MB", "NOMAD_DISKMB", {"Disk", "DiskMB"}, o->disk_mb},
	};
	AUTO(json_freep) cJSON *nodes = NULL;
	AUTO(buf_clear) struct buf text = BUF_INIT;
	const cJSON *entry;
	const char *option = NULL;

	if (nomad_nodes(m->nomad, &nodes, e) < 0)
		return -1;
	cJSON_ArrayForEach (entry, json_get(metric, "DimensionExhausted")) {
		const struct dimension *d = NULL;
		AUTO(freep) char *name = text_cleaned(entry->string, 80);

		for (size_t i = 0; i < ARRAY_SIZE(dimensions); i++)
			if (text_eq(dimensions[i].name, name))
				d = &dimensions[i];
		buf_printf(&text, "%s%s exhausted on %.0f node(s)", text.len ? "; " : "", name,
			   entry->valuedouble);
		const cJSON *best = d ? largest(m, nodes, d) : NULL;
		if (!best)
			continue;
		const char *node = json_str(best, "Name");
		buf_printf(&text,
			   " (%" PRId64 " %s asked, the largest node in reach, %s, has %" PRIu64
			   " %s in all)",
			   d->asked, d->unit, node ? node : "?", capacity(best, d), d->unit);
		if (d->asked > 0 && (uint64_t)d->asked > capacity(best, d)) {
			*ret_never = true;
			option = d->option;
		} else if (!option) {
			option = d->option;
		}
	}
	err_set(e, ERR_REMOTE, "%s: %s", *ret_never ? "no node is large enough" : "no node has room now",
		buf_str(&text));
	if (option)
		return err_hint(e, *ret_never ? "lower %s" : "lower %s, or stop something on the cluster",
				option);
	return -1;
}

static int filtered(const cJSON *metric, struct err *e)
{
	static const struct {
		const char *word, *hint;
	} known[] = {
		{"driver", "a node with a healthy docker driver is needed: nomad node status -verbose NODE"},
		{"vault",
		 "no such node's Nomad knows a Vault: vault { enabled = true } in its configuration"},
		{"devices",
		 "look at the NOMAD_GPU options, and at the nodes' devices: nomad node status -verbose "
		 "NODE"},
	};
	AUTO(buf_clear) struct buf text = BUF_INIT;
	const cJSON *entry;
	const char *hint = "look at NOMAD_CONSTRAINTS_JSON, and at the nodes' attributes: nomad node status "
			   "-verbose NODE";

	cJSON_ArrayForEach (entry, json_get(metric, "ConstraintFiltered")) {
		AUTO(freep) char *name = text_cleaned(entry->string, 200);

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			if (strstr(name, known[i].word))
				hint = known[i].hint;
		buf_printf(&text, "%s%s: %.0f node(s)", text.len ? "; " : "", name, entry->valuedouble);
	}
	cJSON_ArrayForEach (entry, json_get(metric, "ClassFiltered")) {
		AUTO(freep) char *name = text_cleaned(entry->string, 200);

		buf_printf(&text, "%snode class %s: %.0f node(s)", text.len ? "; " : "", name,
			   entry->valuedouble);
	}
	err_set(e, ERR_REMOTE, "no node fits: filtered out by constraint: %s", buf_str(&text));
	return err_hint(e, "%s", hint);
}

static int nothing_in_reach(struct machine *m, const cJSON *metric, struct err *e)
{
	const struct options *o = m->options;
	AUTO(buf_clear) struct buf datacenters = BUF_INIT;
	const char *pool = json_str(metric, "NodePool");

	for (char **d = o->datacenters; *d; d++)
		buf_printf(&datacenters, "%s%s", datacenters.len ? "," : "", *d);
	err_set(e, ERR_REMOTE, "no ready and eligible node in datacenters '%s' and node pool '%s'",
		buf_str(&datacenters),
		pool && *pool  ? pool
		: o->node_pool ? o->node_pool
			       : "default");
	return err_hint(e, "look at NOMAD_DATACENTERS and NOMAD_NODE_POOL, and at: nomad node status");
}

int placement_error(struct machine *m, const cJSON *metric, bool *ret_never, struct err *e)
{
	*ret_never = false;
	if (cJSON_GetArraySize(json_get(metric, "DimensionExhausted")))
		return exhausted(m, metric, ret_never, e);
	if (cJSON_GetArraySize(json_get(metric, "QuotaExhausted"))) {
		const char *first =
			cJSON_GetStringValue(cJSON_GetArrayItem(json_get(metric, "QuotaExhausted"), 0));
		AUTO(freep) char *clean = text_cleaned(first, 200);

		err_set(e, ERR_REMOTE, "the namespace's quota is exhausted: %s", clean);
		return err_hint(e, "stop a machine, or ask for a larger quota");
	}
	*ret_never = true;
	if (json_u64(metric, "NodesEvaluated", 0) == 0)
		return nothing_in_reach(m, metric, e);
	return filtered(metric, e);
}
