#include "cli.h"
#include "machine.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	/* the words of DevPod's provider contract */
	static const char *const words[] = {
		[MACHINE_NOT_FOUND] = "NotFound\n",
		[MACHINE_STOPPED] = "Stopped\n",
		[MACHINE_BUSY] = "Busy\n",
		[MACHINE_RUNNING] = "Running\n",
	};
	enum machine_status status;

	(void)ret_status;
	if (machine_status(cli->machine, &status, e) < 0)
		return -1;
	return cli_print(words[status], e);
}

const struct command cmd_status = {
	.name = "status",
	.summary = "print Running, Busy, Stopped or NotFound",
	.text = "Busy: it starts, waits for a place, or stops. Stopped: its data are on a node, start brings "
		"it back. What\n"
		"cannot be told is an error, never NotFound.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.run = run,
};
