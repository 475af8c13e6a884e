#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	return machine_delete(cli->machine, e);
}

const struct command cmd_delete = {
	.name = "delete",
	.summary = "delete the machine with all it left",
	.text = "Stops it, removes its devcontainers and its directory from the node, and makes Nomad forget "
		"the job. Absent is a\n"
		"success. When the node is away, what stays there is told.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.run = run,
};
