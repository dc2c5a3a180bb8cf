#pragma once

/*
 * The decode error handlers: the replacements for ill-formed subsequences. They equal CPython's
 * byte for byte.
 */

#include <stddef.h>
#include <stdint.h>

enum decode_errors {
	DECODE_STRICT,		 /* an error, which the caller reports */
	DECODE_REPLACE,		 /* U+FFFD */
	DECODE_IGNORE,		 /* nothing */
	DECODE_BACKSLASHREPLACE, /* \xNN for each byte, lower-case hex */
};

/* The longest replacement: \xNN for each of three bytes. */
#define DECODE_REPLACEMENT_MAX 12

/*
 * Writes the replacement for a maximal subpart of @n bytes (1 to 3) at @bad under @errors, as
 * UTF-8, to @ret_text. Returns its length in bytes (0 for DECODE_IGNORE and DECODE_STRICT).
 */
size_t decode_replacement(enum decode_errors errors, const uint8_t *bad, size_t n,
			  uint8_t ret_text[DECODE_REPLACEMENT_MAX]);
