#include "cli.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)cli;
	(void)ret_status;
	return cli_print(DPN_VERSION "\n", e);
}

const struct command cmd_version = {
	.name = "version",
	.summary = "print the version",
	.text = "One line.\n",
	.run = run,
};
