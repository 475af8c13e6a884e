/* What nomad.c and volume.c share. */
#ifndef NOMAD_PRIVATE_H
#define NOMAD_PRIVATE_H

#include "nomad.h"

/** nomad_call() - one exchange whose reply is JSON. @w may be NULL. */
int nomad_call(struct nomad *n, struct http_request *rq, struct nomad_wait *w, cJSON **ret,
	       struct err *e) MUST_CHECK;
/** nomad_path() - "/v1/WHAT/ID" with the id escaped, and what comes after it; for free(). */
char *nomad_path(const char *what, const char *id, const char *and);
/** nomad_own_not_found() - a 404 whose message lacks that text is not Nomad's, so no ERR_NOT_FOUND. Return:
 * -1.
 */
int nomad_own_not_found(struct nomad *n, const char *text, struct err *e);

#endif
