#pragma once

/*
 * Converts received bytes to reply bytes in one pass: decodes with one error handler and encodes
 * with another. It is resumable when the output is full. Runs of well-formed text are copied in
 * bulk.
 */

#include "core/text/charset.h"
#include "core/text/decode.h"

struct transcoder {
	enum decode_errors decode_errors;
	enum charset charset;
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

/* The maximum number of reply bytes for one character or one maximal subpart. */
#define TRANSCODE_UNIT_MAX 16
