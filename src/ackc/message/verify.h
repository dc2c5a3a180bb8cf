#pragma once

/*
 * Checks a connection's replies byte for byte, independent of read boundaries. It regenerates the
 * sent messages instead of storing them.
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
	uint32_t connection; /* for source_message() */
	uint64_t first;	     /* the connection's first message, for counters */
	uint64_t index;	     /* the message whose reply is next or in progress */
	size_t offset;	     /* offset in its reply; for replies in pieces, in its text */
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
