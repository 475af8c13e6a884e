#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	return machine_check(cli->machine, e);
}

const struct command cmd_init = {
	.name = "init",
	.summary = "check that machines can be made on this cluster",
	.text = "One check after the other, a line each on stderr: Nomad answers, the token is valid, the "
		"namespace\n"
		"exists, a node can take a machine, and a machine of the size asked for can be placed. The "
		"first that\n"
		"fails ends it, with what to do. Nothing is changed.\n",
	.need = NEED_OPTIONS,
	.waits = true,
	.notices = true,
	.run = run,
};
