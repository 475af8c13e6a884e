#include "err.h"

#include <assert.h>

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	assert(e->kind == ERR_NONE && kind != ERR_NONE);
	va_list ap;
	va_start(ap, fmt);
	e->kind = kind;
	e->msg = xvasprintf(fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	AUTO(freep) char *what = xvasprintf(fmt, ap);
	va_end(ap);
	return err_set(e, ERR_SYSTEM, "%s: %s", what, strerror(errnum));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	assert(e->kind != ERR_NONE);
	va_list ap;
	va_start(ap, fmt);
	AUTO(freep) char *what = xvasprintf(fmt, ap);
	va_end(ap);

	char *msg = xasprintf("%s: %s", what, e->msg);
	free(e->msg);
	e->msg = msg;
	return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
	if (e->hint)
		return -1;
	va_list ap;
	va_start(ap, fmt);
	e->hint = xvasprintf(fmt, ap);
	va_end(ap);
	return -1;
}

void err_clear(struct err *e)
{
	free(e->msg);
	free(e->hint);
	*e = (struct err)ERR_INIT;
}

void err_move(struct err *to, struct err *from)
{
	if (to->kind != ERR_NONE) {
		err_clear(from);
		return;
	}
	*to = *from;
	*from = (struct err)ERR_INIT;
}

int err_exit_code(const struct err *e)
{
	switch (e->kind) {
	case ERR_NONE:
		return 0;
	case ERR_USAGE:
		return 2;
	case ERR_INTERRUPTED:
		return 128 + e->status;
	default:
		return 1;
	}
}
