#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	return machine_stop(cli->machine, e);
}

const struct command cmd_stop = {
	.name = "stop",
	.summary = "stop the machine; its data stay",
	.text = "Stops the devcontainers and the job and waits until nothing of it runs any more. The "
		"machine's directory stays on\n"
		"its node, and so do the stopped devcontainers. Stopped already, or absent, is a success.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.run = run,
};
