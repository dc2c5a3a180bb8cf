#pragma once

/*
 * The reply charsets and the encode error handlers: text (well-formed UTF-8) into the bytes of a
 * charset. Outcomes equal CPython's codecs "utf-8", "ascii", "iso-8859-1" and "cp1252" byte for
 * byte.
 */

#include "core/utf8/utf8.h"

#include <stddef.h>
#include <stdint.h>

enum charset {
	CHARSET_UTF_8,
	CHARSET_ASCII,
	CHARSET_ISO_8859_1,
	CHARSET_WINDOWS_1252,
};

/* What a character that the charset lacks becomes. */
enum encode_errors {
	ENCODE_STRICT,		  /* an error; the caller reports it */
	ENCODE_REPLACE,		  /* ? */
	ENCODE_IGNORE,		  /* nothing */
	ENCODE_XMLCHARREFREPLACE, /* &#1024; */
	ENCODE_BACKSLASHREPLACE,  /* \xe9, \u0400, \U0001f600 */
};

enum charset_status {
	CHARSET_DONE,  /* all of the text is encoded */
	CHARSET_FULL,  /* the next character's bytes do not fit */
	CHARSET_FAULT, /* ENCODE_STRICT, and the charset lacks the next character */
};

/* The most bytes that one character can become (&#1114111; or \U0010ffff). */
#define CHARSET_CHARACTER_MAX 10

/*
 * Encodes @n bytes of well-formed UTF-8 made of whole characters at @text into at most @size bytes
 * at @out, and stops at a character boundary. Sets *@ret_read to how much of the text was encoded
 * and *@ret_written to how many bytes that made. Makes progress whenever @size is at least
 * CHARSET_CHARACTER_MAX, unless the status is CHARSET_FAULT.
 */
enum charset_status charset_encode(enum charset charset, enum encode_errors errors,
				   const uint8_t *text, size_t n, uint8_t *out, size_t size,
				   size_t *ret_read, size_t *ret_written);

/*
 * Writes what the character @c becomes in @charset under @errors to @ret_bytes; returns its length,
 * 0 to CHARSET_CHARACTER_MAX, or -1 when the charset lacks it and @errors is ENCODE_STRICT.
 */
int charset_encode_character(enum charset charset, enum encode_errors errors, uint32_t c,
			     uint8_t ret_bytes[CHARSET_CHARACTER_MAX]);

/*
 * Returns the length in bytes of the longest prefix of @text (@n bytes of well-formed UTF-8, whole
 * characters) whose every character @charset has.
 */
size_t charset_encodable(enum charset charset, const uint8_t *text, size_t n);
