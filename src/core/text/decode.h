#pragma once

/*
 * The charsets of received text, and the decode error handlers. They agree with CPython's codecs
 * "utf-8", "ascii", "iso-8859-1" and "cp1252". In a single-byte charset, each undefined byte is an
 * ill-formed subsequence of its own. In CHARSET_BINARY nothing is ill-formed, and each byte is a
 * character.
 */

#include "core/text/charset.h"
#include "core/utf8/utf8.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The decode error handlers, equal to CPython's. They replace an ill-formed subsequence by: */
enum decode_errors {
	DECODE_STRICT,		 /* an error, which the caller reports */
	DECODE_REPLACE,		 /* U+FFFD */
	DECODE_IGNORE,		 /* nothing */
	DECODE_BACKSLASHREPLACE, /* \xNN for each byte, lower-case hex */
	DECODE_SURROGATEESCAPE,	 /* itself: each byte is a character that every charset encodes as
				    that byte */
};

/* The longest replacement: \xNN for each of three bytes. */
#define DECODE_REPLACEMENT_MAX 12

/*
 * Writes the replacement for an ill-formed subsequence of @n bytes (1 to 3) at @bad under @errors
 * to @ret_text, as UTF-8 (DECODE_SURROGATEESCAPE: unchanged). Returns its length in bytes (0 for
 * DECODE_IGNORE and DECODE_STRICT).
 */
static inline size_t decode_replacement(enum decode_errors errors, const uint8_t *bad, size_t n,
					uint8_t ret_text[DECODE_REPLACEMENT_MAX])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *p = ret_text;

	switch (errors) {
	case DECODE_REPLACE:
		memcpy(p, "\xef\xbf\xbd", 3);
		return 3;
	case DECODE_BACKSLASHREPLACE:
		for (size_t i = 0; i < n; i++) {
			*p++ = '\\';
			*p++ = 'x';
			*p++ = (uint8_t)digits[bad[i] >> 4];
			*p++ = (uint8_t)digits[bad[i] & 0xf];
		}
		return (size_t)(p - ret_text);
	case DECODE_SURROGATEESCAPE:
		memcpy(p, bad, n);
		return n;
	case DECODE_STRICT:
	case DECODE_IGNORE:
		break;
	}
	return 0;
}

/*
 * Returns the code points of the bytes from 80 on in @charset, which is neither CHARSET_UTF_8 nor
 * CHARSET_BINARY: 128 of them, 0 for an undefined byte.
 */
const uint16_t *decode_table(enum charset charset);

/* decode_check() for all charsets but CHARSET_UTF_8. */
struct utf8_checked decode_check_bytes(enum charset charset, const uint8_t *p, size_t n);

/*
 * Checks @n bytes at @p, as utf8_check() does. An undefined byte of a single-byte charset is
 * UTF8_INVALID_START.
 */
static inline struct utf8_checked decode_check(enum charset charset, const uint8_t *p, size_t n)
{
	return charset == CHARSET_UTF_8 ? utf8_check(p, n) : decode_check_bytes(charset, p, n);
}

/* Checks only the first character of @n > 0 bytes at @p, as utf8_character() does. */
enum utf8_status decode_character(enum charset charset, const uint8_t *p, size_t n,
				  size_t *ret_length);

/* Returns the code point of the well-formed, whole character at @p. */
uint32_t decode_code_point(enum charset charset, const uint8_t *p);

/* Returns the number of ill-formed subsequences in @n bytes at @p, which are complete. */
size_t decode_count_faults(enum charset charset, const uint8_t *p, size_t n);

/* Returns the number of characters in @n bytes of well-formed text at @p. */
size_t decode_count(enum charset charset, const uint8_t *p, size_t n);
