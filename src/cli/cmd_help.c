#include "cli.h"

#include "options.h"

static int help_all(struct err *e)
{
	AUTO(buf_clear) struct buf text = BUF_INIT;

	buf_puts(
		&text,
		"devpod-provider-nomad: development machines for DevPod on HashiCorp Nomad\n\n"
		"usage: devpod-provider-nomad [-v] COMMAND [ARGUMENT]\n\n"
		"DevPod calls it (devpod up REPO --provider nomad); by hand, set MACHINE_ID.\n\ncommands:\n");
	for (const struct command *const *c = cli_commands(); *c; c++)
		buf_printf(&text, "  %-10s %s\n", (*c)->name, (*c)->summary);
	buf_puts(&text, "\n  -v, --debug   tell each request to Nomad on stderr (also: DEVPOD_DEBUG=true)\n"
			"  -h, --help    this, or a command's own help\n\n"
			"exit code: 0, 1 (an error), 2 (a usage error), 128 + the signal; of `command`: the "
			"remote one\n\n");
	options_help(&text);
	return cli_print(buf_str(&text), e);
}

static int run(struct cli *cli, int *ret_status, struct err *e)
{
	(void)ret_status;
	if (!cli->argument)
		return help_all(e);
	const struct command *c = cli_find(cli->argument, e);
	if (!c)
		return -1;

	AUTO(buf_clear) struct buf text = BUF_INIT;
	buf_printf(&text, "usage: devpod-provider-nomad [-v] %s%s%s\n\n%s.\n\n%s", c->name,
		   c->operand ? " " : "", c->operand ? c->operand : "", c->summary, c->text);
	return cli_print(buf_str(&text), e);
}

const struct command cmd_help = {
	.name = "help",
	.operand = "[COMMAND]",
	.summary = "this text, or a command's own",
	.text = "With all options: names, defaults, meaning.\n",
	.run = run,
};
