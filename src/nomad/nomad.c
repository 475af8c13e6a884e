#include "nomad_private.h"

#include "text.h"

#define NO_INDEX_PAUSE_MS 500
#define LOG_TAIL          16384 /* bytes */

struct nomad {
	struct http *http;
	const char *token_origin;
};

int nomad_open(const struct http_config *config, const char *token_origin, struct nomad **ret, struct err *e)
{
	AUTO(nomad_freep) struct nomad *n = xcalloc(1, sizeof(*n));

	n->token_origin = token_origin;
	if (http_open(config, &n->http, e) < 0)
		return -1;
	*ret = TAKE(n);
	return 0;
}

void nomad_freep(struct nomad **p)
{
	if (*p)
		http_freep(&(*p)->http);
	free(*p);
	*p = NULL;
}

struct http *nomad_http(struct nomad *n)
{
	return n->http;
}

const char *nomad_token_origin(const struct nomad *n)
{
	return n->token_origin;
}

/* One exchange whose reply is JSON. */
int nomad_call(struct nomad *n, struct http_request *rq, struct nomad_wait *w, cJSON **ret, struct err *e)
{
	AUTO(http_reply_clear) struct http_reply reply = HTTP_REPLY_INIT;

	if (w && w->ms) {
		rq->index = w->index;
		rq->wait_ms = w->ms;
		rq->cancel = w->cancel;
	}
	if (http_do(n->http, rq, &reply, e) < 0)
		return -1;
	if (reply.status == 0) {
		*ret = NULL;
		return 0;
	}
	cJSON *json = json_parse(buf_str(&reply.body), reply.body.len, "the reply", e);
	if (!json) {
		e->kind = ERR_REMOTE;
		return err_wrap(e, "%s %s", rq->method ? rq->method : "GET", rq->path);
	}
	/* without an index nothing blocks: do not ask in a circle */
	if (w && w->ms && !reply.index && http_wait(n->http, NO_INDEX_PAUSE_MS, e) < 0) {
		cJSON_Delete(json);
		return -1;
	}
	/* an index that goes back means that the server's state was replaced: start over (Nomad's API docs)
	 */
	if (w)
		w->index = reply.index < w->index ? 0 : reply.index;
	*ret = json;
	return 0;
}

int nomad_get(struct nomad *n, const char *path, cJSON **ret, struct err *e)
{
	struct http_request rq = {.path = path};

	return nomad_call(n, &rq, NULL, ret, e);
}

/* "/v1/WHAT/ID/AND", the id escaped; for free() */
char *nomad_path(const char *what, const char *id, const char *and)
{
	AUTO(buf_clear) struct buf path = BUF_INIT;

	buf_printf(&path, "/v1/%s/", what);
	text_url_escape(&path, id);
	buf_puts(&path, and);
	return buf_take(&path);
}

static int get(struct nomad *n, const char *what, const char *id, const char *and, struct nomad_wait *w,
	       cJSON **ret, struct err *e)
{
	AUTO(freep) char *path = nomad_path(what, id, and);
	struct http_request rq = {.path = path};

	return nomad_call(n, &rq, w, ret, e);
}

int nomad_job_register(struct nomad *n, const cJSON *job, const uint64_t *expect,
		       struct nomad_registered *ret, struct err *e)
{
	AUTO(json_freep) cJSON *wrapped = json_object();
	AUTO(json_freep) cJSON *reply = NULL;

	if (expect) {
		json_put_bool(wrapped, "EnforceIndex", true);
		json_put_int(wrapped, "JobModifyIndex", (int64_t)*expect);
	}
	json_put(wrapped, "Job", cJSON_Duplicate(job, true));
	AUTO(freep) char *body = json_print(wrapped);
	struct http_request rq = {.method = "PUT", .path = "/v1/jobs", .body = body};

	if (nomad_call(n, &rq, NULL, &reply, e) < 0) {
		/* 500 "Enforcing job modify index 0: job already exists" */
		if (expect && strstr(e->msg, "Enforcing job modify index"))
			e->kind = ERR_CONFLICT;
		return -1;
	}
	const char *eval = json_str(reply, "EvalID");
	*ret = (struct nomad_registered){.job_modify_index = json_u64(reply, "JobModifyIndex", 0)};
	snprintf(ret->eval_id, sizeof(ret->eval_id), "%s", eval ? eval : "");
	return 0;
}

int nomad_job_plan(struct nomad *n, const cJSON *job, cJSON **ret, struct err *e)
{
	AUTO(json_freep) cJSON *wrapped = json_object();
	const char *id = json_str(job, "ID");

	json_put_bool(wrapped, "Diff", false);
	json_put(wrapped, "Job", cJSON_Duplicate(job, true));
	AUTO(freep) char *body = json_print(wrapped);
	AUTO(freep) char *path = nomad_path("job", id ? id : "", "/plan");
	struct http_request rq = {.method = "POST", .path = path, .body = body};

	return nomad_call(n, &rq, NULL, ret, e);
}

