#ifndef AFTERMATH_H
#define AFTERMATH_H

#include "nomad.h"
#include "stream.h"

/* What is left to do and to say when a command's stream has failed. */
struct aftermath {
	bool tty;
	char tag[17]; /* in the command line of the script's processes, hexadecimal */
	/* of the try that came so far; alloc "" = none did */
	char alloc[NOMAD_ID_LEN + 1];
	bool left;        /* the command was sent, and may still run */
	bool cut_short;   /* the line ended before the output … */
	bool silent;      /* … for all we know: nothing came any more */
	bool exited;      /* by an exit frame of Nomad's */
	bool stdin_ended; /* and the command had been told so */
};

int aftermath_tag(struct aftermath *a, struct err *e) MUST_CHECK;

/**
 * aftermath_command() - what ends that command, for a shell in the same machine, for free(). A terminal is
 * hung up: its session's leader goes, the kernel tells the others. Without one SIGPIPE goes to those that
 * hold the command's stdout.
 */
char *aftermath_command(const struct aftermath *a);

/**
 * aftermath_explain() - say in @e why, as far as Nomad knows: the machine was stopped, ran out of memory…;
 * which capability is missing. Asks Nomad, which may take two seconds. Return: -1, always.
 */
int aftermath_explain(struct nomad *n, const struct stream_request *rq, const struct aftermath *a,
		      struct err *e);

#endif
