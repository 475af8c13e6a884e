#ifndef LINES_H
#define LINES_H

#include "buf.h"

/*
 * A text for printf %b. That builtin's input is all that bootstrap.sh and bootstrap_tty.sh have to take a
 * command in whole lines. Pure.
 */

/* Bytes of a line, its newline included: a terminal's line discipline cuts at 4095. */
#define LINES_MAX ((size_t)3900)

/** lines_one() - append @text as one line, its newline included. Control characters stay but for the newline.
 */
void lines_one(struct buf *to, const char *text);

/**
 * lines_many() - append @text in lines of LINES_MAX bytes at most, then an empty one; no other line is empty.
 * No control character is in it but those newlines. No escape is cut apart: the lines without their newlines
 * are the text for printf %b.
 */
void lines_many(struct buf *to, const char *text);

#endif
