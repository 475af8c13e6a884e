#include "cli.h"

#include "log.h"
#include "machine.h"
#include "options.h"
#include "platform.h"
#include "text.h"

static const struct command *const commands[] = {
	&cmd_init,   &cmd_create,  &cmd_start, &cmd_stop,    &cmd_delete,
	&cmd_status, &cmd_command, &cmd_help,  &cmd_version, NULL,
};

const struct command *const *cli_commands(void)
{
	return commands;
}

const struct command *cli_find(const char *name, struct err *e)
{
	const char *nearest = NULL;
	unsigned least = 3; /* further away is another word, not a slip */

	for (const struct command *const *c = commands; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
		unsigned d = text_distance(name, (*c)->name);
		if (d < least) {
			least = d;
			nearest = (*c)->name;
		}
	}
	AUTO(freep) char *clean = text_cleaned(name, 60);
	err_set(e, ERR_USAGE, "unknown command '%s'", clean);
	if (nearest)
		err_hint(e, "did you mean '%s'?", nearest);
	else
		err_hint(e, "see: devpod-provider-nomad help");
	return NULL;
}

int cli_print(const char *text, struct err *e)
{
	if (fputs(text, stdout) == EOF || fflush(stdout) == EOF)
		return err_set(e, ERR_OUTPUT, "stdout cannot be written");
	return 0;
}

/* The command line, taken apart. */
struct line {
	const char *command, *operand;
	bool debug, help, version;
};

static int parse(int argc, char **argv, struct line *ret, struct err *e)
{
	bool flags = true;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (flags && strcmp(arg, "--") == 0) {
			flags = false;
		} else if (flags && arg[0] == '-' && arg[1]) {
			if (text_eq(arg, "-v") || text_eq(arg, "--debug"))
				ret->debug = true;
			else if (text_eq(arg, "-h") || text_eq(arg, "--help"))
				ret->help = true;
			else if (text_eq(arg, "--version"))
				ret->version = true;
			else {
				AUTO(freep) char *clean = text_cleaned(arg, 60);
				err_set(e, ERR_USAGE, "unknown option '%s'", clean);
				return err_hint(e, "see: devpod-provider-nomad help");
			}
		} else if (!ret->command) {
			ret->command = arg;
		} else if (!ret->operand) {
			ret->operand = arg;
		} else {
			AUTO(freep) char *clean = text_cleaned(arg, 60);
			err_set(e, ERR_USAGE, "one argument too many: '%s'", clean);
			return err_hint(e, "put a command with blanks in quotes");
		}
	}
	return 0;
}

/* -h and --version are the commands help and version */
static void resolve_flags(struct line *l)
{
	if (l->help) {
		l->operand = l->command;
		l->command = "help";
	} else if (l->version && !l->command) {
		l->command = "version";
	} else if (!l->command) {
		l->command = "help";
	}
}

static void tell_notices(const struct options *o)
{
	for (const char *line = o->notices; *line; line += strcspn(line, "\n") + 1)
		log_warn("%.*s", (int)strcspn(line, "\n"), line);
}

static int run_command(const struct command *c, struct cli *cli, bool debug, int *ret_status, struct err *e)
{
	if (c->need >= NEED_OPTIONS) {
		struct options_source environment = options_environment();

		if (options_load_workspace(&environment, c->need == NEED_MACHINE, &cli->options, e) < 0)
			return -1;
		if (c->notices)
			tell_notices(cli->options);
		log_set_debug(debug || cli->options->debug);
		if (machine_open(cli->options, DPN_VERSION, &cli->machine, e) < 0)
			return -1;
	}
	if (c->waits && interrupt_install(e) < 0)
		return -1;
	return c->run(cli, ret_status, e);
}

int cli_run(int argc, char **argv, int *ret_status, struct err *e)
{
	struct line l = {NULL, NULL, false, false, false};
	struct cli cli = {NULL, NULL, NULL};
	int status = 0;

	if (parse(argc, argv, &l, e) < 0)
		return -1;
	resolve_flags(&l);
	const struct command *c = cli_find(l.command, e);
	if (!c)
		return -1;
	if (l.operand && !c->operand) {
		AUTO(freep) char *clean = text_cleaned(l.operand, 60);
		err_set(e, ERR_USAGE, "%s takes no argument, got '%s'", c->name, clean);
		return err_hint(e, "see: devpod-provider-nomad help %s", c->name);
	}
	cli.argument = l.operand;
	int failed = run_command(c, &cli, l.debug, &status, e);
	machine_freep(&cli.machine);
	options_freep(&cli.options);
	if (failed)
		return -1;
	*ret_status = status;
	return 0;
}
