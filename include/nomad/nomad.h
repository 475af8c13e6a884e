#ifndef NOMAD_H
#define NOMAD_H

#include "http.h"
#include "json.h"

/*
 * Nomad's HTTP API (v1), typed as far as this program needs it. Replies are cJSON trees for json_freep();
 * members are read with json.h's helpers, which take what is missing or of another type as absent.
 */

struct nomad;

/** nomad_open() - @token_origin: where the token came from, for hints ("NOMAD_TOKEN"); borrowed for good. */
int nomad_open(const struct http_config *config, const char *token_origin, struct nomad **ret,
	       struct err *e) MUST_CHECK;
void nomad_freep(struct nomad **p);
struct http *nomad_http(struct nomad *n);
const char *nomad_token_origin(const struct nomad *n);

/** A place in a blocking query: start with NOMAD_WAIT_INIT, pass it again to wait for the next change. */
struct nomad_wait {
	uint64_t index;
	int64_t ms;         /* wait at most this long; 0 = do not block */
	const bool *cancel; /* or NULL: once it is true the call ends with 0 and no tree (NULL) */
};
#define NOMAD_WAIT_INIT                                                                                      \
	{                                                                                                    \
		0, 0, NULL                                                                                   \
	}

#define NOMAD_ID_LEN 36 /* of evaluations, allocations, nodes: a UUID */

struct nomad_registered {
	char eval_id[NOMAD_ID_LEN + 1];
	uint64_t job_modify_index;
};

/**
 * nomad_job_register() - PUT /v1/jobs. @expect: register only if the job's JobModifyIndex is that (0 = only
 * if there is none); NULL = whatever is there. ERR_CONFLICT when it is not.
 */
int nomad_job_register(struct nomad *n, const cJSON *job, const uint64_t *expect,
		       struct nomad_registered *ret, struct err *e) MUST_CHECK;
int nomad_job_plan(struct nomad *n, const cJSON *job, cJSON **ret, struct err *e) MUST_CHECK;
/** nomad_job_stop() - DELETE /v1/job/ID; a job that does not exist is a success. @purge: forget it too. */
int nomad_job_stop(struct nomad *n, const char *id, bool purge, struct err *e) MUST_CHECK;
/** nomad_job() - ERR_NOT_FOUND when there is none. */
int nomad_job(struct nomad *n, const char *id, cJSON **ret, struct err *e) MUST_CHECK;
/** nomad_find_job() - likewise, but none is a success too: *ret is NULL then. */
int nomad_find_job(struct nomad *n, const char *id, cJSON **ret, struct err *e) MUST_CHECK;

/** The allocations of a job (an empty array when there is none), an allocation, an evaluation. @w may be
 * NULL. */
int nomad_job_allocations(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret,
			  struct err *e) MUST_CHECK;
int nomad_allocation(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret,
		     struct err *e) MUST_CHECK;
int nomad_evaluation(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret,
		     struct err *e) MUST_CHECK;

/** nomad_newest() - the element of that list with the greatest CreateIndex, borrowed; NULL when it is empty.
 */
const cJSON *nomad_newest(const cJSON *allocations);
/** nomad_alloc_running() - ClientStatus is running and that task's State is running. */
bool nomad_alloc_running(const cJSON *alloc, const char *task);
/** nomad_alloc_terminal() - ClientStatus is complete, failed or lost. */
bool nomad_alloc_terminal(const cJSON *alloc);

/** nomad_nodes() - GET /v1/nodes with the resources and the attributes of drivers; cost grows with nodes, not
 * jobs. */
int nomad_nodes(struct nomad *n, cJSON **ret, struct err *e) MUST_CHECK;
int nomad_node(struct nomad *n, const char *id, cJSON **ret, struct err *e) MUST_CHECK;

/** nomad_get() - any other GET; @path as http_request's. */
int nomad_get(struct nomad *n, const char *path, cJSON **ret, struct err *e) MUST_CHECK;

/** nomad_log_follow() - a task's stdout from its beginning, plain bytes; see http_stream_open(). */
int nomad_log_follow(struct nomad *n, const char *alloc_id, const char *task,
		     void (*on_data)(void *arg, const char *data, size_t n), void *arg,
		     struct http_stream **ret, struct err *e) MUST_CHECK;
/** nomad_log_tail() - the last bytes (16 KiB at most) of a task's "stdout" or "stderr", for free(). */
int nomad_log_tail(struct nomad *n, const char *alloc_id, const char *task, const char *type, char **ret,
		   struct err *e) MUST_CHECK;

/** nomad_exec_open() - GET /v1/client/allocation/ID/exec, upgraded; @command NULL-terminated. See
 * http_ws_open(). */
int nomad_exec_open(struct nomad *n, const char *alloc_id, const char *task, bool tty,
		    const char *const *command, int64_t timeout_ms, struct http_ws **ret,
		    struct err *e) MUST_CHECK;

#endif
