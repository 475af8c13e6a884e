/* What the files of this room share. */
#ifndef SPEC_PRIVATE_H
#define SPEC_PRIVATE_H

#include "json.h"
#include "options.h"

/** spec_constraint() - one of a job's, or a volume's. */
cJSON *spec_constraint(const char *attribute, const char *operator_, const char *value);

/** spec_add_vault() - what the options' secrets need in the task: the login, and the templates. */
void spec_add_vault(cJSON *task, const struct options *o);

/** spec_add_registries() - the node's certificates of registries, to the task's Docker volumes. */
void spec_add_registries(cJSON *volumes, const struct options *o);

/** spec_add_gpu() - the devices that the options ask for, and what a container needs to use them. */
void spec_add_gpu(cJSON *constraints, cJSON *task, const struct options *o);

#endif
