#pragma once

/*
 * The messages and the expected replies: lines of one size (LF included) that differ from one
 * another, so that a lost, repeated, swapped or damaged reply does not compare equal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct corpus {
	uint8_t *sent;
	uint8_t *replies; /* the same memory as sent when a reply is what was sent */
	size_t line_bytes;
	size_t reply_bytes; /* of one line */
	size_t n_starts;    /* a message may begin at the lines 0 to n_starts - 1 */
};

/*
 * Makes lines of @line_bytes, of ideographs (three bytes each) if @cjk and of ASCII otherwise, for
 * messages of @lines lines each. A reply is the line with @prefix before it. Returns 0 or -ENOMEM.
 */
int corpus_init(struct corpus *corpus, size_t line_bytes, size_t lines, bool cjk,
		const char *prefix);
void corpus_finish(struct corpus *corpus);
