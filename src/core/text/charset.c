#include "core/text/charset.h"

#include "core/text/internal.h"

#include <stdbool.h>
#include <string.h>

/*
 * The windows-1252 bytes of U+2010 to U+203F (dashes, quotation marks and others), indexed by the
 * code point minus 0x2010; 0 if there is none.
 */
static const uint8_t windows_1252_punctuation[0x30] = {
	[0x03] = 0x96, [0x04] = 0x97, [0x08] = 0x91, [0x09] = 0x92, [0x0a] = 0x82,
	[0x0c] = 0x93, [0x0d] = 0x94, [0x0e] = 0x84, [0x10] = 0x86, [0x11] = 0x87,
	[0x12] = 0x95, [0x16] = 0x85, [0x20] = 0x89, [0x29] = 0x8b, [0x2a] = 0x9b,
};

/* Returns the windows-1252 byte of @c (at least U+0100), or -1. */
static int windows_1252_byte(uint32_t c)
{
	if (c - 0x2010 < sizeof(windows_1252_punctuation)) {
		int byte = windows_1252_punctuation[c - 0x2010];

		return byte ? byte : -1;
	}
	switch (c) {
	case 0x0152:
		return 0x8c;
	case 0x0153:
		return 0x9c;
	case 0x0160:
		return 0x8a;
	case 0x0161:
		return 0x9a;
	case 0x0178:
		return 0x9f;
	case 0x017d:
		return 0x8e;
	case 0x017e:
		return 0x9e;
	case 0x0192:
		return 0x83;
	case 0x02c6:
		return 0x88;
	case 0x02dc:
		return 0x98;
	case 0x20ac:
		return 0x80;
	case 0x2122:
		return 0x99;
	default:
		return -1;
	}
}

/* Returns the byte of @c in @charset (not CHARSET_UTF_8), or -1. */
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
		return c < 0x100 ? -1 : windows_1252_byte(c);
	case CHARSET_ASCII:
	case CHARSET_UTF_8:
	case CHARSET_BINARY:
		break;
	}
	return -1;
}

/* Writes a code point in decimal. No digit depends on another, so they are computed in parallel. */
static int write_decimal(uint32_t c, uint8_t *out)
{
	uint8_t *p = out;

	if (c >= 1000000)
		*p++ = (uint8_t)('0' + c / 1000000);
	if (c >= 100000)
		*p++ = (uint8_t)('0' + c / 100000 % 10);
	if (c >= 10000)
		*p++ = (uint8_t)('0' + c / 10000 % 10);
	if (c >= 1000)
		*p++ = (uint8_t)('0' + c / 1000 % 10);
	if (c >= 100)
		*p++ = (uint8_t)('0' + c / 100 % 10);
	if (c >= 10)
		*p++ = (uint8_t)('0' + c / 10 % 10);
	*p++ = (uint8_t)('0' + c % 10);
	return (int)(p - out);
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

int charset_encode_character(enum charset charset, enum encode_errors errors, uint32_t c,
			     uint8_t ret_bytes[CHARSET_CHARACTER_MAX])
{
	int byte = charset_byte(charset, c);

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

/*
 * Encodes the non-ASCII characters at the start of @text, as far as @size suffices. Sets *@ret_read
 * and *@ret_written as charset_encode() does.
 */
static enum charset_status encode_others(enum charset charset, enum encode_errors errors,
					 const uint8_t *text, size_t n, uint8_t *out, size_t size,
					 size_t *ret_read, size_t *ret_written)
{
	enum charset_status status = CHARSET_DONE;
	size_t read = 0;
	size_t written = 0;

	while (read < n && text[read] >= 0x80) {
		uint32_t c = utf8_code_point(text + read);
		uint8_t bytes[CHARSET_CHARACTER_MAX];
		bool is_roomy = size - written >= CHARSET_CHARACTER_MAX;
		int length = charset_encode_character(charset, errors, c,
						      is_roomy ? out + written : bytes);

		if (length < 0) {
			status = CHARSET_FAULT;
			break;
		}
		if (!is_roomy) {
			if ((size_t)length > size - written) {
				status = CHARSET_FULL;
				break;
			}
			memcpy(out + written, bytes, (size_t)length);
		}
		read += character_length(text[read]);
		written += (size_t)length;
	}
	*ret_read = read;
	*ret_written = written;
	return status;
}

enum charset_status charset_encode(enum charset charset, enum encode_errors errors,
				   const uint8_t *text, size_t n, uint8_t *out, size_t size,
				   size_t *ret_read, size_t *ret_written)
{
	enum charset_status status = CHARSET_DONE;
	size_t read = 0;
	size_t written = 0;

	if (charset == CHARSET_UTF_8 || charset == CHARSET_BINARY)
		return encode_utf_8(text, n, out, size, ret_read, ret_written);
	while (read < n && status == CHARSET_DONE) {
		size_t room = size - written;
		size_t done =
			copy_ascii(text + read, out + written, n - read < room ? n - read : room);
		size_t made;

		read += done;
		written += done;
		if (read < n && text[read] < 0x80) {
			status = CHARSET_FULL;
			break;
		}
		status = encode_others(charset, errors, text + read, n - read, out + written,
				       size - written, &done, &made);
		read += done;
		written += made;
	}
	*ret_read = read;
	*ret_written = written;
	return status;
}

size_t charset_encodable(enum charset charset, const uint8_t *text, size_t n)
{
	size_t i = 0;

	if (charset == CHARSET_UTF_8 || charset == CHARSET_BINARY)
		return n;
	for (;;) {
		i += ascii_length(text + i, n - i);
		while (i < n && text[i] >= 0x80) {
			if (charset_byte(charset, utf8_code_point(text + i)) < 0)
				return i;
			i += character_length(text[i]);
		}
		if (i == n)
			return n;
	}
}
