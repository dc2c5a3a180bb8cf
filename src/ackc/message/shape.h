#pragma once

/*
 * The shape of a server's replies: what it puts before and after a text. It is learnt from the
 * replies to a few texts, which scout.h obtains.
 */

#include "ackc/message/difference.h"
#include "ackc/message/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The maximum length of an ackd template, plus room for growing counters. */
#define AFFIX_MAX 1100
/* Each group of an IPv6 address contains up to two numbers, so an address and a port have 17. */
#define AFFIX_NUMBERS_MAX 64
/* A run of more digits is not a number. */
#define AFFIX_DIGITS_MAX 20

/*
 * The text before or after a message in a reply. A number in it that increases by one with each
 * message (ackd's ${message}) is a counter. Any other number may belong to the connection
 * (${connection}, the port in ${peer}): the first reply on each connection shows it, see
 * affix_match(). An affix without such numbers is fixed.
 */
struct affix {
	uint32_t n;
	uint32_t n_numbers;
	uint8_t bytes[AFFIX_MAX]; /* as in the reply to message 1 of a connection */
	struct affix_number {
		uint32_t offset;
		uint32_t length; /* of the digits in bytes */
		bool counts;
		uint64_t first; /* of a counter: its value for message 1 of a connection */
	} numbers[AFFIX_NUMBERS_MAX];
};

enum shape_framing {
	/*
	 * One reply per message: prefix, text, suffix, and around them the frame, which for lines
	 * is the text's terminator.
	 */
	SHAPE_LINES,
	/* The text returns in any number of pieces: prefix, piece, suffix. */
	SHAPE_STREAM,
};

struct shape {
	enum shape_framing framing;
	struct affix prefix;
	struct affix suffix;
	uint32_t greeting_n;	 /* bytes; 0: none */
	uint32_t greeting_lines; /* number of its lines, or frames, if it consists of whole ones */
};

/* Sets @a to @n constant bytes. Returns false if there are too many. */
bool affix_set(struct affix *a, const uint8_t *bytes, size_t n);

/*
 * Learns an affix from the bytes around messages 1 and 2 of a connection. Returns false if the two
 * differ in more than counters, or are too long. Numbers after the first AFFIX_NUMBERS_MAX are
 * constant; a counter after them is an error.
 */
bool affix_learn(struct affix *a, const uint8_t *first, size_t first_n, const uint8_t *second,
		 size_t second_n);

/* Makes a number at the end of @a constant. Nothing shows where it ends if nothing follows. */
void affix_fix_end(struct affix *a);

/* Returns whether each connection has the same affix. */
bool affix_is_fixed(const struct affix *a);

/* Returns whether @a contains a counter. */
bool affix_counts(const struct affix *a);

enum affix_status { AFFIX_MORE, AFFIX_DIFFERS, AFFIX_COMPLETE };

/*
 * Compares the beginning of the first reply on a connection, @own->bytes, with @pattern, in which
 * numbers that are not counters may have any digits. If it is complete, cuts @own to it, fixed, and
 * its counters are set. If more bytes are needed, the caller appends them and calls again. In both
 * other cases, *@ret_own and *@ret_pattern are the offsets of the first byte that is not equal.
 *
 * If @pattern ends with a number, the digits that the text after it begins with must be known:
 * @text_digits of them. With @final, nothing comes after @own, so that no bytes are needed.
 */
enum affix_status affix_match(const struct affix *pattern, size_t text_digits, bool final,
			      struct affix *own, size_t *ret_own, size_t *ret_pattern);

/* Writes the affix of message @number to @out (AFFIX_MAX bytes). Returns its length. */
size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out);

/* Returns whether all connections have the same prefix and suffix. */
static inline bool shape_is_fixed(const struct shape *s)
{
	return affix_is_fixed(&s->prefix) && affix_is_fixed(&s->suffix);
}

/* Returns whether text returns unchanged, so that its framing does not matter. */
static inline bool shape_is_echo(const struct shape *s)
{
	return s->prefix.n == 0 && s->suffix.n == 0;
}

/*
 * Returns whether the text may return split anywhere, with prefix and suffix around each piece. A
 * stream server with a counter, or a number after the text, cannot be verified like that: each
 * message must wait for the reply to the one before.
 */
bool shape_in_pieces(const struct shape *s);

/* The number of texts to learn from. The last two are sent in one write. */
#define SHAPE_TEXTS 4

/* The bytes that a connection received: greeting, reply 1, reply 2, and the other replies. */
struct shape_evidence {
	const uint8_t *received;
	size_t text_n;		   /* bytes of each text, without its line end */
	size_t texts[SHAPE_TEXTS]; /* their offsets in @received; SIZE_MAX: not there */
	size_t ends[2];		   /* the offsets at which the replies to texts 1 and 2 end */
	const char *prefix;	   /* the prefix that is expected, or NULL */
	const char *suffix;
	/* How texts and replies are framed; frame_line if that is unknown. */
	const struct frame *frame;
	bool framed; /* it is known */
};

/*
 * Learns a shape from replies that contain the texts, each followed by a line end, or in frames.
 * Texts 3 and 4 are not needed from an echo server, nor with frames. Returns false, and fills
 * @ret_fault, if the replies to texts 1 and 2 differ in more than counters, or from what is
 * expected, or have other frames.
 */
bool shape_learn(const struct shape_evidence *e, struct shape *ret_shape, struct fault *ret_fault);
