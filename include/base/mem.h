#ifndef MEM_H
#define MEM_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Memory: small allocations never fail, they abort the process (there is nothing useful this program could do
 * without a few hundred bytes). What a peer decides the size of goes through struct buf, which has a maximum.
 */

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK        __attribute__((warn_unused_result))

/** AUTO(fn) - variable attribute: fn(&variable) runs when it leaves scope. */
#define AUTO(fn) __attribute__((cleanup(fn)))

/** TAKE(p) - the pointer in p, which is NULL afterwards: moves ownership out of an AUTO variable. */
#define TAKE(p)                                                                                              \
	__extension__({                                                                                      \
		__typeof__(p) take_ = (p);                                                                   \
		(p) = NULL;                                                                                  \
		take_;                                                                                       \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/** The x* functions return memory for free(); never NULL. xstrdup(NULL) is NULL. */
void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n) __attribute__((returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF(1, 2) __attribute__((returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap) PRINTF(1, 0) __attribute__((returns_nonnull));

/** mem_wipe() - overwrite n bytes in a way the compiler keeps. @p may be NULL when n is 0. */
void mem_wipe(void *p, size_t n);

/** For AUTO: free *p (a char **), and wipe it first. */
void freep(void *p);
void secret_freep(char **p);

#endif
