#pragma once

/* Makes frames of the texts that ackc send is given: as arguments, or as lines of its input. */

#include "ackc/message/frame.h"

/* The maximum length of a text. */
#define FRAMER_TEXT_MAX (256U << 20)

struct framer_bytes {
	uint8_t *p;
	size_t n;
	size_t room;
};

struct framer {
	const struct frame *frame;
	bool whole;		  /* the input is one text, and not a text per line */
	struct framer_bytes wire; /* the frames; the caller resets n when it has sent them */
	struct framer_bytes text; /* the beginning of the next text */
	uint64_t frames;	  /* made so far */
};

/* Starts. The caller keeps @frame. */
void framer_init(struct framer *f, const struct frame *frame, bool whole);

/* Appends a text in a frame, whatever it contains. Returns 0 or UV_ENOMEM. */
int framer_put(struct framer *f, const uint8_t *text, size_t n);

/* The buffer size for the error of framer_add(). */
#define FRAMER_WORDS_MAX (FRAME_WORDS_MAX + 30)

/*
 * Processes the next @n bytes of the input; @last: they are the last. Each line, without its LF, is
 * a text, and so is what follows the last LF, unless it is empty. Returns 0, UV_ENOMEM, or -EINVAL
 * if a text cannot be sent; then @words has the reason, and @wire holds the frames before it.
 */
int framer_add(struct framer *f, const uint8_t *p, size_t n, bool last,
	       char words[FRAMER_WORDS_MAX]);

/* Frees the bytes. */
void framer_finish(struct framer *f);
