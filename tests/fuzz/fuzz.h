#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* What libFuzzer calls, and standalone.c without it. A target crashes by abort() when a property does not
 * hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define HOLDS(property)                                                                                      \
	do {                                                                                                 \
		if (!(property))                                                                             \
			abort();                                                                             \
	} while (0)

#endif
