#include "aftermath.h"

#include "clock.h"
#include "platform.h"
#include "text.h"

#define EXPLAIN_MS 2000 /* a client tells the servers of a task's end within 200 ms */

int aftermath_tag(struct aftermath *a, struct err *e)
{
	uint8_t random[(sizeof(a->tag) - 1) / 2];

	if (platform_random(random, sizeof(random), e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(a->tag + 2 * i, 3, "%02x", random[i]);
	return 0;
}

char *aftermath_command(const struct aftermath *a)
{
	static const char hang_up[] = "for s in $(grep -l '#%s' /proc/[0-9]*/cmdline); do "
				      "s=${s%%/cmdline}; kill -HUP ${s#/proc/}; done";
	/* all are looked for first: without the script's own nothing is there to compare with */
	static const char break_pipe[] =
		"k=; for s in $(grep -l '#%s' /proc/[0-9]*/cmdline); do s=${s%%/cmdline}; "
		"[ -p $s/fd/1 ] && for p in /proc/[0-9]*; do "
		"[ $p/fd/1 -ef $s/fd/1 ] && k=\"$k ${p#/proc/}\"; done; done; kill -PIPE $k";

	return a->tty ? xasprintf(hang_up, a->tag) : xasprintf(break_pipe, a->tag);
}

/* -- why -- */

/* One GET that takes no longer than an explanation may. @index: of a blocking query, in and out, or NULL. */
static cJSON *ask(struct nomad *n, const char *kind, const char *id, uint64_t *index, int64_t ms,
		  struct err *e)
{
	AUTO(freep) char *path = xasprintf("/v1/%s/%s", kind, id);
	AUTO(http_reply_clear) struct http_reply reply = HTTP_REPLY_INIT;
	const struct http_request rq = {
		.path = path, .timeout_ms = ms, .index = index ? *index : 0, .wait_ms = ms};

	if (ms <= 0 || http_do(nomad_http(n), &rq, &reply, e) < 0)
		return NULL;
	if (index)
		*index = reply.index;
	return json_parse(buf_str(&reply.body), reply.body.len, kind, e);
}

/* Docker says so for good once any process of the container was killed: then the task itself ended otherwise.
 */
static bool out_of_memory(const cJSON *task)
{
	const cJSON *event;

	cJSON_ArrayForEach (event, json_get(task, "Events")) {
		const cJSON *details = json_get(event, "Details");

		if (text_eq(json_str(event, "Type"), "Terminated") &&
		    text_eq(json_str(details, "oom_killed"), "true") &&
		    !text_eq(json_str(details, "exit_code"), "0"))
			return true;
	}
	return false;
}

static int no_memory(struct err *e)
{
	err_wrap(e, "the machine ran out of memory and was killed");
	return err_hint(e, "give it more: NOMAD_MEMORYMB, or NOMAD_MEMORY_MAX_MB");
}

static cJSON *node_of(struct nomad *n, const cJSON *alloc)
{
	AUTO(err_clear) struct err ignored = ERR_INIT;
	const char *id = json_str(alloc, "NodeID");

	return id && strlen(id) == NOMAD_ID_LEN ? ask(n, "node", id, NULL, EXPLAIN_MS, &ignored) : NULL;
}

static int node_away(const cJSON *alloc, const char *status, struct err *e)
{
	const char *name = json_str(alloc, "NodeName");
	AUTO(freep) char *clean = text_clean(name ? name : "?", strlen(name ? name : "?"), 100);

	err_wrap(e, "the machine's node '%s' is %s", clean, status);
	return err_hint(
		e, "the command's outcome is not known; `nomad node status` tells when the node is back");
}

/* Return: true when @e says why now. */
static bool explain_allocation(const cJSON *alloc, const char *task_name, struct err *e)
{
	const cJSON *task = json_get(json_get(alloc, "TaskStates"), task_name);
	const char *client = json_str(alloc, "ClientStatus"), *desired = json_str(alloc, "DesiredStatus");
	const char *next = json_str(alloc, "NextAllocation");

	if (text_eq(client, "lost") || text_eq(client, "unknown")) {
		node_away(alloc, client, e);
	} else if (next && *next) {
		err_wrap(e, "the machine was replaced by another allocation");
		err_hint(e, "run the command again: it goes to the new one");
	} else if (desired && !text_eq(desired, "run")) {
		err_wrap(e, "the machine was stopped");
		err_hint(e, "start it: `devpod machine start`, or `devpod up` of its workspace");
	} else if (out_of_memory(task)) {
		no_memory(e);
	} else if (nomad_alloc_terminal(alloc) || text_eq(json_str(task, "State"), "dead")) {
		err_wrap(e, "the machine has ended");
		err_hint(e, "start it: `devpod machine start`, or `devpod up` of its workspace");
	} else {
		return false;
	}
	return true;
}

static void explain_line(struct nomad *n, const struct stream_request *rq, const struct aftermath *a,
			 struct err *e)
{
	int64_t deadline = clock_ms() + EXPLAIN_MS;
	/* when the process has ended, Nomad will soon know why; a line may break without more behind it */
	bool wait = a->exited;
	uint64_t index = 0;

	for (;;) {
		AUTO(err_clear) struct err ignored = ERR_INIT;
		AUTO(json_freep)
		cJSON *alloc = ask(n, "allocation", a->alloc, &index, clock_left(deadline), &ignored);

		if (ignored.kind == ERR_NOT_FOUND)
			err_wrap(e, "the machine's allocation is gone");
		if (alloc && explain_allocation(alloc, rq->task, e))
			return;
		if (alloc && (!wait || index == 0 || clock_left(deadline) == 0)) {
			AUTO(json_freep) cJSON *node = node_of(n, alloc);
			const char *status = json_str(node, "Status");

			if (text_eq(status, "down") || text_eq(status, "disconnected"))
				node_away(alloc, status, e);
			return;
		}
		if (!alloc)
			return;
	}
}

/* Nomad 1.9.0's docker driver does not pass the end of stdin on: hashicorp/nomad#24171, #24202. */
static void explain_stdin(struct nomad *n, const struct aftermath *a, struct err *e)
{
	AUTO(err_clear) struct err ignored = ERR_INIT;
	AUTO(json_freep) cJSON *alloc = ask(n, "allocation", a->alloc, NULL, EXPLAIN_MS, &ignored);
	AUTO(json_freep) cJSON *node = node_of(n, alloc);

	if (text_eq(json_str(json_get(node, "Attributes"), "nomad.version"), "1.9.0"))
		err_hint(
			e,
			"the machine's node runs Nomad 1.9.0, where a command is not told that its stdin has "
			"ended (hashicorp/nomad#24171): upgrade it");
}

static void explain_refusal(struct nomad *n, struct err *e)
{
	const char *origin = nomad_token_origin(n);

	if (origin)
		err_hint(e,
			 "the token from %s needs the capability alloc-exec in this namespace, and the node "
			 "must not "
			 "have disable_remote_exec set",
			 origin);
	else
		err_hint(e, "without a token: set NOMAD_TOKEN to one with the capability alloc-exec in this "
			    "namespace");
}

int aftermath_explain(struct nomad *n, const struct stream_request *rq, const struct aftermath *a,
		      struct err *e)
{
	if (e->kind == ERR_AUTH)
		explain_refusal(n, e);
	if (a->cut_short) {
		explain_line(n, rq, a, e);
		err_wrap(e, "the output may be incomplete");
	}
	if (a->silent)
		err_hint(e, "is the network, or a VPN, down? The command may still run in the machine");
	/* it hung until the user had enough of it */
	if (a->left && a->stdin_ended && (e->kind == ERR_INTERRUPTED || e->kind == ERR_CONNECT))
		explain_stdin(n, a, e);
	return -1;
}
