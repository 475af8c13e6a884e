#include "base64.h"

#include <stdint.h>

static const char alphabet[64] = {'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M',
				  'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z',
				  'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
				  'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
				  '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/'};

/* The value of a character plus one; 0 for what is not in the alphabet. */
static const uint8_t value_plus_1[256] = {
	['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
	['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
	['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
	['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
	['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
	['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
	['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

size_t base64_encode(char *to, const void *data, size_t n)
{
	const uint8_t *in = data;
	char *out = to;

	for (; n >= 3; n -= 3, in += 3) {
		uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
	if (n) {
		uint32_t v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);

		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = (char)(n == 2 ? alphabet[v >> 6 & 63] : '=');
		*out++ = '=';
	}
	return (size_t)(out - to);
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

	size_t whole = (pad ? n - 4 : n) / 4;
	for (size_t i = 0; i < whole; i++, in += 4) {
		uint32_t a = value_plus_1[in[0]], b = value_plus_1[in[1]];
		uint32_t c = value_plus_1[in[2]], d = value_plus_1[in[3]];

		if (!a || !b || !c || !d)
			return (size_t)-1;
		uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
		*out++ = (uint8_t)(v >> 16);
		*out++ = (uint8_t)(v >> 8);
		*out++ = (uint8_t)v;
	}
	if (pad) {
		uint32_t a = value_plus_1[in[0]], b = value_plus_1[in[1]];
		uint32_t c = pad == 1 ? value_plus_1[in[2]] : 1;

		if (!a || !b || !c)
			return (size_t)-1;
		uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
		if (pad == 1 ? v & 0xff : v & 0xffff) /* bits that belong to no byte must be 0 */
			return (size_t)-1;
		*out++ = (uint8_t)(v >> 16);
		if (pad == 1)
			*out++ = (uint8_t)(v >> 8);
	}
	return (size_t)(out - (uint8_t *)to);
}
