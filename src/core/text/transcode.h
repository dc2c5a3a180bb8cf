#pragma once

/*
 * Received bytes to reply bytes in one pass: decode with an error handler, encode with another,
 * resumable when the output is full. Clean stretches go through in bulk.
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
 * found and cut off everything that a strict handler would refuse.
 *
 * Sets *@ret_read and *@ret_written. What was read ends at a character (or maximal subpart)
 * boundary; *@ret_read < @n means that @out is full, and the call is repeated with the rest.
 */
void transcode(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out, size_t size,
	       size_t *ret_read, size_t *ret_written);

/*
 * Returns how many characters @n received bytes at @raw (complete, as above) decode to: each
 * replacement counts as the characters that it is made of.
 */
size_t transcode_count(const struct transcoder *t, const uint8_t *raw, size_t n);

/* The most bytes that one character or one maximal subpart can become in the reply. */
#define TRANSCODE_UNIT_MAX 16
