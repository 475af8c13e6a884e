#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	return machine_create(cli->machine, e);
}

const struct command cmd_create = {
	.name = "create",
	.summary = "make the machine MACHINE_ID and wait until it is ready",
	.text = "Registers the job, shows what Nomad and the machine say, and returns when the machine is "
		"ready. On failure, or\n"
		"when it is interrupted, what it made is gone again. A machine of that name that is ours is "
		"taken over: waited\n"
		"for when it runs, started when it is stopped.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.notices = true,
	.run = run,
};
