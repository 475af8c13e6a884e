#ifndef TERMINAL_H
#define TERMINAL_H

#include "err.h"

#include <stdbool.h>

/*
 * The user's terminal. One of platform.h's matters, one platform_terminal_*.c each. There is one terminal in
 * raw mode at most.
 */

bool terminal_is(int fd);

/** terminal_size() - in characters. Return: false when it is not known, or nothing. */
bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns);

/**
 * terminal_raw() - every key comes as it is, and nothing is echoed, until terminal_restore().
 * Its modes are restored on every other way out too: exit(), a signal that ends us (those of platform.h are
 * the caller's), a crash, ASan's end. While we are stopped (SIGTSTP) they are what they were; with SIGCONT it
 * is raw again, if we are in the foreground. In the background nothing is changed: the terminal is another's
 * then. Called in the background, it stops us until we are not (SIGTTOU).
 */
int terminal_raw(int fd, struct err *e) MUST_CHECK;

/** terminal_restore() - the modes that terminal_raw() found; nothing when there are none. */
void terminal_restore(void);

/** terminal_fd() - readable when terminal_changed(); -1 when the terminal is not raw. */
int terminal_fd(void);

/** terminal_changed() - since the last call its size may have changed, or we may have been stopped. */
bool terminal_changed(void);

#endif
