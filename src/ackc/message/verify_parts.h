#pragma once

/*
 * The parts of the verifier (verify.h):
 *
 *   verify.c         replies of one piece per message
 *   verify_pieces.c  replies of a stream server, which splits text anywhere
 *   verify_learn.c   the first reply of a connection whose numbers differ from other connections'
 *   verify_fault.c   the explanation of a wrong byte
 */

#include "ackc/message/verify.h"

struct span {
	const uint8_t *p;
	size_t n;
};

#define SPANS 5

/* A reply in one piece, and the storage for its spans. */
struct reply {
	struct message message;
	uint8_t prefix[AFFIX_MAX];
	uint8_t suffix[AFFIX_MAX];
	struct span spans[SPANS];
	size_t n;
};

/* Makes the expected reply to message @index; it points into @v's source, shape and @r. */
void reply_make(const struct verifier *v, uint64_t index, struct reply *r);

/* Returns how many bytes at @data, of at most @n, equal those of @s from @from on. */
size_t span_match(const struct span *s, size_t from, const uint8_t *data, size_t n);

/*
 * Matches one reply from v->offset on. Returns the number of bytes used; fewer than @n at the end
 * of the reply or at a fault.
 */
size_t reply_match(struct verifier *v, const struct reply *r, const uint8_t *data, size_t n);

/*
 * Returns whether the text may return split anywhere. A server whose affixes have numbers is taken
 * to send one piece per message.
 */
bool shape_in_pieces(const struct shape *s);

/* Starts learning, if there is something to learn. */
void learning_begin(struct verifier *v);

/*
 * Checks received bytes like verifier_feed(), but only until the connection's shape is known.
 * Returns the number of bytes used, or SIZE_MAX after a fault.
 */
size_t learning_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		     struct fault *ret_fault);

/* Checks received bytes of a stream in pieces, like verifier_feed(). */
bool pieces_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		 uint64_t *ret_completed, struct fault *ret_fault);

/*
 * Explains a wrong byte. @matched bytes of the reply were right, possibly in earlier reads. The @n
 * bytes at @data follow them; the first is wrong. Returns false.
 */
bool fault_explain(const struct verifier *v, size_t matched, const uint8_t *data, size_t n,
		   struct fault *ret);

/* Explains bytes that arrived after every message had its reply. Returns false. */
bool fault_unasked(const struct verifier *v, const uint8_t *data, size_t n, struct fault *ret);
