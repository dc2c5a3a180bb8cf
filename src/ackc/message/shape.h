#pragma once

/*
 * The shape of a server's replies: what it puts before and after a text. scout.h learns it from
 * replies to probes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The maximum length of an ackd template, plus room for growing counters. */
#define AFFIX_MAX 1100
#define AFFIX_COUNTERS_MAX 4
/* An IPv6 address and its port contain up to nine numbers. */
#define AFFIX_HOLES_MAX 16
/* The maximum number of digits of a number that differs between connections. */
#define AFFIX_HOLE_DIGITS_MAX 20

/*
 * The text before or after a message in a reply. A number in it that increases by one with each
 * message (ackd's ${message}) is a counter. A number that differs between connections
 * (${connection}, and the port in ${peer}) is a hole. The first reply on a connection fills the
 * holes; see struct affix_reader.
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
		uint32_t length; /* of the digits in bytes, which are from another connection */
	} holes[AFFIX_HOLES_MAX];
};

/* Reads the affix of the first message of a connection and fills its holes. */
struct affix_reader {
	const struct affix *pattern;
	struct affix *own; /* the connection's affix, as received so far */
	uint32_t at;	   /* offset in the pattern */
	uint32_t digits;   /* digits read of the hole there */
	/*
	 * The number of digits at the start of the text, which a hole at the end of the prefix
	 * absorbs.
	 */
	uint32_t text_digits;
};

enum shape_framing {
	/* One reply per message: prefix, text, suffix, the text's terminator. */
	SHAPE_LINES,
	/* The text returns in any number of pieces: prefix, piece, suffix. */
	SHAPE_STREAM,
};

struct shape {
	enum shape_framing framing;
	struct affix prefix;
	struct affix suffix;
	uint32_t greeting_n;	 /* bytes; 0: none */
	uint32_t greeting_lines; /* number of its line ends if it ends with one; else 0 */
};

/*
 * The progress of a connection's greeting; zeroed at its start. A greeting that ends with a line
 * end is delimited by its number of lines, because it may contain the connection's number. Any
 * other is delimited by its length.
 */
struct greeting {
	uint32_t lines;
	uint32_t n;
};

/* Returns the number of the @n bytes at @p that belong to the greeting of a server of shape @s. */
size_t greeting_skip(struct greeting *g, const struct shape *s, const uint8_t *p, size_t n);

/* Returns whether the whole greeting has arrived. */
bool greeting_over(const struct greeting *g, const struct shape *s);

/* Sets @a to @n constant bytes. Returns false if there are too many. */
bool affix_set(struct affix *a, const uint8_t *bytes, size_t n);

/*
 * Learns an affix from the bytes around message @number (from 1) of a connection and around the
 * next one. Returns false if the two differ in more than counters.
 */
bool affix_learn(struct affix *a, uint64_t number, const uint8_t *first, size_t first_n,
		 const uint8_t *second, size_t second_n);

/* Returns whether @a contains numbers that are not counters. */
bool affix_has_numbers(const struct affix *a);

/*
 * Compares @a with the affix learned on another connection, and turns the numbers that differ into
 * holes. Returns false if anything else differs, or too many numbers.
 */
bool affix_compare(struct affix *a, const struct affix *other);

/*
 * Starts to fill @own, which the caller keeps, according to @pattern. If @pattern ends with a hole
 * and the text after it begins with @text_digits digits, @own includes these digits when reading is
 * over.
 */
void affix_read_begin(struct affix_reader *r, const struct affix *pattern, struct affix *own,
		      size_t text_digits);

/*
 * Reads bytes of the first reply. Returns the number of bytes read; if it is less than @n, the
 * affix is complete or the next byte is wrong. A hole at the end is complete only when another byte
 * follows.
 */
size_t affix_read(struct affix_reader *r, const uint8_t *p, size_t n);

/* Returns whether the whole affix was read. */
static inline bool affix_read_over(const struct affix_reader *r)
{
	return r->at == r->pattern->n;
}

/* Returns whether the affix ends with a hole. */
bool affix_ends_with_hole(const struct affix *a);

/* Writes the affix of message @number to @out (AFFIX_MAX bytes). Returns its length. */
size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out);

/* Returns whether each connection must learn a part of the shape from its first reply. */
static inline bool shape_has_holes(const struct shape *s)
{
	return s->prefix.n_holes || s->suffix.n_holes;
}

/* Returns whether text returns unchanged, so that its framing does not matter. */
static inline bool shape_is_echo(const struct shape *s)
{
	return s->prefix.n == 0 && s->suffix.n == 0;
}
