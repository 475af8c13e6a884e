/* What the files of this room share. */
#ifndef MACHINE_PRIVATE_H
#define MACHINE_PRIVATE_H

#include "machine.h"
#include "nomad.h"
#include "options.h"
#include "spec.h"

#include <stdbool.h>

struct machine {
	const struct options *options;
	const char *version;
	struct nomad *nomad;
	char *owner;
	char *state_path; /* or NULL: no MACHINE_FOLDER */

	/* machine_route()'s */
	struct nomad *direct;
	char *alloc_id;
};

/** connect_to() - a client for Nomad at that address, with all else as the options say. */
int connect_to(const struct machine *m, const char *addr, const char *tls_server_name, int64_t connect_ms,
	       struct nomad **ret, struct err *e) MUST_CHECK;

/** read_vault() - vault_read_kv() with what the options say; a token is there. */
int read_vault(const struct machine *m, const char *path, cJSON **ret, struct err *e) MUST_CHECK;

/* -- route.c -- */

/** route_address() - the address of a node's own agent, for free(); NULL when commands do not go there
 * directly. */
char *route_address(struct machine *m, const char *node_id);

/* -- state.c: where the data are, in MACHINE_FOLDER, because Nomad forgets dead jobs after some hours
 * (#25162) -- */

struct state {
	bool known; /* there is a machine with data; false: no file */
	bool ready; /* it was ready once: what is missing now, somebody took away */
	enum options_storage storage;
	enum options_docker docker;
	char *node_id, *node_name; /* where the directory, or the host volume, is; NULL: not known, or a CSI
				      volume */
	char *dir;
	/* how a command got there last: hints, never the truth */
	char *alloc_id;  /* or NULL */
	char *node_addr; /* of the node's own agent, as NOMAD_ADDR would be; NULL: not known, or out of reach
			  */
};
#define STATE_INIT                                                                                           \
	{                                                                                                    \
		false, false, STORAGE_EPHEMERAL, DOCKER_HOST, NULL, NULL, NULL, NULL, NULL                   \
	}
void state_clear(struct state *s);
/** state_load() - no file: 0 and an empty state. A broken file is an error that names it. */
int state_load(const struct machine *m, struct state *ret, struct err *e) MUST_CHECK;
/** state_save() - nothing when it is not known. */
int state_save(const struct machine *m, const struct state *s, struct err *e) MUST_CHECK;
int state_remove(const struct machine *m, struct err *e) MUST_CHECK;

/* -- machine.c: what Nomad knows of a machine -- */

/** hint_token() - for ERR_AUTH: where the token came from, and what it needs. Return: -1. */
int hint_token(const struct machine *m, const char *capabilities, struct err *e);

/** namespace_exists() - ERR_NOT_FOUND, with a hint, when it does not; @capabilities: as hint_token()'s. */
int namespace_exists(struct machine *m, const char *name, const char *capabilities, struct err *e) MUST_CHECK;

/** hint_refused() - for a job that Nomad did not take: the option that it speaks of. */
void hint_refused(const struct machine *m, struct err *e);

/** A machine's job, its allocations, and where its data are. */
struct sight {
	cJSON *job;          /* NULL: Nomad has none */
	cJSON *allocations;  /* an array */
	const cJSON *newest; /* of them, borrowed, or NULL */
	cJSON *volume;       /* storage_look()'s */
	struct state data;   /* what holds this machine's data */
};
#define SIGHT_INIT                                                                                           \
	{                                                                                                    \
		NULL, NULL, NULL, NULL, STATE_INIT                                                           \
	}
void sight_clear(struct sight *s);
/** sight_take() - ERR_CONFLICT when a job of that name is there and not ours. */
int sight_take(struct machine *m, struct sight *ret, struct err *e) MUST_CHECK;
/** sight_alive() - it runs or will, by itself: something is left to wait for. */
bool sight_alive(const struct sight *s);
/** sight_settled() - no allocation runs any more. */
bool sight_settled(const struct sight *s);

/** alloc_touched_node() - the allocation got as far as making the machine's directory, @dir, on its node. */
bool alloc_touched_node(const cJSON *alloc, const char *dir);
/** alloc_failure() - why it ended, or cannot start, in Nomad's words. Return: -1, always. */
int alloc_failure(struct machine *m, const cJSON *alloc, const char *task, struct err *e);
/** task_state() - TaskStates[name], borrowed, or NULL. */
const cJSON *task_state(const cJSON *alloc, const char *name);

/* -- node.c: the node that has the data -- */

/**
 * node_find() - the node of @data: by its id, or, where Nomad knows that no more, the one that has its name
 * now (a node that was set up anew keeps its disk); @data has its id then. Return: 0, *ret NULL when there is
 * none.
 */
int node_find(struct machine *m, struct state *data, cJSON **ret, struct err *e) MUST_CHECK;
/** node_ready() - jobs can run there; otherwise ERR_REMOTE, with the ways out. A node that is not known is no
 * trouble. */
