#include "core/charset.h"

#include <string.h>

/* What windows-1252 has at 0x80 to 0x9f; 0 where it has nothing. */
static const uint16_t windows_1252[32] = {
	0x20ac, 0,	0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	0x2039, 0x0152, 0,	0x017d, 0,	0,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,	0x017e, 0x0178,
};

/* Returns the byte that @c is in @charset (not CHARSET_UTF_8), or -1. */
static int charset_byte(enum charset charset, uint32_t c)
{
	if (c < 0x80)
		return (int)c;
	switch (charset) {
	case CHARSET_ISO_8859_1:
		return c < 0x100 ? (int)c : -1;
	case CHARSET_WINDOWS_1252:
		if (c >= 0xa0 && c < 0x100)
			return (int)c;
		for (int i = 0; c >= 0x100 && i < 32; i++) {
			if (windows_1252[i] == c)
				return 0x80 + i;
		}
		return -1;
	case CHARSET_ASCII:
	case CHARSET_UTF_8:
		break;
	}
	return -1;
}

static int write_decimal(uint32_t c, uint8_t *out)
{
	uint8_t digits[10];
	int n = 0;

	do {
		digits[n++] = (uint8_t)('0' + c % 10);
		c /= 10;
	} while (c > 0);
	for (int i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	return n;
}

static int write_xml_reference(uint32_t c, uint8_t *out)
{
	int n = 2;

	memcpy(out, "&#", 2);
	n += write_decimal(c, out + n);
	out[n++] = ';';
	return n;
}

static int write_backslash(uint32_t c, uint8_t *out)
{
	int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;

	out[0] = '\\';
	out[1] = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
	for (int i = 0; i < digits; i++)
		out[2 + i] = (uint8_t) "0123456789abcdef"[c >> 4 * (digits - 1 - i) & 0xf];
	return 2 + digits;
}

static int write_utf_8(uint32_t c, uint8_t *out)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

int charset_encode_character(enum charset charset, enum encode_errors errors, uint32_t c,
			     uint8_t ret_bytes[CHARSET_CHARACTER_MAX])
{
	int byte;

	if (charset == CHARSET_UTF_8)
		return write_utf_8(c, ret_bytes);
	byte = charset_byte(charset, c);
	if (byte < 0 && errors == ENCODE_REPLACE)
		byte = '?';
	if (byte >= 0) {
		ret_bytes[0] = (uint8_t)byte;
		return 1;
	}
	if (errors == ENCODE_XMLCHARREFREPLACE)
		return write_xml_reference(c, ret_bytes);
	if (errors == ENCODE_BACKSLASHREPLACE)
		return write_backslash(c, ret_bytes);
	return errors == ENCODE_IGNORE ? 0 : -1;
}

/* Copies ASCII up to the first byte that is none; returns how much that was. */
static size_t copy_ascii(const uint8_t *text, uint8_t *out, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t word;

		memcpy(&word, text + i, 8);
		if (word & UINT64_C(0x8080808080808080))
			break;
		memcpy(out + i, &word, 8);
	}
	for (; i < n && text[i] < 0x80; i++)
		out[i] = text[i];
	return i;
}

static size_t character_length(uint8_t lead)
{
	return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static enum charset_status encode_utf_8(const uint8_t *text, size_t n, uint8_t *out, size_t size,
					size_t *ret_read, size_t *ret_written)
{
	size_t whole = n;

	if (whole > size) {
		whole = size;
		while (whole > 0 && (text[whole] & 0xc0) == 0x80)
			whole--;
	}
	memcpy(out, text, whole);
	*ret_read = whole;
	*ret_written = whole;
	return whole == n ? CHARSET_DONE : CHARSET_FULL;
}

enum charset_status charset_encode(enum charset charset, enum encode_errors errors,
				   const uint8_t *text, size_t n, uint8_t *out, size_t size,
				   size_t *ret_read, size_t *ret_written)
{
	enum charset_status status = CHARSET_DONE;
	size_t read = 0;
	size_t written = 0;

	if (charset == CHARSET_UTF_8)
		return encode_utf_8(text, n, out, size, ret_read, ret_written);
	for (;;) {
		uint8_t bytes[CHARSET_CHARACTER_MAX];
		size_t room = size - written;
		size_t copied =
			copy_ascii(text + read, out + written, n - read < room ? n - read : room);
		int length;

		read += copied;
		written += copied;
		if (read == n)
			break;
		length = charset_encode_character(charset, errors, utf8_code_point(text + read),
						  bytes);
		if (length < 0) {
			status = CHARSET_FAULT;
			break;
		}
		if ((size_t)length > size - written) {
			status = CHARSET_FULL;
			break;
		}
		memcpy(out + written, bytes, (size_t)length);
		read += character_length(text[read]);
		written += (size_t)length;
	}
	*ret_read = read;
	*ret_written = written;
	return status;
}

size_t charset_encodable(enum charset charset, const uint8_t *text, size_t n)
{
	size_t i = 0;

	if (charset == CHARSET_UTF_8)
		return n;
	while (i < n && (text[i] < 0x80 || charset_byte(charset, utf8_code_point(text + i)) >= 0))
		i += character_length(text[i]);
	return i;
}
