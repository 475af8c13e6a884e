#ifndef TEXT_H
#define TEXT_H

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

/** text_eq(), text_starts(): @a may be NULL (then false). */
bool text_eq(const char *a, const char *b);
bool text_starts(const char *s, const char *prefix);

/**
 * text_clean() - what a server, file or variable said, safe for a terminal and for one line.
 * Control characters, DEL, C1 controls and bytes that are no UTF-8 become `?`; tabs and newlines become
 * spaces, white space at both ends goes; what is longer than max bytes is cut (between characters) and ends
 * in "...". Return: a string for free(), never NULL.
 */
char *text_clean(const char *s, size_t n, size_t max);
/** text_cleaned() - the same of a whole string; NULL is an empty one. */
char *text_cleaned(const char *s, size_t max);

/** text_utf8_len() - bytes of the UTF-8 character at s (1-4), or 0 when there is no valid one within n bytes.
 */
size_t text_utf8_len(const char *s, size_t n);

/** text_u64() - decimal digits only, all of s. Return: 0, or -1 when it is anything else or does not fit. */
int text_u64(const char *s, uint64_t *ret) MUST_CHECK;

/** text_bool() - what Go's strconv.ParseBool takes: 1 t T TRUE true True 0 f F FALSE false False. */
int text_bool(const char *s, bool *ret) MUST_CHECK;

/** text_duration_ms() - Go-like durations of whole numbers: 90s, 30m, 1h30m, 500ms. No unit is an error. */
int text_duration_ms(const char *s, int64_t *ret_ms) MUST_CHECK;

/** text_url_escape() - append s with all but RFC 3986's unreserved characters as %XX. */
void text_url_escape(struct buf *to, const char *s);

/** text_shell_quote() - append s as one POSIX shell word, in single quotes. */
void text_shell_quote(struct buf *to, const char *s);

/** text_glob() - @s matches @pattern, in which `*` stands for any characters (Nomad's datacenters). */
bool text_glob(const char *pattern, const char *s);
/** text_glob_regexp() - append such a pattern as a regular expression of Go's, without anchors. */
void text_glob_regexp(struct buf *to, const char *pattern);

/** text_distance() - Levenshtein distance of two short names, case ignored; for «did you mean». */
unsigned text_distance(const char *a, const char *b);

#endif
