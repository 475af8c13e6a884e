#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	return machine_start(cli->machine, e);
}

const struct command cmd_start = {
	.name = "start",
	.summary = "start the stopped machine, on the node that has its data",
	.text = "Registers the job again, with the options of now, on the node that has the machine's "
		"directory. When that node is\n"
		"away it says so and fails: a machine never starts empty on another one.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.notices = true,
	.run = run,
};
