#pragma once

/*
 * The messages and the expected replies: framed texts of one size that differ from one another, so
 * that a lost, repeated, swapped or damaged reply does not compare equal. A line is a text whose
 * frame is its LF; the names here say "line" for any framed text.
 */

#include "frame.h"

#include <stddef.h>
#include <stdint.h>

enum corpus_text {
	TEXT_ASCII,
	TEXT_CJK,    /* ideographs, three bytes each */
	TEXT_BINARY, /* any byte */
};

struct corpus_options {
	size_t size;  /* bytes of a line, its frame included */
	size_t lines; /* lines of a message, sent in one piece */
	enum corpus_text text;
	struct frame frame;
	const char *prefix; /* before the text of each reply */
};

struct corpus {
	uint8_t *sent;
	uint8_t *replies; /* the same memory as sent when a reply is what was sent */
	size_t line_bytes;
	size_t reply_bytes; /* of one line */
	size_t n_starts;    /* a message may begin at the lines 0 to n_starts - 1 */
};

/* Makes the texts. Returns 0, -EINVAL if a frame does not fit into the size, or -ENOMEM. */
int corpus_init(struct corpus *corpus, const struct corpus_options *options);
void corpus_finish(struct corpus *corpus);
