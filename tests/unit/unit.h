#ifndef UNIT_H
#define UNIT_H

/* cmocka wants these four before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/**
 * UNIT_MAIN(tests) - main() for an array of struct CMUnitTest: all of them, `--list` for their names one a
 * line, or the one that is named.
 */
#define UNIT_MAIN(tests)                                                                                     \
	int main(int argc, char **argv)                                                                      \
	{                                                                                                    \
		size_t found = argc == 1;                                                                    \
		for (size_t i = 0; i < sizeof(tests) / sizeof((tests)[0]); i++) {                            \
			if (argc == 2 && strcmp(argv[1], "--list") == 0) {                                   \
				puts((tests)[i].name);                                                       \
				found = 2;                                                                   \
			} else if (argc == 2 && strcmp(argv[1], (tests)[i].name) == 0) {                     \
				found = 1;                                                                   \
			}                                                                                    \
		}                                                                                            \
		if (found == 2)                                                                              \
			return 0;                                                                            \
		if (found == 0) {                                                                            \
			fprintf(stderr, "usage: %s [--list | NAME]\n", argv[0]);                             \
			return 2;                                                                            \
		}                                                                                            \
		if (argc == 2)                                                                               \
			cmocka_set_test_filter(argv[1]);                                                     \
		return cmocka_run_group_tests(tests, NULL, NULL);                                            \
	}

#endif
