#ifndef BASE64_H
#define BASE64_H

#include <stddef.h>

/* RFC 4648, section 4: the standard alphabet, with padding (what Go's encoding/json writes for []byte). */

/** Bytes that encoding n bytes takes, without a NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/** base64_encode() - write BASE64_LEN(n) characters to @to, no NUL. Return: how many. */
size_t base64_encode(char *to, const void *data, size_t n);

/**
 * base64_decode() - decode n characters; @to needs n / 4 * 3 bytes and may be the same memory as @s.
 * Return: the number of bytes, or (size_t)-1 when it is no valid padded base64.
 */
size_t base64_decode(void *to, const char *s, size_t n);

#endif
