#pragma once

/* How a text is framed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MARK_MAX 8

struct frame {
	uint8_t start[FRAME_MARK_MAX];
	uint8_t end[FRAME_MARK_MAX];
	size_t n_start;
	size_t n_end;
	size_t header_bytes; /* of a length before the text; 0: none */
	bool little;	     /* the length's order */
};

/*
 * Reads "none", "line", "delimited:END[:START]" or "length:BYTES[:little]", with END and START in
 * hexadecimal digits. Returns 0 or -EINVAL.
 */
int frame_parse(const char *word, struct frame *ret_frame);

/* Returns the bytes that the frame adds to a text. */
size_t frame_bytes(const struct frame *frame);

/*
 * Writes the frame around a text of @n bytes, which the caller puts at the returned place.
 * @out has room for frame_bytes() + @n.
 */
uint8_t *frame_put(const struct frame *frame, uint8_t *out, size_t n);
