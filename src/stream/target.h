#ifndef TARGET_H
#define TARGET_H

#include "nomad.h"
#include "stream.h"

/** Where the next try goes. */
struct target {
	struct nomad *nomad; /* whom to ask: the node's own agent or a server */
	char alloc[NOMAD_ID_LEN + 1];
	bool remembered; /* the allocation, not looked up */
	bool direct;     /* the agent is the node's */
};

/** target_choose() - what @route remembers, or else what it finds; through @n where it names no other way. */
int target_choose(struct nomad *n, const struct stream_route *route, struct target *ret,
		  struct err *e) MUST_CHECK;

/**
 * target_failed() - leave out of @route what did not work.
 * Return: true when something was left out, so that another try goes another way.
 */
bool target_failed(const struct target *t, const struct err *why, struct stream_route *route);

/** target_worked() - remember it. */
void target_worked(const struct target *t, struct stream_route *route);

#endif
