#include "cli.h"

#include "json.h"
#include "platform.h"

/*
 * Start, dispatch, print the one error, exit.
 */
int main(int argc, char **argv)
{
	AUTO(err_clear) struct err e = ERR_INIT;
	int status = 0;

	json_init();
	if (platform_start(&e) < 0 || cli_run(argc, argv, &status, &e) < 0) {
		fprintf(stderr, "error: %s\n", e.msg);
		if (e.hint)
			fprintf(stderr, "hint: %s\n", e.hint);
		status = err_exit_code(&e);
	}
	if (fclose(stdout) == EOF && !status) {
		fputs("error: stdout cannot be written\n", stderr);
		status = 1;
	}
	return status;
}
