#include "clock.h"
#include "log.h"
#include "machine_private.h"
#include "text.h"

#include <inttypes.h>

#define BLOCK_MS         60000 /* of one blocking query */
#define PAUSE_MS         500   /* before a log is opened again */
#define LOG_LINE_MAX     4096  /* bytes */
#define SECRETS_MS       3000 /* for Vault to give a secret after all: Nomad has asked some five times then */
#define LOG_LINES_SHOWN  20
#define LOG_LINES_LENGTH 400 /* bytes of each */

struct watch {
	struct machine *m;
	const struct observation *what;
	struct http_stream *log;
	struct buf line;
	bool ready;
	bool wake;           /* ends a blocking query: ready, or the log's end */
	uint64_t event_time; /* of the last event told; only compared */
	int64_t trouble_since;
	int64_t secrets_deadline; /* INT64_MAX: no secret is missing */
	int64_t deadline;
};

static void watch_clear(struct watch *w)
{
	http_stream_freep(&w->log);
	buf_clear(&w->line);
}

static void on_line(struct watch *w)
{
	AUTO(freep) char *line = text_clean(buf_str(&w->line), w->line.len, LOG_LINE_MAX);

	w->line.len = 0;
	if (text_eq(line, SPEC_SAYS_READY))
		w->ready = w->wake = true;
	else if (*line)
		log_info("%s", line);
}

static void on_log(void *arg, const char *data, size_t n)
{
	struct watch *w = arg;

	if (!n)
		w->wake = true;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' || w->line.len == LOG_LINE_MAX)
			on_line(w);
		if (data[i] != '\n' && buf_add(&w->line, data + i, 1) < 0)
			on_line(w);
	}
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Wait until the evaluation is no longer pending. @ret: the evaluation. */
static int await_evaluation(struct watch *w, cJSON **ret, struct err *e)
{
	struct nomad_wait wait = NOMAD_WAIT_INIT;

	for (;;) {
		AUTO(json_freep) cJSON *eval = NULL;

		if (nomad_evaluation(w->m->nomad, w->what->eval_id, &wait, &eval, e) < 0) {
			if (!trouble_passes(w->m, &w->trouble_since, e))
				return -1;
			continue;
		}
		w->trouble_since = 0;
		if (!text_eq(json_str(eval, "Status"), "pending")) {
			*ret = TAKE(eval);
			return 0;
		}
		if (!clock_left(w->deadline))
			return err_set(e, ERR_TIMEOUT, "Nomad's scheduler did not look at the job in time");
		wait.ms = least(clock_left(w->deadline), BLOCK_MS);
	}
}

/* Return: true with the error when there is no such job, or the question could not be asked. */
static bool job_is_gone(struct watch *w, struct err *e)
{
	AUTO(json_freep) cJSON *job = NULL;

	if (nomad_find_job(w->m->nomad, w->what->job_id, &job, e) < 0)
		return true;
	if (!job)
		err_set(e, ERR_CONFLICT, "somebody removed the job '%s' meanwhile", w->what->job_id);
	return !job;
}

/* Tell what is wrong with the placement. Return: -1 when it can never be, 0 when waiting may help; @why is
 * set then. */
static int explain_placement(struct watch *w, const cJSON *eval, struct err *why, struct err *e)
{
	const cJSON *failed = json_get(eval, "FailedTGAllocs");
	const cJSON *metric = failed ? failed->child : NULL;
	bool never = false;

	if (!metric && job_is_gone(w, e))
		return -1;
	if (!metric) {
		const char *text = json_str(eval, "StatusDescription");
		AUTO(freep) char *clean = text_cleaned(text, 300);

		err_set(why, ERR_REMOTE, "Nomad made no allocation%s%s", *clean ? ": " : "", clean);
		return 0;
	}
	placement_error(w->m, metric, &never, why);
	if (never || why->kind != ERR_REMOTE) {
		err_move(e, why);
		return -1;
	}
	log_info("%s; waiting up to %" PRId64 " s", why->msg, w->m->options->placement_timeout_ms / 1000);
	return 0;
}

/* Wait for an allocation. @ret_id: NOMAD_ID_LEN + 1 bytes. */
static int await_placement(struct watch *w, char *ret_id, struct err *e)
{
	AUTO(json_freep) cJSON *eval = NULL;
	AUTO(err_clear) struct err why = ERR_INIT;
	struct nomad_wait wait = NOMAD_WAIT_INIT;
	int64_t deadline = clock_ms() + w->m->options->placement_timeout_ms;

	if (w->what->eval_id && await_evaluation(w, &eval, e) < 0)
		return -1;
	for (;;) {
		AUTO(json_freep) cJSON *list = NULL;

		if (nomad_job_allocations(w->m->nomad, w->what->job_id, &wait, &list, e) < 0) {
			if (!trouble_passes(w->m, &w->trouble_since, e))
				return -1;
			continue;
		}
		w->trouble_since = 0;
		const cJSON *alloc = nomad_newest(list);
		if (alloc && json_u64(alloc, "CreateIndex", 0) >= w->what->since && json_str(alloc, "ID")) {
			const char *node = json_str(alloc, "NodeName");

			snprintf(ret_id, NOMAD_ID_LEN + 1, "%s", json_str(alloc, "ID"));
			if (w->what->eval_id && w->what->until_ready)
				log_info("placed on node %s", node ? node : "?");
			return 0;
		}
		if (why.kind == ERR_NONE && explain_placement(w, eval, &why, e) < 0)
			return -1;
		if (!clock_left(deadline)) {
			err_move(e, &why);
			return err_wrap(e, "not placed within %" PRId64 " s",
					w->m->options->placement_timeout_ms / 1000);
		}
		wait.ms = least(clock_left(deadline), BLOCK_MS);
	}
}

