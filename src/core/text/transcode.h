#pragma once

/*
 * Converts received bytes to reply bytes in one pass: decodes with one error handler and encodes
 * with another. It is resumable when the output is full. Runs of well-formed text are copied in
 * bulk.
 */

#include "core/text/charset.h"

/* The decode error handlers, equal to CPython's. They replace an ill-formed subsequence by: */
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

struct transcoder {
	enum charset from; /* of the received bytes */
	enum decode_errors decode_errors;
	enum charset to; /* of the reply; CHARSET_BINARY if and only if from is */
	enum encode_errors encode_errors;
};

/*
 * Transcodes @n received bytes at @raw into at most @size bytes (@size >= TRANSCODE_UNIT_MAX) at
 * @out. @raw is complete: a character cut off by its end is ill-formed. The caller has already
 * removed everything that a strict handler would reject.
 *
 * Sets *@ret_read and *@ret_written. *@ret_read ends at the boundary of a character or maximal
 * subpart. If *@ret_read < @n, @out is full, and the caller repeats the call with the rest.
 */
void transcode(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out, size_t size,
	       size_t *ret_read, size_t *ret_written);

/*
 * Returns the number of characters that @n received bytes at @raw (complete, as above) decode to. A
 * replacement counts as the characters that it consists of.
 */
size_t transcode_count(const struct transcoder *t, const uint8_t *raw, size_t n);

/*
 * Returns the number of reply bytes that transcode() makes of @n received bytes at @raw (complete,
 * as above). A text may be measured in pieces that end at the boundary of a character or maximal
 * subpart; the lengths add up.
 */
uint64_t transcode_length(const struct transcoder *t, const uint8_t *raw, size_t n);

/* The maximum number of reply bytes for one character or one maximal subpart. */
#define TRANSCODE_UNIT_MAX 16
