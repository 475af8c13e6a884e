#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

/** clock_ms() - milliseconds of a clock that only moves forward; its zero means nothing. */
int64_t clock_ms(void);

/** clock_left() - milliseconds from now to @deadline (of clock_ms()), 0 when it has passed. INT64_MAX stays
 * that. */
int64_t clock_left(int64_t deadline);

#endif