static bool is_progress(const char *type)
{
	/* the others are the ones of every start, or the failures, told once at the end */
	return text_eq(type, "Driver") || text_eq(type, "Downloading Artifacts") || text_eq(type, "Template");
}

static void tell_events(struct watch *w, const cJSON *alloc)
{
	const cJSON *event;

	cJSON_ArrayForEach (event, json_get(task_state(alloc, w->what->task), "Events")) {
		const char *text = json_str(event, "DisplayMessage");
		const cJSON *time = json_get(event, "Time");
		/* nanoseconds pass through a double: exact enough to tell events apart, no arithmetic is done
		 */
		uint64_t when =
			cJSON_IsNumber(time) && time->valuedouble > 0 ? (uint64_t)time->valuedouble : 0;

		if (when <= w->event_time)
			continue;
		w->event_time = when;
		if (text && *text && is_progress(json_str(event, "Type"))) {
			AUTO(freep) char *clean = text_cleaned(text, 300);
			log_info("%s", clean);
		}
	}
}

static void add_log_lines(struct machine *m, const char *alloc_id, const char *task, struct err *e)
{
	/* the script says all on stdout; what could not even start it says so on stderr */
	static const char *const types[] = {"stdout", "stderr"};
	AUTO(freep) char *log = NULL;
	AUTO(buf_clear) struct buf text = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(types) && (!log || !*log); i++) {
		AUTO(err_clear) struct err unread = ERR_INIT;

		free(TAKE(log));
		if (nomad_log_tail(m->nomad, alloc_id, task, types[i], &log, &unread) < 0)
			log_debug("no log: %s", unread.msg);
	}
	if (!log)
		return;
	size_t len = strlen(log), lines = 0;
	while (len && log[len - 1] == '\n')
		log[--len] = '\0';
	char *start = log + len;
	while (start > log && (start[-1] != '\n' || ++lines < LOG_LINES_SHOWN))
		start--;
	if (!len)
		return;
	buf_printf(&text, "%s; its last lines:", e->msg);
	for (char *line = start, *end; line; line = end ? end + 1 : NULL) {
		end = strchr(line, '\n');
		AUTO(freep)
		char *clean = text_clean(line, end ? (size_t)(end - line) : strlen(line), LOG_LINES_LENGTH);
		buf_printf(&text, "\n  | %s", clean);
	}
	free(e->msg);
	e->msg = buf_take(&text);
}

/* The event that tells why a task did not live: the last one of these types that came before Nomad gave up.
 */
static const cJSON *telling_event(const cJSON *state)
{
	static const char *const types[] = {
		"Driver Failure",  "Setup Failure", "Failed Validation",   "Failed Artifact Download",
		"Template Failed", "Terminated",    "Sibling Task Failed", "Killing"};
	const cJSON *events = json_get(state, "Events"), *event;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (int k = cJSON_GetArraySize(events) - 1; k >= 0; k--) {
			event = cJSON_GetArrayItem(events, k);
			if (text_eq(json_str(event, "Type"), types[i]))
				return event;
		}
	return NULL;
}

int alloc_failure(struct machine *m, const cJSON *alloc, const char *task, struct err *e)
{
	const cJSON *event = telling_event(task_state(alloc, task));
	const char *node = json_str(alloc, "NodeName"), *id = json_str(alloc, "ID");
	const char *text = json_str(event, "DisplayMessage");
	const cJSON *details = json_get(event, "Details");
	const char *code = json_str(details, "exit_code");

	if (text_eq(json_str(alloc, "ClientStatus"), "lost") ||
	    text_eq(json_str(alloc, "ClientStatus"), "unknown"))
		return err_set(e, ERR_REMOTE, "node %s went away", node ? node : "?");
	if (!text || !*text)
		text = json_str(alloc, "ClientDescription");
	AUTO(freep) char *clean = reason_text(text, 600);

	if (text_eq(json_str(event, "Type"), "Terminated")) {
		/* docker tells it for as long as the container lives, also when the machine went on and was
		 * stopped */
		bool oom = text_eq(json_str(details, "oom_killed"), "true") && !text_eq(code, "0");

		err_set(e, ERR_REMOTE, "task '%s' on node %s ended with exit code %s%s", task,
			node ? node : "?", code ? code : "?", oom ? " (out of memory)" : "");
		reason_hint(e->msg, m->options, e);
		if (id)
			add_log_lines(m, id, task, e);
		return -1;
	}
	err_set(e, ERR_REMOTE, "task '%s' on node %s did not start: %s", task, node ? node : "?",
		*clean ? clean : "Nomad tells no reason");
	reason_hint(clean, m->options, e);
	return -1;
}

