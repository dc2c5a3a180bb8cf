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

/* Writes one byte within @quote. Returns the length. */
static size_t put_byte(char *out, uint8_t byte, char quote)
{
	static const char escaped[] = "\t\n\r\\", letters[] = "tnr\\";
	const char *at = byte != '\0' ? strchr(escaped, byte) : NULL;

	if (at || byte == (uint8_t)quote) {
		out[0] = '\\';
		out[1] = at ? letters[at - escaped] : quote;
		return 2;
	}
	if (byte < 0x20 || byte > 0x7e)
		return (size_t)sprintf(out, "\\x%02x", byte);
	out[0] = (char)byte;
	return 1;
}

size_t printable_bytes(char *out, const uint8_t *p, size_t n)
{
	bool has_single = n > 0 && memchr(p, '\'', n), has_double = n > 0 && memchr(p, '"', n);
	char quote = has_single && !has_double ? '"' : '\'';
	size_t used = 0;

	out[used++] = 'b';
	out[used++] = quote;
	for (size_t i = 0; i < n; i++)
		used += put_byte(out + used, p[i], quote);
	out[used++] = quote;
	out[used] = '\0';
	return used;
}
