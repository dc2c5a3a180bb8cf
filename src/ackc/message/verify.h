#pragma once

/*
 * Checks all that arrives on a connection, independent of read boundaries: the greeting, then the
 * replies byte for byte. It regenerates the sent messages instead of storing them.
 */

#include "ackc/message/difference.h"
#include "ackc/message/nak.h"
#include "ackc/message/shape.h"
#include "ackc/message/source.h"

/* The part of a reply that is next, if the server's shape is not fixed. */
enum verifier_phase {
	VERIFY_ALL,	/* any part: the connection's shape is known */
	COLLECT_HEADER, /* the next bytes are the beginning of a frame */
	COLLECT_PREFIX, /* the next bytes belong to the unknown prefix */
	VERIFY_TEXT,	/* the prefix is known; the text is next */
	COLLECT_SUFFIX, /* the next bytes belong to the unknown suffix */
};

/* Room for a NAK in a frame. */
#define VERIFIER_HELD_MAX (2 * FRAME_HEADER_MAX + NAK_KEPT_MAX)

struct verifier {
	const struct source *source;
	const struct shape *pattern; /* the shape of the server's replies */
	const struct shape *shape;   /* that of this connection: @pattern, or @own */
	struct shape *own;
	enum verifier_phase phase;
	uint32_t greeting_n;	 /* bytes of the greeting that have arrived */
	uint32_t greeting_lines; /* lines or frames that have ended in them */
	struct frame_splitter greeting;
	uint64_t reply_bytes; /* received after the greeting */
	uint32_t connection;  /* for source_message() */
	uint64_t first;	      /* the connection's first message, for counters */
	uint64_t index;	      /* the message whose reply is next or in progress */
	size_t offset;	      /* offset in its reply; for replies in pieces, in its text */
	/*
	 * The text may return in pieces; see shape_in_pieces(). Then: the bytes of suffix and
	 * prefix that have arrived since the text stopped.
	 */
	bool in_pieces;
	bool in_inset;
	size_t inset;
	uint8_t header_n; /* bytes in @header, of the first reply on the connection */
	uint8_t header[FRAME_HEADER_MAX];
	/* Wrong bytes that may be a NAK, if more of it follow. */
	uint8_t held_n;
	uint8_t held[VERIFIER_HELD_MAX];
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
 * must not be used, except for its index. Wrong bytes that may be the beginning of a NAK are kept
 * until the next call.
 */
bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   struct fault *ret_fault);

/* When nothing more arrives: returns false, and fills @ret_fault, if wrong bytes were kept. */
bool verifier_end(struct verifier *v, uint64_t sent, struct fault *ret_fault);

/* Returns whether the suffix after the last byte of a text in pieces is still missing. */
bool verifier_suffix_due(const struct verifier *v);

/* The buffer size for verifier_partial(). */
#define VERIFIER_TEXT_MAX 80

/*
 * Describes how much of the next reply has arrived (in a stream: assuming one piece). Returns @out;
 * empty if nothing has.
 */
const char *verifier_partial(const struct verifier *v, char out[VERIFIER_TEXT_MAX]);
