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

/*
 * What stands before or after a text. A number in it that grows by one with each message (ackd's
 * ${message}) is a counter.
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

/* Writes what stands around message @number to @out (AFFIX_MAX bytes); returns its length. */
size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out);

/* Whether text comes back as it is: then it cannot matter how it was framed. */
static inline bool shape_is_echo(const struct shape *s)
{
	return s->prefix.n == 0 && s->suffix.n == 0;
}
