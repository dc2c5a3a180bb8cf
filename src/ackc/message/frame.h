#pragma once

/*
 * Where messages begin and end on the wire, as the option --frame states it. Writes what surrounds
 * a message's text, and finds the texts in received bytes. Lines are frames that end with LF.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The maximum length of START and END. */
#define FRAME_SEQUENCE_MAX 8
/* The maximum length of START, or of a header with the length. */
#define FRAME_HEADER_MAX FRAME_SEQUENCE_MAX
#define FRAME_FIXED_MAX (16U << 20)

enum frame_kind {
	FRAME_NONE,	 /* nothing shows where a message ends */
	FRAME_DELIMITED, /* START, text, END */
	FRAME_LENGTH,	 /* a header with the number of bytes, text */
	/* A text has a fixed size. Replies have no framing: they may be longer or shorter. */
	FRAME_FIXED,
};

struct frame {
	enum frame_kind kind;
	uint8_t start[FRAME_SEQUENCE_MAX];
	uint8_t end[FRAME_SEQUENCE_MAX];
	uint8_t header_n; /* bytes of START or of the length; may be 0 */
	uint8_t end_n;
	bool little;	/* byte order of the length */
	bool inclusive; /* the length counts its own bytes too */
	uint32_t size;	/* of a text of FRAME_FIXED */
};

/* A line: a text that ends with LF. */
extern const struct frame frame_line;

/*
 * Parses delimited:END[:START], length:N[:little][:inclusive] or fixed:N, with START and END in
 * hexadecimal digits. Returns NULL, or a static description of what is wrong.
 */
const char *frame_parse(const char *text, struct frame *ret);

/*
 * Writes the bytes before a text of @n bytes. Returns their number, which is f->header_n. If the
 * length cannot state @n, it is the maximum: it does not wrap.
 */
size_t frame_header(const struct frame *f, uint64_t n, uint8_t out[FRAME_HEADER_MAX]);

/* Returns the length that is written in the header at @p, of FRAME_LENGTH. */
uint64_t frame_stated_length(const struct frame *f, const uint8_t *p);

/* Returns the maximum number of bytes of a text. */
uint64_t frame_text_max(const struct frame *f);

/* Returns whether texts of letters, digits and spaces cannot contain the end of a frame. */
bool frame_permits_words(const struct frame *f);

/* The buffer size for frame_refuses(). */
#define FRAME_WORDS_MAX 100

/* The buffer size for a START or END in hexadecimal. */
#define FRAME_HEX_MAX (2 * FRAME_SEQUENCE_MAX + 1)

/* Writes @n bytes as hexadecimal digits. Returns @out. */
const char *frame_hex(const uint8_t *bytes, size_t n, char out[FRAME_HEX_MAX]);

/*
 * Returns whether the @n bytes at @text cannot be sent in one frame: they have a wrong size, or
 * contain the end of a frame. Then @words describes why.
 */
bool frame_refuses(const struct frame *f, const uint8_t *text, size_t n,
		   char words[FRAME_WORDS_MAX]);

/* Divides received bytes into texts, independent of read boundaries. */
struct frame_splitter {
	const struct frame *frame;
	uint64_t text_n; /* bytes of the current text that were returned */
	uint64_t left;	 /* bytes of it that are to come, for FRAME_LENGTH */
	uint8_t header[FRAME_HEADER_MAX];
	uint8_t matched; /* bytes of START, of the length or of END that have arrived */
	bool in_text;
};

enum frame_event {
	FRAME_MORE,    /* all bytes were taken */
	FRAME_TEXT,    /* a piece of a text */
	FRAME_END,     /* the end of a text, of which all pieces were returned */
	FRAME_SKIPPED, /* bytes before START */
	FRAME_INVALID, /* the length is smaller than its own header: nothing can follow */
};

struct frame_piece {
	const uint8_t *p; /* in the received bytes, or in the frame's START or END */
	size_t n;
};

void frame_splitter_init(struct frame_splitter *s, const struct frame *f);

/*
 * Takes a part of the *@n bytes at *@p, and advances both. Sets *@ret_piece for FRAME_TEXT and
 * FRAME_SKIPPED. To be called until it returns FRAME_MORE or FRAME_INVALID. FRAME_NONE and
 * FRAME_FIXED have a single text, which never ends.
 */
enum frame_event frame_next(struct frame_splitter *s, const uint8_t **p, size_t *n,
			    struct frame_piece *ret_piece);

/* Returns whether a frame has begun and has not ended. */
bool frame_is_begun(const struct frame_splitter *s);
