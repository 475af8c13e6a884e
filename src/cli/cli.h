#ifndef CLI_H
#define CLI_H

#include "err.h"

#include <stdbool.h>

struct machine;
struct options;

/* What a command needs before it runs; each implies the ones before it. */
enum need {
	NEED_NOTHING,
	NEED_OPTIONS, /* the options, MACHINE_ID not among them */
	NEED_MACHINE, /* the options with MACHINE_ID */
};

struct cli {
	const char *argument;    /* the one operand, or NULL */
	struct options *options; /* from NEED_OPTIONS on, as is machine */
	struct machine *machine;
};

/** A command: all that is to know of it, beside its handler. */
struct command {
	const char *name;
	const char *operand; /* "[COMMAND]", or NULL when it takes none */
	const char *summary; /* one line */
	const char *text;    /* for its own help */
	enum need need;
	bool waits;   /* it is ended by signals in an orderly way */
	bool notices; /* it says what of the workspace's file has no effect */
	/** @ret_status: the process's exit code, 0 unless it is written. */
	int (*run)(struct cli *cli, int *ret_status, struct err *e);
};

extern const struct command cmd_init, cmd_create, cmd_delete, cmd_start, cmd_stop, cmd_status, cmd_command,
	cmd_help, cmd_version;

/** cli_commands() - NULL-terminated, in the order of the help. */
const struct command *const *cli_commands(void);

/** cli_find() - a command by its name, or NULL with a usage error that names the nearest one. */
const struct command *cli_find(const char *name, struct err *e);

/** cli_run() - all of the program but printing its error. @ret_status: the exit code; written on success
 * only. */
int cli_run(int argc, char **argv, int *ret_status, struct err *e) MUST_CHECK;

/** cli_print() - text to stdout. */
int cli_print(const char *text, struct err *e) MUST_CHECK;

#endif
