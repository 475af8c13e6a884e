#include "base64.h"

#include <stdint.h>
#include <string.h>

/* Every byte of a stream goes through here, so it works with words, and with tables of two characters. */

/* clang-format off */
#define ALPHABET(X)                                                                                          \
	X('A', 0) X('B', 1) X('C', 2) X('D', 3) X('E', 4) X('F', 5) X('G', 6) X('H', 7)                      \
	X('I', 8) X('J', 9) X('K', 10) X('L', 11) X('M', 12) X('N', 13) X('O', 14) X('P', 15)                \
	X('Q', 16) X('R', 17) X('S', 18) X('T', 19) X('U', 20) X('V', 21) X('W', 22) X('X', 23)              \
	X('Y', 24) X('Z', 25) X('a', 26) X('b', 27) X('c', 28) X('d', 29) X('e', 30) X('f', 31)              \
	X('g', 32) X('h', 33) X('i', 34) X('j', 35) X('k', 36) X('l', 37) X('m', 38) X('n', 39)              \
	X('o', 40) X('p', 41) X('q', 42) X('r', 43) X('s', 44) X('t', 45) X('u', 46) X('v', 47)              \
	X('w', 48) X('x', 49) X('y', 50) X('z', 51) X('0', 52) X('1', 53) X('2', 54) X('3', 55)              \
	X('4', 56) X('5', 57) X('6', 58) X('7', 59) X('8', 60) X('9', 61) X('+', 62) X('/', 63)

/* All 64 pairs that begin with that character. */
#define PAIRS(c, value)                                                                                      \
	c, 'A', c, 'B', c, 'C', c, 'D', c, 'E', c, 'F', c, 'G', c, 'H', c, 'I', c, 'J', c, 'K',              \
	c, 'L', c, 'M', c, 'N', c, 'O', c, 'P', c, 'Q', c, 'R', c, 'S', c, 'T', c, 'U', c, 'V',              \
	c, 'W', c, 'X', c, 'Y', c, 'Z', c, 'a', c, 'b', c, 'c', c, 'd', c, 'e', c, 'f', c, 'g',              \
	c, 'h', c, 'i', c, 'j', c, 'k', c, 'l', c, 'm', c, 'n', c, 'o', c, 'p', c, 'q', c, 'r',              \
	c, 's', c, 't', c, 'u', c, 'v', c, 'w', c, 'x', c, 'y', c, 'z', c, '0', c, '1', c, '2',              \
	c, '3', c, '4', c, '5', c, '6', c, '7', c, '8', c, '9', c, '+', c, '/',
/* clang-format on */

static const char pairs[64 * 64 * 2] = {ALPHABET(PAIRS)};

/*
 * What a character stands for in the 24 bits of a group of four, by its place there. Above them each place
 * has a bit that says that the character is in the alphabet.
 */
#define FIRST(c, value)  [c] = UINT32_C(1) << 24 | (uint32_t)(value) << 18,
#define SECOND(c, value) [c] = UINT32_C(2) << 24 | (uint32_t)(value) << 12,
#define THIRD(c, value)  [c] = UINT32_C(4) << 24 | (uint32_t)(value) << 6,
#define FOURTH(c, value) [c] = UINT32_C(8) << 24 | (uint32_t)(value),
#define ALL_VALID        15

static const uint32_t first[256] = {ALPHABET(FIRST)};
static const uint32_t second[256] = {ALPHABET(SECOND)};
static const uint32_t third[256] = {ALPHABET(THIRD)};
static const uint32_t fourth[256] = {ALPHABET(FOURTH)};

/* Big-endian words from and to anywhere; written out in shifts, gcc stores them byte by byte. */
static uint64_t big_endian(uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static uint64_t load_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return big_endian(v);
}

static void store_be64(void *p, uint64_t v)
{
	v = big_endian(v);
	memcpy(p, &v, sizeof(v));
}

/* The two characters of 12 bits. */
static const char *pair(uint64_t bits)
{
	return pairs + 2 * (bits & 0xfff);
}

size_t base64_encode(char *to, const void *data, size_t n)
{
	const uint8_t *in = data;
	char *out = to;

	for (; n >= 8; n -= 6, in += 6, out += 8) {
		uint64_t v = load_be64(in); /* two bytes more than are used */

		memcpy(out, pair(v >> 52), 2);
		memcpy(out + 2, pair(v >> 40), 2);
		memcpy(out + 4, pair(v >> 28), 2);
		memcpy(out + 6, pair(v >> 16), 2);
	}
	for (; n >= 3; n -= 3, in += 3, out += 4) {
		uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

		memcpy(out, pair(v >> 12), 2);
		memcpy(out + 2, pair(v), 2);
	}
	if (n) {
		uint32_t v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);

		memcpy(out, pair(v >> 12), 2);
		out[2] = '=';
		if (n == 2)
			out[2] = *pair(v);
		out[3] = '=';
		out += 4;
	}
	return (size_t)(out - to);
}

/* Four characters: 24 bits, and the bits of validity above. */
static uint32_t group(const uint8_t *in)
{
	return first[in[0]] | second[in[1]] | third[in[2]] | fourth[in[3]];
}

size_t base64_decode(void *to, const char *s, size_t n)
{
	const uint8_t *in = (const uint8_t *)s;
	uint8_t *out = to;
	size_t pad = 0;

	if (n % 4)
		return (size_t)-1;
	if (n == 0)
		return 0;
	if (in[n - 1] == '=')
		pad = in[n - 2] == '=' ? 2 : 1;

	/* The store is of 6 bytes and 2 of nothing: four more groups have room for them, and in place it
	 * stays within what has been read. */
	size_t groups = n / 4 - (pad ? 1 : 0);
	for (; groups >= 4; groups -= 2, in += 8, out += 6) {
		uint32_t a = group(in), b = group(in + 4);

		if ((a & b) >> 24 != ALL_VALID)
			return (size_t)-1;
		store_be64(out, (uint64_t)a << 40 | (uint64_t)b << 40 >> 24);
	}
	for (; groups; groups--, in += 4, out += 3) {
		uint32_t v = group(in);

		if (v >> 24 != ALL_VALID)
			return (size_t)-1;
		out[0] = (uint8_t)(v >> 16);
		out[1] = (uint8_t)(v >> 8);
		out[2] = (uint8_t)v;
	}
	if (pad) {
		const uint8_t last[4] = {in[0], in[1], pad == 1 ? in[2] : 'A', 'A'};
		uint32_t v = group(last);

		if (v >> 24 != ALL_VALID)
			return (size_t)-1;
		if (pad == 1 ? v & 0xff : v & 0xffff) /* bits that belong to no byte must be 0 */
			return (size_t)-1;
		*out++ = (uint8_t)(v >> 16);
		if (pad == 1)
			*out++ = (uint8_t)(v >> 8);
	}
	return (size_t)(out - (uint8_t *)to);
}
