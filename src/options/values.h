#ifndef OPTIONS_VALUES_H
#define OPTIONS_VALUES_H

#include "buf.h"
#include "json.h"

#include <stdbool.h>

/*
 * What the values of single options may be: the check and convert members of the table's rows (table.h).
 *
 * check_*: @value may be shortened in place. false: the reasons are lines in @why, or it is just not what the
 * row wants.
 */

bool check_address(char *value, struct buf *why);
bool check_namespace(char *value, struct buf *why);
bool check_region(char *value, struct buf *why);
bool check_node_pool(char *value, struct buf *why);
bool check_image(char *value, struct buf *why);
bool check_agent_path(char *value, struct buf *why);
bool check_host_dir(char *value, struct buf *why);
bool check_machine_id(char *value, struct buf *why);
/** check_list() - something between the commas. */
bool check_list(char *value, struct buf *why);
/** check_word() - letters, digits, - . and _: a plugin, a pool, a file system. */
bool check_word(char *value, struct buf *why);
bool check_vault_path(char *value, struct buf *why);
bool check_vault_namespace(char *value, struct buf *why);
/** check_off_or_path() - a path of the node's, or OPTIONS_NONE. */
bool check_off_or_path(char *value, struct buf *why);
/** check_capability() - X.Y, as NVIDIA counts what its chips can do. */
bool check_capability(char *value, struct buf *why);

/* convert_*: the checked and completed copy of @in, or NULL with lines in @why or where it says nothing. */

cJSON *convert_constraints(const cJSON *in, struct buf *why);
/** convert_parameters() - an object of strings; an empty one stays one. */
cJSON *convert_parameters(const cJSON *in, struct buf *why);
/** convert_topology() - an object of `required` and `preferred`, both arrays of objects of strings. */
cJSON *convert_topology(const cJSON *in, struct buf *why);
/** convert_vault_secrets() - an array of {path, fields}, fields an object of the variables' names. */
cJSON *convert_vault_secrets(const cJSON *in, struct buf *why);
/** convert_vault_policies() - an array of names. */
cJSON *convert_vault_policies(const cJSON *in, struct buf *why);

/** value_has_control() - ASCII's control characters. */
bool value_has_control(const char *s);

#endif
