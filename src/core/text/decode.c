#include "core/text/decode.h"

#include "core/text/internal.h"

#include <string.h>

#define FOUR(c) (c), (c) + 1, (c) + 2, (c) + 3
#define SIXTEEN(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

/* indexed by the byte minus 0x80 */
static const uint16_t ascii_table[0x80];
static const uint16_t iso_8859_1_table[0x80] = {
	SIXTEEN(0x80), SIXTEEN(0x90), SIXTEEN(0xa0), SIXTEEN(0xb0),
	SIXTEEN(0xc0), SIXTEEN(0xd0), SIXTEEN(0xe0), SIXTEEN(0xf0),
};
static const uint16_t windows_1252_table[0x80] = {
	0x20ac,
	0,
	0x201a,
	0x0192,
	0x201e,
	0x2026,
	0x2020,
	0x2021,
	0x02c6,
	0x2030,
	0x0160,
	0x2039,
	0x0152,
	0,
	0x017d,
	0,
	0,
	0x2018,
	0x2019,
	0x201c,
	0x201d,
	0x2022,
	0x2013,
	0x2014,
	0x02dc,
	0x2122,
	0x0161,
	0x203a,
	0x0153,
	0,
	0x017e,
	0x0178,
	SIXTEEN(0xa0),
	SIXTEEN(0xb0),
	SIXTEEN(0xc0),
	SIXTEEN(0xd0),
	SIXTEEN(0xe0),
	SIXTEEN(0xf0),
};

const uint16_t *decode_table(enum charset charset)
{
	switch (charset) {
	case CHARSET_ISO_8859_1:
		return iso_8859_1_table;
	case CHARSET_WINDOWS_1252:
		return windows_1252_table;
	case CHARSET_ASCII:
	case CHARSET_UTF_8:
	case CHARSET_BINARY:
		break;
	}
	return ascii_table;
}

struct utf8_checked decode_check_bytes(enum charset charset, const uint8_t *p, size_t n)
{
	const uint16_t *table = decode_table(charset);
	size_t i = 0;

	if (charset == CHARSET_BINARY || charset == CHARSET_ISO_8859_1)
		return (struct utf8_checked){.valid = n};
	while (i < n) {
		i += ascii_length(p + i, n - i);
		while (i < n && p[i] >= 0x80) {
			if (table[p[i] - 0x80] == 0)
				return (struct utf8_checked){i, 1, UTF8_INVALID_START};
			i++;
		}
	}
	return (struct utf8_checked){.valid = n};
}

enum utf8_status decode_character(enum charset charset, const uint8_t *p, size_t n,
				  size_t *ret_length)
{
	if (charset == CHARSET_UTF_8)
		return utf8_character(p, n, ret_length);
	*ret_length = 1;
	return decode_check_bytes(charset, p, 1).status;
}

uint32_t decode_code_point(enum charset charset, const uint8_t *p)
{
	if (charset == CHARSET_UTF_8)
		return utf8_code_point(p);
	return *p < 0x80 || charset == CHARSET_BINARY ? *p : decode_table(charset)[*p - 0x80];
}

size_t decode_count_faults(enum charset charset, const uint8_t *p, size_t n)
{
	size_t count = 0;
	size_t i = 0;

	while (i < n) {
		struct utf8_checked checked = decode_check(charset, p + i, n - i);

		i += checked.valid + checked.length;
		count += checked.length > 0;
	}
	return count;
}

size_t decode_count(enum charset charset, const uint8_t *p, size_t n)
{
	return charset == CHARSET_UTF_8 ? utf8_count(p, n) : n;
}
