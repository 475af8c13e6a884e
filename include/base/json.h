#ifndef JSON_H
#define JSON_H

#include "err.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * cJSON with types: reading never fails on a member that is missing or of another type (it reads as absent:
 * what a server sends is not ours to trust), building aborts on out of memory. cJSON keeps numbers as
 * doubles, so 64-bit values are written raw and read only up to 2^53.
 */

/** json_init() - make cJSON use the allocator that aborts. Call once, before anything else here. */
void json_init(void);

/** json_parse() - @what names the text in the error ("NOMAD_CONSTRAINTS_JSON"), which tells line and column.
 */
cJSON *json_parse(const char *text, size_t n, const char *what, struct err *e) MUST_CHECK;

/** json_get() - a member, or NULL: also when @obj is NULL or no object. Names are case-sensitive. */
const cJSON *json_get(const cJSON *obj, const char *name);
/** json_str() - a string member, borrowed, or NULL. */
const char *json_str(const cJSON *obj, const char *name);
/** json_u64() - a whole number from 0 to 2^53, or @otherwise. */
uint64_t json_u64(const cJSON *obj, const char *name, uint64_t otherwise);
/** json_is_true() - the member is there and is true. */
bool json_is_true(const cJSON *obj, const char *name);

cJSON *json_object(void);
cJSON *json_array(void);
/** json_put(), json_push() - @value's ownership moves into the container; it is returned, borrowed. */
cJSON *json_put(cJSON *obj, const char *name, cJSON *value);
cJSON *json_push(cJSON *array, cJSON *value);
void json_put_str(cJSON *obj, const char *name, const char *value);
void json_put_int(cJSON *obj, const char *name, int64_t value);
void json_put_bool(cJSON *obj, const char *name, bool value);
void json_push_str(cJSON *array, const char *value);
/** json_strings() - an array of the strings in a NULL-terminated list. */
cJSON *json_strings(const char *const *list);

/** json_print() - compact text, for free(). */
char *json_print(const cJSON *value);

/** json_print_secret() - likewise, and nothing of the text stays behind in memory; for secret_freep(). */
char *json_print_secret(cJSON *value);

/** For AUTO. json_secret_freep() overwrites every string first. */
void json_freep(cJSON **p);
void json_secret_freep(cJSON **p);

#endif