int node_ready(struct machine *m, struct state *data, struct err *e) MUST_CHECK;

/* -- storage.c: the volume of a persistent machine; each does nothing for an ephemeral one -- */

/** storage_look() - find the volume, s->volume; one that is there makes the machine known. */
int storage_look(struct machine *m, struct sight *s, struct err *e) MUST_CHECK;
/** storage_make() - a new machine's volume. */
int storage_make(struct machine *m, const struct spec_request *rq, struct err *e) MUST_CHECK;
/** storage_may_be_made() - of storage_make()'s error: nobody has said that there is none. */
bool storage_may_be_made(const struct err *e);
/** storage_grow() - to what the options say, where that is more; what the plugin cannot do is told as a
 * warning. */
int storage_grow(struct machine *m, const struct spec_request *rq, const cJSON *volume,
		 struct err *e) MUST_CHECK;
/** storage_wait_usable() - a claim outlives its allocation by a moment, and a host volume is not there at
 * once. */
int storage_wait_usable(struct machine *m, const struct sight *s, struct err *e) MUST_CHECK;
/** storage_remove() - wait until no job uses it, then delete it. Absent is a success. */
int storage_remove(struct machine *m, enum options_storage storage, struct err *e) MUST_CHECK;
/** storage_settle() - after storage_make() was cut short: wait until Nomad is done with it. */
void storage_settle(struct machine *m, const struct spec_request *rq);
/** storage_check() - `init`: what makes the volumes is there. */
int storage_check(struct machine *m, struct err *e) MUST_CHECK;

/* -- trouble.c -- */

/**
 * trouble_passes() - while something is waited for: a server that restarts is no failure of the machine.
 * @since: 0 at first, and again after each answer. Waits a little.
 * Return: true, with @e cleared, when asking again makes sense; false with the error that counts.
 */
bool trouble_passes(struct machine *m, int64_t *since, struct err *e) MUST_CHECK;

/* -- placement.c -- */

/** node_in_reach() - of GET /v1/nodes: in the datacenters and the pool of the options. */
bool node_in_reach(const struct options *o, const cJSON *node);
/** node_usable() - ready and eligible. */
bool node_usable(const cJSON *node);

/**
 * placement_error() - why nothing could be placed, in plain words with a hint.
 * @metric: an element of FailedTGAllocs of an evaluation or a plan (Nomad's AllocMetric).
 * @ret_never: no node could ever take it, as the nodes are now. Return: -1, always.
 */
int placement_error(struct machine *m, const cJSON *metric, bool *ret_never, struct err *e);

/* -- reason.c -- */

/** reason_text() - what Nomad says, in one line and fewer words, of at most @max bytes; for free(). */
char *reason_text(const char *text, size_t max);
/** reason_hint() - what to do about such a text, where that is known. */
void reason_hint(const char *text, const struct options *o, struct err *e);

/* -- secrets.c -- */

/** secrets_missing() - what Nomad says when the task waits for secrets of Vault's, borrowed; NULL: it does
 * not.
 */
const char *secrets_missing(const cJSON *alloc, const char *task);
/** secrets_failure() - that text as an error, with the paths and what is wrong with them. Return: -1, always.
 */
int secrets_failure(struct machine *m, const char *missing, struct err *e);

/* -- observe.c -- */

/** What to wait for. Borrowed during the call. */
struct observation {
	const char *job_id;
	const char *
		eval_id; /* of the registration; NULL: there is an allocation, or will be, from another one */
	uint64_t since;  /* only allocations with a CreateIndex of at least this one count */
	const char *task; /* the one that matters */
	bool until_ready; /* true: until it says ready; false: until the allocation is terminal, with exit
			     code 0 */
};

/**
 * observe() - follow a job's newest allocation until it is ready, or done.
 * @ret_alloc: the allocation as last seen, for json_freep(); also written on failure when there was one.
 * Return: 0, or -1 with Nomad's own reason.
 */
int observe(struct machine *m, const struct observation *what, cJSON **ret_alloc, struct err *e) MUST_CHECK;

/* -- retire.c -- */

#define RETIRE_MS 180000 /* the kill timeout, the task `stopped`, and a slow node */

/**
 * retire_job() - deregister and wait, settle_ms at the most, until every allocation is terminal.
 * @ret_containers: set, with 0 returned, when the devcontainers may still run; to be cleared. NULL: does not
 * matter.
 */
int retire_job(struct machine *m, const char *job_id, int64_t settle_ms, struct err *ret_containers,
	       struct err *e) MUST_CHECK;
/**
 * retire_data() - remove what @where names: by the clean-up job, or the volume. A node that is away: told,
 * and a success.
 * @only_of: what was there before the start of that stamp stays; NULL: everything goes.
 */
int retire_data(struct machine *m, struct state *where, const char *only_of, struct err *e) MUST_CHECK;

/* -- deploy.c -- */

/** deploy_stamp() - another text at every start, for free(). */
char *deploy_stamp(struct err *e) MUST_CHECK;

#endif
