#ifndef LOG_H
#define LOG_H

#include "mem.h"

#include <stdbool.h>

/* All of it goes to stderr, one line a call; stdout belongs to the result. */

/** log_set_debug() - make log_debug() speak. */
void log_set_debug(bool on);
bool log_debugging(void);

/** log_debug() - for developers; no secret may be among the arguments. */
void log_debug(const char *fmt, ...) PRINTF(1, 2);

/** log_info() - progress that the user waits for: one plain line per state. */
void log_info(const char *fmt, ...) PRINTF(1, 2);

/** log_warn() - something is wrong, and the work goes on. */
void log_warn(const char *fmt, ...) PRINTF(1, 2);

#endif