/* By itself, with exit code 0: one that was killed is complete, too, and not failed. */
static bool ended_well(const cJSON *alloc, const char *task)
{
	const cJSON *event;
	bool well = false;

	cJSON_ArrayForEach (event, json_get(task_state(alloc, task), "Events"))
		if (text_eq(json_str(event, "Type"), "Terminated"))
			well = text_eq(json_str(json_get(event, "Details"), "exit_code"), "0");
	return well && text_eq(json_str(alloc, "ClientStatus"), "complete");
}

/* Follow the log once there is one; again when the line broke. */
static int keep_log_open(struct watch *w, const cJSON *alloc, struct err *e)
{
	const cJSON *state = task_state(alloc, w->what->task);
	const char *id = json_str(alloc, "ID");
	int status;

	if (!w->what->until_ready || !id || !text_eq(json_str(state, "State"), "running"))
		return 0;
	if (w->log && !http_stream_ended(w->log, &status))
		return 0;
	bool again = w->log != NULL;
	http_stream_freep(&w->log);
	w->line.len = 0;
	if (again && http_wait(nomad_http(w->m->nomad), PAUSE_MS, e) < 0)
		return -1;
	return nomad_log_follow(w->m->nomad, id, w->what->task, on_log, w, &w->log, e);
}

/* Return: 1 to go on, 0 when it is over and well, -1 with the reason. */
static int judge(struct watch *w, const cJSON *alloc, struct err *e)
{
	const cJSON *state = task_state(alloc, w->what->task);
	const char *desired = json_str(alloc, "DesiredStatus");

	if (!w->what->until_ready && ended_well(alloc, w->what->task))
		return 0;
	if (nomad_alloc_terminal(alloc) || text_eq(json_str(alloc, "ClientStatus"), "unknown") ||
	    (w->what->until_ready && text_eq(json_str(state, "State"), "dead")))
		return alloc_failure(w->m, alloc, w->what->task, e);
	if (w->what->until_ready && desired && !text_eq(desired, "run")) {
		const char *text = json_str(alloc, "DesiredDescription");
		AUTO(freep) char *clean = text_cleaned(text, 300);

		return err_set(e, ERR_REMOTE, "somebody stopped it while it started: %s", clean);
	}
	const char *missing = w->what->until_ready ? secrets_missing(alloc, w->what->task) : NULL;
	if (missing && !clock_left(w->secrets_deadline))
		return secrets_failure(w->m, missing, e);
	if (!missing)
		w->secrets_deadline = INT64_MAX;
	else if (w->secrets_deadline == INT64_MAX)
		w->secrets_deadline = clock_ms() + SECRETS_MS;
	if (!clock_left(w->deadline)) {
		err_set(e, ERR_TIMEOUT, "not ready within NOMAD_START_TIMEOUT (%" PRId64 " s)",
			w->m->options->start_timeout_ms / 1000);
		const cJSON *events = json_get(state, "Events");
		const cJSON *last = cJSON_GetArrayItem(events, cJSON_GetArraySize(events) - 1);
		const char *text = json_str(last, "DisplayMessage");
		AUTO(freep) char *clean = text_cleaned(text, 300);

		return err_hint(e, "Nomad's last word on it: %s", *clean ? clean : "none");
	}
	return 1;
}

int observe(struct machine *m, const struct observation *what, cJSON **ret_alloc, struct err *e)
{
	AUTO(watch_clear)
	struct watch w = {
		.m = m,
		.what = what,
		.secrets_deadline = INT64_MAX,
		.deadline = clock_ms() + m->options->start_timeout_ms,
	};
	struct nomad_wait wait = {.cancel = &w.wake};
	char id[NOMAD_ID_LEN + 1];

	if (await_placement(&w, id, e) < 0)
		return -1;
	for (;;) {
		AUTO(json_freep) cJSON *alloc = NULL;

		w.wake = false;
		if (nomad_allocation(m->nomad, id, &wait, &alloc, e) < 0) {
			if (!trouble_passes(m, &w.trouble_since, e))
				return -1;
			continue;
		}
		w.trouble_since = 0;
		if (w.ready)
			return 0;
		if (alloc) {
			cJSON_Delete(*ret_alloc);
			*ret_alloc = TAKE(alloc);
		}
		tell_events(&w, *ret_alloc);
		int verdict = judge(&w, *ret_alloc, e);
		if (verdict <= 0)
			return verdict;
		if (keep_log_open(&w, *ret_alloc, e) < 0)
			return -1;
		wait.ms = least(clock_left(least(w.deadline, w.secrets_deadline)), BLOCK_MS);
	}
}
