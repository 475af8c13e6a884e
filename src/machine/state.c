#include "json.h"
#include "machine_private.h"
#include "platform.h"
#include "text.h"

#define STATE_MAX     4096 /* bytes */
#define STATE_VERSION 1

void state_clear(struct state *s)
{
	free(s->node_id);
	free(s->node_name);
	free(s->dir);
	free(s->alloc_id);
	free(s->node_addr);
	*s = (struct state)STATE_INIT;
}

static bool exists(const char *path)
{
	FILE *f = fopen(path, "re");

	if (f)
		fclose(f);
	return f != NULL;
}

int state_load(const struct machine *m, struct state *ret, struct err *e)
{
	size_t n;

	if (!m->state_path || !exists(m->state_path))
		return 0;
	AUTO(freep) char *text = file_read(m->state_path, STATE_MAX, &n, e);
	if (!text)
		return -1;
	AUTO(json_freep) cJSON *json = json_parse(text, n, m->state_path, e);
	if (!json)
		return err_hint(e, "the file says on which node the machine's data are; delete it if that "
				   "does not matter");
	const char *node = json_str(json, "node_id"), *dir = json_str(json, "dir");
	const char *storage = json_str(json, "storage"), *docker = json_str(json, "docker");
	if (json_u64(json, "version", 0) != STATE_VERSION || !dir || (!node && !storage) ||
	    (storage && options_storage_named(storage, &ret->storage) < 0) ||
	    (docker && options_docker_named(docker, &ret->docker) < 0)) {
		err_set(e, ERR_CONFIG, "%s: not a state file of this provider's version", m->state_path);
		return err_hint(e, "a newer provider may have written it: update this one");
	}
	ret->known = true;
	ret->ready = json_is_true(json, "ready");
	ret->node_id = xstrdup(node);
	ret->node_name = xstrdup(json_str(json, "node_name"));
	ret->dir = xstrdup(dir);
	ret->alloc_id = xstrdup(json_str(json, "alloc_id"));
	ret->node_addr = xstrdup(json_str(json, "node_addr"));
	return 0;
}

int state_save(const struct machine *m, const struct state *s, struct err *e)
{
	if (!m->state_path || !s->known)
		return 0;
	AUTO(json_freep) cJSON *json = json_object();

	json_put_int(json, "version", STATE_VERSION);
	json_put_str(json, "storage", options_storage_name(s->storage));
	json_put_str(json, "docker", options_docker_name(s->docker));
	json_put_bool(json, "ready", s->ready);
	if (s->node_id)
		json_put_str(json, "node_id", s->node_id);
	if (s->node_name)
		json_put_str(json, "node_name", s->node_name);
	json_put_str(json, "dir", s->dir);
	if (s->alloc_id)
		json_put_str(json, "alloc_id", s->alloc_id);
	if (s->node_addr)
		json_put_str(json, "node_addr", s->node_addr);
	AUTO(freep) char *text = json_print(json);
	return file_replace(m->state_path, text, strlen(text), e);
}

int state_remove(const struct machine *m, struct err *e)
{
	return m->state_path ? file_remove(m->state_path, e) : 0;
}
