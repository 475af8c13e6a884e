#ifndef PLATFORM_H
#define PLATFORM_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

/* What differs between operating systems; one platform_*.c each. */

/** platform_start() - SIGPIPE ignored, descriptors 0 to 2 open. Call first. */
int platform_start(struct err *e) MUST_CHECK;

/**
 * Interrupts: SIGINT, SIGTERM and SIGHUP are noted, never act by themselves. interrupt_signal() is the first
 * one noted or 0; interrupt_fd() becomes readable then. interrupt_acknowledge() forgets it, so that cleaning
 * up can wait on the network again; a second signal is noted anew.
 */
int interrupt_install(struct err *e) MUST_CHECK;
int interrupt_signal(void);
int interrupt_fd(void);
void interrupt_acknowledge(void);

/** interrupt_error() - set ERR_INTERRUPTED for interrupt_signal(). Return: -1. */
int interrupt_error(struct err *e);

/** platform_random() - n bytes nobody can guess. */
int platform_random(void *to, size_t n, struct err *e) MUST_CHECK;

/** platform_user() - "name@host" of who runs us, printable ASCII, for free(). */
char *platform_user(void);

/** file_read() - a whole file of at most @max bytes, for free(), NUL-terminated; @ret_n may be NULL. */
char *file_read(const char *path, size_t max, size_t *ret_n, struct err *e) MUST_CHECK;

/**
 * file_read_config() - the same of a file that anybody may have put there: a regular one only, never waited
 * for; ERR_NOT_FOUND when there is none.
 * @ret_own: it and its directory are ours or root's, and only these two and our own group may write to them.
 */
char *file_read_config(const char *path, size_t max, size_t *ret_n, bool *ret_own, struct err *e) MUST_CHECK;

/** file_replace() - write a file of mode 0600 so that a reader sees the old or the new one, never half of it.
 */
int file_replace(const char *path, const void *data, size_t n, struct err *e) MUST_CHECK;

/** file_remove() - a file that is not there is a success. */
int file_remove(const char *path, struct err *e) MUST_CHECK;

/** dir_files() - every regular file below @path, recursively, sorted: a NULL-terminated list for
 * dir_files_freep(). */
char **dir_files(const char *path, struct err *e) MUST_CHECK;
void dir_files_freep(char ***p);

#endif