int nomad_job_stop(struct nomad *n, const char *id, bool purge, struct err *e)
{
	AUTO(json_freep) cJSON *reply = NULL;
	AUTO(freep) char *path = nomad_path("job", id, purge ? "?purge=true" : "");
	struct http_request rq = {.method = "DELETE", .path = path};

	return nomad_call(n, &rq, NULL, &reply, e);
}

/* A 404 that is not Nomad's own says nothing of the thing: a proxy, or another server, answered. */
int nomad_own_not_found(struct nomad *n, const char *text, struct err *e)
{
	if (e->kind != ERR_NOT_FOUND || strstr(e->msg, text))
		return -1;
	e->kind = ERR_REMOTE;
	return err_hint(e, "is that Nomad which answers at %s?", http_addr(n->http));
}

int nomad_job(struct nomad *n, const char *id, cJSON **ret, struct err *e)
{
	return get(n, "job", id, "", NULL, ret, e) < 0 ? nomad_own_not_found(n, "job not found", e) : 0;
}

int nomad_find_job(struct nomad *n, const char *id, cJSON **ret, struct err *e)
{
	*ret = NULL;
	if (nomad_job(n, id, ret, e) == 0)
		return 0;
	if (e->kind != ERR_NOT_FOUND)
		return -1;
	err_clear(e);
	return 0;
}

int nomad_job_allocations(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret, struct err *e)
{
	return get(n, "job", id, "/allocations", w, ret, e);
}

int nomad_allocation(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret, struct err *e)
{
	return get(n, "allocation", id, "", w, ret, e);
}

int nomad_evaluation(struct nomad *n, const char *id, struct nomad_wait *w, cJSON **ret, struct err *e)
{
	return get(n, "evaluation", id, "", w, ret, e);
}

int nomad_nodes(struct nomad *n, cJSON **ret, struct err *e)
{
	return nomad_get(n, "/v1/nodes?resources=true", ret, e);
}

int nomad_node(struct nomad *n, const char *id, cJSON **ret, struct err *e)
{
	return get(n, "node", id, "", NULL, ret, e) < 0 ? nomad_own_not_found(n, "node not found", e) : 0;
}

const cJSON *nomad_newest(const cJSON *allocations)
{
	const cJSON *newest = NULL, *alloc;
	uint64_t most = 0;

	cJSON_ArrayForEach (alloc, allocations) {
		uint64_t index = json_u64(alloc, "CreateIndex", 0);

		if (!newest || index > most) {
			newest = alloc;
			most = index;
		}
	}
	return newest;
}

bool nomad_alloc_running(const cJSON *alloc, const char *task)
{
	const cJSON *state = json_get(json_get(alloc, "TaskStates"), task);

	return text_eq(json_str(alloc, "ClientStatus"), "running") &&
	       text_eq(json_str(state, "State"), "running");
}

bool nomad_alloc_terminal(const cJSON *alloc)
{
	const char *status = json_str(alloc, "ClientStatus");

	return text_eq(status, "complete") || text_eq(status, "failed") || text_eq(status, "lost");
}

int nomad_log_follow(struct nomad *n, const char *alloc_id, const char *task,
		     void (*on_data)(void *arg, const char *data, size_t n), void *arg,
		     struct http_stream **ret, struct err *e)
{
	AUTO(buf_clear) struct buf query = BUF_INIT;

	buf_puts(&query, "?type=stdout&follow=true&plain=true&origin=start&task=");
	text_url_escape(&query, task);
	AUTO(freep) char *path = nomad_path("client/fs/logs", alloc_id, buf_str(&query));
	return http_stream_open(n->http, path, on_data, arg, ret, e);
}

int nomad_log_tail(struct nomad *n, const char *alloc_id, const char *task, const char *type, char **ret,
		   struct err *e)
{
	AUTO(http_reply_clear) struct http_reply reply = HTTP_REPLY_INIT;
	AUTO(buf_clear) struct buf query = BUF_INIT;

	buf_printf(&query, "?type=%s&plain=true&origin=end&offset=%d&task=", type, LOG_TAIL);
	text_url_escape(&query, task);
	AUTO(freep) char *path = nomad_path("client/fs/logs", alloc_id, buf_str(&query));
	struct http_request rq = {.path = path};

	if (http_do(n->http, &rq, &reply, e) < 0)
		return -1;
	*ret = buf_take(&reply.body);
	return 0;
}

int nomad_exec_open(struct nomad *n, const char *alloc_id, const char *task, bool tty,
		    const char *const *command, int64_t timeout_ms, struct http_ws **ret, struct err *e)
{
	AUTO(json_freep) cJSON *words = json_strings(command);
	AUTO(freep) char *json = json_print(words);
	AUTO(buf_clear) struct buf query = BUF_INIT;

	buf_printf(&query, "/exec?tty=%s&task=", tty ? "true" : "false");
	text_url_escape(&query, task);
	buf_puts(&query, "&command=");
	text_url_escape(&query, json);
	AUTO(freep) char *path = nomad_path("client/allocation", alloc_id, buf_str(&query));
	return http_ws_open(n->http, path, timeout_ms, ret, e);
}
