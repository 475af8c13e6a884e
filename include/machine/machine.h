#ifndef MACHINE_H
#define MACHINE_H

#include "err.h"

#include <stdbool.h>

struct options;
struct nomad;

/*
 * A machine: a Nomad job that behaves like one. Every call talks to Nomad, waits by
 * blocking queries, tells progress on stderr, and ends early with ERR_INTERRUPTED on a signal.
 */

struct machine;

enum machine_status {
	MACHINE_NOT_FOUND,
	MACHINE_STOPPED,
	MACHINE_BUSY,
	MACHINE_RUNNING,
};

/** machine_open() - @o, @version: borrowed until machine_freep(). Talks to nobody yet. */
int machine_open(const struct options *o, const char *version, struct machine **ret,
		 struct err *e) MUST_CHECK;
void machine_freep(struct machine **p);

struct nomad *machine_nomad(struct machine *m);
/** The task that a command runs in; borrowed. */
const char *machine_task(const struct machine *m);

/** machine_find_allocation() - the running one; @ret_id: 37 bytes. ERR_NOT_FOUND, with what it does instead.
 */
int machine_find_allocation(struct machine *m, char *ret_id, struct err *e) MUST_CHECK;

/**
 * machine_route() - how a command got there last, both borrowed, both may be NULL: the allocation, and the
 * node's own agent where that was in reach. Hints: what does not work is to be left out, and told by
 * machine_learn_route().
 */
void machine_route(struct machine *m, const char **ret_alloc_id, struct nomad **ret_direct);
void machine_learn_route(struct machine *m, const char *alloc_id, bool direct);

/** machine_check() - `init`: one check after the other, a line each on stderr. ERR of the first that fails.
 */
int machine_check(struct machine *m, struct err *e) MUST_CHECK;

/**
 * machine_create() - returns when the machine is ready. One that exists is adopted (alive) or started (dead)
 * when it is ours and of the same owner, refused with ERR_CONFLICT otherwise. On failure what this call made
 * is gone again.
 */
int machine_create(struct machine *m, struct err *e) MUST_CHECK;

/** machine_start() - on the node that has the data; running already is a success. On failure it is stopped
 * again. */
int machine_start(struct machine *m, struct err *e) MUST_CHECK;

/** machine_stop() - returns when every allocation is terminal. Stopped or absent is a success. The data stay.
 */
int machine_stop(struct machine *m, struct err *e) MUST_CHECK;

/**
 * machine_delete() - devcontainers, directory and job. Absent is a success. What stays on a node that is away
 * is told as a warning. On failure the (dead) job stays, so that delete can be tried again.
 */
int machine_delete(struct machine *m, struct err *e) MUST_CHECK;

int machine_status(struct machine *m, enum machine_status *ret, struct err *e) MUST_CHECK;

#endif
