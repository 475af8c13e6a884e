#include "log.h"

static bool debugging;

void log_set_debug(bool on)
{
	debugging = on;
}

bool log_debugging(void)
{
	return debugging;
}

static void say(const char *prefix, const char *fmt, va_list ap) PRINTF(2, 0);
static void say(const char *prefix, const char *fmt, va_list ap)
{
	AUTO(freep) char *text = xvasprintf(fmt, ap);

	fprintf(stderr, "%s%s\n", prefix, text);
}

void log_debug(const char *fmt, ...)
{
	if (!debugging)
		return;
	va_list ap;
	va_start(ap, fmt);
	say("debug: ", fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}
