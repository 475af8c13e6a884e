#include "cli.h"
#include "machine.h"
#include "options.h"
#include "stream.h"

static int find(void *arg, char *ret_id, struct err *e)
{
	return machine_find_allocation(arg, ret_id, e);
}

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	const char *command = cli->argument ? cli->argument : cli->options->command;

	if (!command) {
		err_set(e, ERR_USAGE, "no command to run");
		return err_hint(e, "set COMMAND, or give it as one argument");
	}
	struct stream_request rq = {
		.task = machine_task(cli->machine),
		.command = command,
		.stdin_fd = 0,
		.stdout_fd = 1,
		.stderr_fd = 2,
		.tty = true,
		.term = getenv("TERM"),
	};
	struct stream_route route = {.alloc_id = "", .find = find, .arg = cli->machine};
	const char *alloc_id;

	machine_route(cli->machine, &alloc_id, &route.direct);
	snprintf(route.alloc_id, sizeof(route.alloc_id), "%s", alloc_id ? alloc_id : "");
	int failed = stream_run(machine_nomad(cli->machine), &rq, &route, ret_status, e);
	if (route.changed)
		machine_learn_route(cli->machine, route.alloc_id, route.direct != NULL);
	return failed;
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
