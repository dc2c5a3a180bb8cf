#pragma once

/*
 * The reply charsets and the encode error handlers. They encode text (well-formed UTF-8) as bytes
 * of a charset. The results equal those of CPython's codecs "utf-8", "ascii", "iso-8859-1" and
 * "cp1252" byte for byte.
 */

#include "core/utf8/utf8.h"

#include <stddef.h>
#include <stdint.h>

enum charset {
	CHARSET_UTF_8,
	CHARSET_ASCII,
	CHARSET_ISO_8859_1,
	CHARSET_WINDOWS_1252,
	CHARSET_BINARY, /* any bytes, which are not text; templates for it are encoded in UTF-8 */
};

/* The replacement for a character that the charset lacks. */
enum encode_errors {
	ENCODE_STRICT,		  /* none: an error, which the caller reports */
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

/* The maximum number of bytes per encoded character (&#1114111; or \U0010ffff). */
#define CHARSET_CHARACTER_MAX 10

/*
 * Encodes @n bytes of well-formed UTF-8 at @text, which are whole characters, into at most @size
 * bytes at @out. Stops at a character boundary. Sets *@ret_read to the number of bytes encoded and
 * *@ret_written to the number of bytes written. Makes progress whenever @size is at least
 * CHARSET_CHARACTER_MAX, unless the status is CHARSET_FAULT.
 */
enum charset_status charset_encode(enum charset charset, enum encode_errors errors,
				   const uint8_t *text, size_t n, uint8_t *out, size_t size,
				   size_t *ret_read, size_t *ret_written);

/*
 * Encodes the character @c in @charset, which is not CHARSET_UTF_8, with the error handler @errors,
 * to @ret_bytes. Returns the length, 0 to CHARSET_CHARACTER_MAX, or -1 if the charset lacks the
 * character and @errors is ENCODE_STRICT.
 */
int charset_encode_character(enum charset charset, enum encode_errors errors, uint32_t c,
			     uint8_t ret_bytes[CHARSET_CHARACTER_MAX]);

/*
 * Returns the length in bytes of the longest prefix of @text that @charset can encode. @text is @n
 * bytes of well-formed UTF-8, made of whole characters.
 */
size_t charset_encodable(enum charset charset, const uint8_t *text, size_t n);
