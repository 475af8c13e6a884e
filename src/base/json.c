#include "json.h"

#include <inttypes.h>

#define PRINT_MAX (64 << 20) /* bytes */

void json_init(void)
{
	cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = xmalloc, .free_fn = free});
}

cJSON *json_parse(const char *text, size_t n, const char *what, struct err *e)
{
	const char *end = text;
	cJSON *v = cJSON_ParseWithLengthOpts(text, n, &end, false);

	for (; v && end < text + n; end++) {
		if (!strchr(" \t\r\n", *end) || !*end) {
			cJSON_Delete(v);
			v = NULL;
			break;
		}
	}
	if (v)
		return v;

	size_t line = 1, column = 1;
	for (const char *p = text; p < end && p < text + n; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	err_set(e, ERR_CONFIG, "%s: invalid JSON at line %zu, column %zu", what, line, column);
	return NULL;
}

const cJSON *json_get(const cJSON *obj, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(obj, name);
}

const char *json_str(const cJSON *obj, const char *name)
{
	return cJSON_GetStringValue(json_get(obj, name));
}

uint64_t json_u64(const cJSON *obj, const char *name, uint64_t otherwise)
{
	const cJSON *v = json_get(obj, name);

	if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0) || v->valuedouble > 9007199254740992.0)
		return otherwise;
	uint64_t u = (uint64_t)v->valuedouble;
	return (double)u == v->valuedouble ? u : otherwise;
}

bool json_is_true(const cJSON *obj, const char *name)
{
	return cJSON_IsTrue(json_get(obj, name));
}

cJSON *json_object(void)
{
	return cJSON_CreateObject();
}

cJSON *json_array(void)
{
	return cJSON_CreateArray();
}

cJSON *json_put(cJSON *obj, const char *name, cJSON *value)
{
	if (!cJSON_AddItemToObject(obj, name, value))
		abort();
	return value;
}

cJSON *json_push(cJSON *array, cJSON *value)
{
	if (!cJSON_AddItemToArray(array, value))
		abort();
	return value;
}

void json_put_str(cJSON *obj, const char *name, const char *value)
{
	json_put(obj, name, cJSON_CreateString(value));
}

void json_put_int(cJSON *obj, const char *name, int64_t value)
{
	AUTO(freep) char *digits = xasprintf("%" PRId64, value);

	json_put(obj, name, cJSON_CreateRaw(digits));
}

void json_put_bool(cJSON *obj, const char *name, bool value)
{
	json_put(obj, name, cJSON_CreateBool(value));
}

void json_push_str(cJSON *array, const char *value)
{
	json_push(array, cJSON_CreateString(value));
}

cJSON *json_strings(const char *const *list)
{
	cJSON *array = json_array();

	for (; *list; list++)
		json_push_str(array, *list);
	return array;
}

char *json_print(const cJSON *value)
{
	char *s = cJSON_PrintUnformatted(value);

	if (!s)
		abort();
	return s;
}

char *json_print_secret(cJSON *value)
{
	/* cJSON's own printing leaves the text behind in each buffer that became too small */
	for (int size = 4096; size < PRINT_MAX; size *= 2) {
		char *s = xmalloc((size_t)size);

		if (cJSON_PrintPreallocated(value, s, size, false))
			return s;
		mem_wipe(s, (size_t)size);
		free(s);
	}
	abort();
}

static void wipe_strings(cJSON *first)
{
	for (cJSON *v = first; v; v = v->next) {
		if (v->valuestring && !(v->type & cJSON_IsReference))
			mem_wipe(v->valuestring, strlen(v->valuestring));
		if (!(v->type & cJSON_IsReference))
			wipe_strings(v->child);
	}
}

void json_secret_freep(cJSON **p)
{
	if (*p && !((*p)->type & cJSON_IsReference))
		wipe_strings(*p);
	cJSON_Delete(*p);
}

void json_freep(cJSON **p)
{
	cJSON_Delete(*p);
}
