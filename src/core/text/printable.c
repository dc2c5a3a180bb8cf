#include "core/text/printable.h"

#include "core/utf8/utf8.h"

#include <stdio.h>
#include <string.h>

bool is_printable(uint32_t c)
{
	if (c < 0xa0)
		return c >= 0x20 && c < 0x7f;
	return c != 0x061c && c != 0x200e && c != 0x200f && !(c >= 0x2028 && c <= 0x202e) &&
	       !(c >= 0x2066 && c <= 0x2069);
}

bool printable_next(const uint8_t *p, size_t n, size_t *ret_length)
{
	return utf8_character(p, n, ret_length) == UTF8_COMPLETE &&
	       is_printable(utf8_code_point(p));
}

size_t printable_escape(char *out, size_t size, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = strlen(text), used = 0, length;

	for (; n > 0; p += length, n -= length) {
		bool printable = printable_next(p, n, &length);

		if (used + (printable ? length : 4 * length) >= size)
			break;
		if (printable) {
			memcpy(out + used, p, length);
			used += length;
			continue;
		}
		for (size_t i = 0; i < length; i++)
			used += (size_t)sprintf(out + used, "\\x%02x", p[i]);
	}
	out[used] = '\0';
	return used;
}
