#include "cli.h"
#include "machine.h"
#include "options.h"
#include "stream.h"

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	const char *command = cli->argument ? cli->argument : cli->options->command;

	if (!command) {
		err_set(e, ERR_USAGE, "no command to run");
		return err_hint(e, "set COMMAND, or give it as one argument");
	}
	struct stream_request rq = {
		.job = machine_job(cli->machine),
		.task = machine_task(cli->machine),
		.command = command,
		.stdin_fd = 0,
		.stdout_fd = 1,
		.stderr_fd = 2,
	};
	return stream_run(machine_nomad(cli->machine), &rq, ret_status, e);
}

const struct command cmd_command = {
	.name = "command",
	.operand = "[COMMAND]",
	.summary = "run COMMAND in the machine, on our stdin, stdout and stderr",
	.text = "The command comes from the argument, or else from the variable COMMAND (or "
		"DEVCONTAINER_COMMAND). The machine's\n"
		"/bin/sh runs it; the exit code is its own. It does not wait for a machine that is not "
		"running.\n",
	.need = NEED_MACHINE,
	.waits = true,
	.run = run,
};
