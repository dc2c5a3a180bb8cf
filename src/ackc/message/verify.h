#pragma once

/*
 * Checks a connection's replies byte for byte, independent of read boundaries. It regenerates the
 * sent messages instead of storing them.
 */

#include "ackc/message/explain.h"
#include "ackc/message/shape.h"
#include "ackc/message/source.h"

/* The parts of the shape that the connection's first reply must still show. */
enum verifier_learning { LEARNING_NOTHING, LEARNING_PREFIX, LEARNING_SUFFIX };

struct verifier {
	const struct source *source;
	const struct shape *shape;
	/*
	 * If the server's shape has holes: that shape, and the connection's own, to which shape
	 * points.
	 */
	const struct shape *pattern;
	struct shape *own;
	enum verifier_learning learning;
	struct affix_reader reader;
	uint32_t connection; /* for source_message() */
	uint64_t first;	     /* the connection's first message, for counters */
	uint64_t index;	     /* the message whose reply is next or in progress */
	size_t offset;	     /* offset in its reply; for replies in pieces, in its text */
	/*
	 * For replies in pieces: the bytes of suffix and prefix that have arrived since the text
	 * stopped.
	 */
	size_t inset;
	bool in_inset;
};

/*
 * Starts with the reply to message @index on a new connection. @own is room for the connection's
 * shape, which the caller keeps. It may be NULL if @shape has no holes.
 */
void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index);

/*
 * Checks @n received bytes; the messages below @sent have been sent. Adds the number of messages
 * completed to *@ret_completed. Returns false at the first wrong byte and fills @ret_fault. After
 * that the verifier must not be used.
 */
bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   uint64_t *ret_completed, struct fault *ret_fault);

/* Returns whether the suffix after the last byte of a text in pieces is still missing. */
bool verifier_suffix_due(const struct verifier *v);

/*
 * Returns the number of bytes of the next reply that have arrived (in a stream: assuming one
 * piece).
 */
size_t verifier_reply_came(const struct verifier *v);

/* Returns the length in bytes of the reply to message @index (in a stream: assuming one piece). */
size_t verifier_reply_size(const struct verifier *v, uint64_t index);
