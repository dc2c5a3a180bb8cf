#pragma once

/*
 * Checks all that arrives on a connection, independent of read boundaries: the greeting, then the
 * replies byte for byte. It regenerates the sent messages instead of storing them.
 */

#include "ackc/message/difference.h"
#include "ackc/message/shape.h"
#include "ackc/message/source.h"

/* The part of a reply that is next, if the server's shape is not fixed. */
enum verifier_phase {
	VERIFY_ALL,	/* any part: the connection's shape is known */
	COLLECT_PREFIX, /* the next bytes belong to the unknown prefix */
	VERIFY_TEXT,	/* the prefix is known; the text is next */
	COLLECT_SUFFIX, /* the next bytes belong to the unknown suffix */
};

struct verifier {
	const struct source *source;
	const struct shape *pattern; /* the shape of the server's replies */
	const struct shape *shape;   /* that of this connection: @pattern, or @own */
	struct shape *own;
	enum verifier_phase phase;
	uint32_t greeting_n;	 /* bytes of the greeting that have arrived */
	uint32_t greeting_lines; /* line ends in them */
	uint64_t reply_bytes;	 /* received after the greeting */
	uint32_t connection;	 /* for source_message() */
	uint64_t first;		 /* the connection's first message, for counters */
	uint64_t index;		 /* the message whose reply is next or in progress */
	size_t offset;		 /* offset in its reply; for replies in pieces, in its text */
	/*
	 * The text may return in pieces; see shape_in_pieces(). Then: the bytes of suffix and
	 * prefix that have arrived since the text stopped.
	 */
	bool in_pieces;
	bool in_inset;
	size_t inset;
};

/*
 * Starts with the reply to message @index on a new connection. @own is room for the connection's
 * shape, which the caller keeps. It may be NULL if @shape is fixed.
 */
void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index);

/*
 * Returns whether the whole greeting has arrived, so that messages may be sent. A greeting that
 * ends with a line end is delimited by its number of lines, because it may contain the connection's
 * number. Any other is delimited by its length.
 */
bool verifier_greeted(const struct verifier *v);

/*
 * Checks @n received bytes; the messages below @sent have been sent. Returns false at the first
 * wrong byte, or for a NAK instead of a greeting, and fills @ret_fault. After that the verifier
 * must not be used, except for its index.
 */
bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   struct fault *ret_fault);

/* Returns whether the suffix after the last byte of a text in pieces is still missing. */
bool verifier_suffix_due(const struct verifier *v);

/* The buffer size for verifier_partial(). */
#define VERIFIER_TEXT_MAX 80

/*
 * Describes how much of the next reply has arrived (in a stream: assuming one piece). Returns @out;
 * empty if nothing has.
 */
const char *verifier_partial(const struct verifier *v, char out[VERIFIER_TEXT_MAX]);
