#pragma once

/*
 * Checks a connection's replies byte for byte, wherever the reads cut them, without keeping what
 * was sent: the messages are made again.
 */

#include "ackc/message/explain.h"
#include "ackc/message/shape.h"
#include "ackc/message/source.h"

/* What the first reply of a connection must still tell of the shape of all of them. */
enum verifier_learning { LEARNING_NOTHING, LEARNING_PREFIX, LEARNING_SUFFIX };

struct verifier {
	const struct source *source;
	const struct shape *shape;
	/* With holes in the server's shape: that, and the connection's own, which shape points to.
	 */
	const struct shape *pattern;
	struct shape *own;
	enum verifier_learning learning;
	struct affix_reader reader;
	uint32_t connection; /* for source_message() */
	uint64_t first;	     /* the connection's first message, for the counters */
	uint64_t index;	     /* the message whose reply comes next, or is coming */
	size_t offset;	     /* into its reply; where that may come in pieces: into its text */
	/* In pieces: the bytes of suffix and prefix that have come since the text stopped. */
	size_t inset;
	bool in_inset;
};

/*
 * Begins with the reply to message @index on a fresh connection. @own is room for the connection's
 * shape, which the caller keeps; it may be NULL if @shape has no holes.
 */
void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index);

/*
 * Takes @n received bytes, while the messages below @sent are on their way. Adds to *@ret_completed
 * the messages that they completed. Returns false at the first wrong byte, with @ret_fault filled;
 * the verifier is of no use then.
 */
bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   uint64_t *ret_completed, struct fault *ret_fault);

/* Whether the suffix of a text that came in pieces is still to come after its last byte. */
bool verifier_suffix_due(const struct verifier *v);

/* Returns how many bytes of the reply that comes next have come (in a stream: if it is one piece).
 */
size_t verifier_reply_came(const struct verifier *v);

/* Returns the length in bytes of the reply to message @index (in a stream: if it is one piece). */
size_t verifier_reply_size(const struct verifier *v, uint64_t index);
