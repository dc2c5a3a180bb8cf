#pragma once

/*
 * The shape of a server's replies: what it puts before and after a text, and where. It is learnt
 * from replies to probes (scout.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest that ackd makes, and room for counters that grow. */
#define AFFIX_MAX 1100
#define AFFIX_COUNTERS_MAX 4
/* An IPv6 address and its port have nine numbers. */
#define AFFIX_HOLES_MAX 16
/* The most digits of a number that differs from connection to connection. */
#define AFFIX_HOLE_DIGITS_MAX 20

/*
 * What stands before or after a text. A number in it that grows by one with each message (ackd's
 * ${message}) is a counter. One that differs from connection to connection (${connection}, and the
 * port in ${peer}) is a hole: the first reply on a connection fills it, see struct affix_reader.
 */
struct affix {
	uint32_t n;
	uint32_t n_counters;
	uint8_t bytes[AFFIX_MAX];
	struct {
		uint32_t offset;
		uint32_t length; /* of the digits in bytes */
		uint64_t first;	 /* its value for message 1 of a connection */
	} counters[AFFIX_COUNTERS_MAX];
	uint32_t n_holes;
	struct {
		uint32_t offset;
		uint32_t length; /* of the digits in bytes, which are another connection's */
	} holes[AFFIX_HOLES_MAX];
};

/* Reads what stands around the first message of a connection, which fills the holes. */
struct affix_reader {
	const struct affix *pattern;
	struct affix *own; /* the connection's: what has come so far */
	uint32_t at;	   /* how much of the pattern has come */
	uint32_t digits;   /* how many digits of the hole there */
	/* How many digits the text begins with, which a hole at the end takes in. */
	uint32_t text_digits;
};

enum shape_framing {
	/* Each message has a reply: prefix, text, suffix, the text's terminator. */
	SHAPE_LINES,
	/* The text comes back in any number of pieces: prefix, piece, suffix. */
	SHAPE_STREAM,
};

struct shape {
	enum shape_framing framing;
	struct affix prefix;
	struct affix suffix;
	uint32_t greeting_n;	 /* bytes; 0: none */
	uint32_t greeting_lines; /* its line ends, when it ends with one; else 0 */
};

/*
 * Where a connection's greeting has got to; zeroed at its start. A greeting that ends with a line
 * end is told by the number of its lines (it may contain the connection's number), another by its
 * length.
 */
struct greeting {
	uint32_t lines;
	uint32_t n;
};

/* Returns how many of the @n bytes at @p belong to the greeting of a server of shape @s. */
size_t greeting_skip(struct greeting *g, const struct shape *s, const uint8_t *p, size_t n);

/* Whether all of the greeting has come. */
bool greeting_over(const struct greeting *g, const struct shape *s);

/* Sets @a to @n constant bytes; false when they are too many. */
bool affix_set(struct affix *a, const uint8_t *bytes, size_t n);

/*
 * Learns from what stood around message @number (from 1) of a connection and around the next one.
 * Returns false when the two differ in more than counters.
 */
bool affix_learn(struct affix *a, uint64_t number, const uint8_t *first, size_t first_n,
		 const uint8_t *second, size_t second_n);

/* Whether there are numbers in it that are no counters. */
bool affix_has_numbers(const struct affix *a);

/*
 * Compares @a with what was learnt on another connection, and makes holes of the numbers that
 * differ. Returns false when they differ in anything else, or in too many numbers.
 */
bool affix_compare(struct affix *a, const struct affix *other);

/*
 * Begins to fill @own, which the caller keeps, as @pattern has it. If that ends with a hole and the
 * text behind it begins with @text_digits digits, @own has these, too, when it is over.
 */
void affix_read_begin(struct affix_reader *r, const struct affix *pattern, struct affix *own,
		      size_t text_digits);

/*
 * Takes bytes of the first reply. Returns how many it took; when these are not all, the affix is
 * over, or the next byte is wrong. A hole at its end is over only when another byte follows.
 */
size_t affix_read(struct affix_reader *r, const uint8_t *p, size_t n);

/* Whether all of it was read. */
static inline bool affix_read_over(const struct affix_reader *r)
{
	return r->at == r->pattern->n;
}

/* Whether it ends with a hole. */
bool affix_ends_with_hole(const struct affix *a);

/* Writes what stands around message @number to @out (AFFIX_MAX bytes); returns its length. */
size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out);

/* Whether a connection must learn a part of it from its first reply. */
static inline bool shape_has_holes(const struct shape *s)
{
	return s->prefix.n_holes || s->suffix.n_holes;
}

/* Whether text comes back as it is: then it cannot matter how it was framed. */
static inline bool shape_is_echo(const struct shape *s)
{
	return s->prefix.n == 0 && s->suffix.n == 0;
}
