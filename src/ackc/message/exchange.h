#pragma once

/* All that arrives on one connection of ping or load: the greeting, then the replies, checked. */

#include "ackc/message/verify.h"

struct exchange {
	const struct shape *shape;
	struct greeting greeting;
	struct verifier verifier;
	uint64_t reply_bytes; /* received after the greeting */
};

/* Starts with a new connection; the parameters are those of verifier_init(). */
void exchange_init(struct exchange *e, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index);

/* Returns whether the whole greeting has arrived, so that messages may be sent. */
static inline bool exchange_greeted(const struct exchange *e)
{
	return greeting_over(&e->greeting, e->shape);
}

/* Returns the index of the message whose reply is next or in progress. */
static inline uint64_t exchange_index(const struct exchange *e)
{
	return e->verifier.index;
}

/*
 * Checks @n received bytes; the messages below @sent have been sent. Returns false at the first
 * wrong byte, or for a NAK instead of a greeting, and fills @ret_fault. After that only
 * exchange_index() may be used.
 */
bool exchange_feed(struct exchange *e, uint64_t sent, const uint8_t *data, size_t n,
		   struct fault *ret_fault);

/* The buffer size for exchange_partial(). */
#define EXCHANGE_TEXT_MAX 80

/* Describes how much of the next reply has arrived. Returns @out; empty if nothing has. */
const char *exchange_partial(const struct exchange *e, char out[EXCHANGE_TEXT_MAX]);
