#pragma once

/*
 * The parts of the verifier (verify.h): replies that are one piece a message (verify.c), replies to
 * text that a server in stream framing cuts where it likes (verify_pieces.c), a connection's first
 * reply, when its numbers differ from other connections' (verify_learn.c), and what is said of a
 * wrong byte (verify_fault.c).
 */

#include "ackc/message/verify.h"

struct span {
	const uint8_t *p;
	size_t n;
};

#define SPANS 5

/* A reply in one piece, and what its spans point into. */
struct reply {
	struct message message;
	uint8_t prefix[AFFIX_MAX];
	uint8_t suffix[AFFIX_MAX];
	struct span spans[SPANS];
	size_t n;
};

/* Makes the reply that is expected to message @index; it points into @v's source, shape and @r. */
void reply_make(const struct verifier *v, uint64_t index, struct reply *r);

/* Returns how many bytes at @data are those of @s from @from on, looking at @n of them at most. */
size_t span_match(const struct span *s, size_t from, const uint8_t *data, size_t n);

/* Matches one reply from v->offset on; returns the bytes used, fewer than @n at its end or a fault.
 */
size_t reply_match(struct verifier *v, const struct reply *r, const uint8_t *data, size_t n);

/* Whether the text may come back cut anywhere. Pieces with numbers are taken as one a message. */
bool shape_in_pieces(const struct shape *s);

/* Begins to learn, if there is something to learn. */
void learning_begin(struct verifier *v);

/*
 * Takes received bytes as verifier_feed() does, but only until the connection's shape is known:
 * returns the number of bytes taken, or SIZE_MAX after a fault.
 */
size_t learning_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		     struct fault *ret_fault);

/* Takes received bytes of a stream in pieces, as verifier_feed() does. */
bool pieces_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		 uint64_t *ret_completed, struct fault *ret_fault);

/*
 * Explains a wrong byte: @matched bytes of the reply were right (they may have come in earlier
 * reads), and the @n at @data, the first of which is wrong, follow them. Returns false.
 */
bool fault_explain(const struct verifier *v, size_t matched, const uint8_t *data, size_t n,
		   struct fault *ret);

/* Explains bytes that came when every message had its reply. Returns false. */
bool fault_unasked(const struct verifier *v, const uint8_t *data, size_t n, struct fault *ret);
