#pragma once

/*
 * Converts received bytes to reply bytes in one pass: decodes from one charset with one error
 * handler and encodes in another with another. It is resumable when the output is full. Runs of
 * text that is the same in both charsets are copied in bulk.
 *
 * The result equals that of CPython's raw.decode(from, decode_errors).encode(to, encode_errors).
 * DECODE_SURROGATEESCAPE also handles the characters that it makes when they are encoded, whatever
 * encode_errors is.
 */

#include "core/text/charset.h"
#include "core/text/decode.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transcoder {
	enum charset from; /* of the received bytes */
	enum decode_errors decode_errors;
	enum charset to; /* of the reply; CHARSET_BINARY if and only if from is */
	enum encode_errors encode_errors;
};

/*
 * Returns whether received bytes need no check and no change: each byte is a character, which stays
 * as it is.
 */
static inline bool transcoder_copies(const struct transcoder *t)
{
	return t->from == t->to && (t->from == CHARSET_BINARY || t->from == CHARSET_ISO_8859_1);
}

/*
 * Return whether transcoding leaves all well-formed text (or anything at all) unchanged, so that it
 * can be sent as it was received.
 */
static inline bool transcoder_keeps_text(const struct transcoder *t)
{
	return t->from == t->to || t->from == CHARSET_ASCII;
}

static inline bool transcoder_keeps_all(const struct transcoder *t)
{
	return transcoder_copies(t) ||
	       (t->decode_errors == DECODE_SURROGATEESCAPE && transcoder_keeps_text(t));
}

/*
 * Returns the length in bytes of the longest prefix of the @n bytes of well-formed received text at
 * @text that @t->to can encode. @text is made of whole characters.
 */
size_t transcoder_encodable(const struct transcoder *t, const uint8_t *text, size_t n);

/* The maximum number of reply bytes for one character or one ill-formed subsequence. */
#define TRANSCODE_UNIT_MAX 16

/*
 * Transcodes @n received bytes at @raw into at most @size bytes (@size >= TRANSCODE_UNIT_MAX) at
 * @out. @raw is complete: a character cut off by its end is ill-formed. The caller has already
 * removed everything that a strict handler would reject.
 *
 * Sets *@ret_read and *@ret_written. *@ret_read ends at the boundary of a character or ill-formed
 * subsequence. If *@ret_read < @n, @out is full, and the caller repeats the call with the rest.
 */
void transcode(const struct transcoder *t, const uint8_t *raw, size_t n, uint8_t *out, size_t size,
	       size_t *ret_read, size_t *ret_written);

/* The same for well-formed text, which is not checked again. */
void transcode_text(const struct transcoder *t, const uint8_t *text, size_t n, uint8_t *out,
		    size_t size, size_t *ret_read, size_t *ret_written);

/*
 * Returns the number of characters that @n received bytes at @raw (complete, as above) decode to. A
 * replacement counts as the characters that it consists of.
 */
size_t transcode_count(const struct transcoder *t, const uint8_t *raw, size_t n);

/*
 * Returns the number of reply bytes that transcode() makes of @n received bytes at @raw (complete,
 * as above). A text may be measured in pieces that end at the boundary of a character or ill-formed
 * subsequence; the lengths add up.
 */
uint64_t transcode_length(const struct transcoder *t, const uint8_t *raw, size_t n);
