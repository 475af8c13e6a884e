#include "spec_private.h"
#include "text.h"

#define SHM_BYTES (INT64_C(2) << 30) /* what programs that learn expect; Docker gives 64 MB */

static void add_constraints(cJSON *list, const struct options *o)
{
	json_push(list, spec_constraint("${attr.cpu.arch}", "=", "amd64"));
	/* true on nodes whose GPUs are meant for other jobs; missing is not true */
	json_push(list, spec_constraint("${meta.gpu-dedicated}", "!=", "true"));
	if (o->gpu_compute_capability) {
		AUTO(freep) char *least = xasprintf(">= %s", o->gpu_compute_capability);

		/* >= compares letters in older Nomads and fractions in newer ones, to which 8.10 is less
		 * than 8.9; a version is what this is */
		json_push(list, spec_constraint("${meta.gpu_compute_capability}", "version", least));
	}
}

static void add_nvidia(cJSON *task)
{
	cJSON *env = cJSON_GetObjectItemCaseSensitive(task, "Env");

	json_put_str(cJSON_GetObjectItemCaseSensitive(task, "Config"), "runtime", "nvidia");
	/* the device plugin puts the GPUs that this task was given in the place of `all` */
	json_put_str(env, "NVIDIA_VISIBLE_DEVICES", "all");
	json_put_str(env, "NVIDIA_DRIVER_CAPABILITIES", "compute,utility");
}

void spec_add_gpu(cJSON *constraints, cJSON *task, const struct options *o)
{
	if (!o->gpu)
		return;
	AUTO(freep) char *name = xasprintf("%s/gpu", o->gpu_vendor);
	cJSON *resources = cJSON_GetObjectItemCaseSensitive(task, "Resources");
	cJSON *device = json_push(json_put(resources, "Devices", json_array()), json_object());

	json_put_str(device, "Name", name);
	json_put_int(device, "Count", o->gpu_count);
	json_put_int(cJSON_GetObjectItemCaseSensitive(task, "Config"), "shm_size", SHM_BYTES);
	add_constraints(constraints, o);
	if (text_eq(o->gpu_vendor, "nvidia"))
		add_nvidia(task);
}
