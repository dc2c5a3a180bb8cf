#include "ackc/message/exchange.h"

#include <stdio.h>

void exchange_init(struct exchange *e, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index)
{
	e->shape = shape;
	e->greeting = (struct greeting){0};
	e->reply_bytes = 0;
	verifier_init(&e->verifier, source, shape, own, connection, index);
}

bool exchange_feed(struct exchange *e, uint64_t sent, const uint8_t *data, size_t n,
		   struct fault *ret_fault)
{
	uint64_t completed = 0;

	if (!exchange_greeted(e)) {
		size_t used;

		if (fault_find_nak(data, n, ret_fault))
			return false;
		used = greeting_skip(&e->greeting, e->shape, data, n);
		data += used;
		n -= used;
	}
	e->reply_bytes += n;
	return verifier_feed(&e->verifier, sent, data, n, &completed, ret_fault);
}

const char *exchange_partial(const struct exchange *e, char out[EXCHANGE_TEXT_MAX])
{
	size_t came = verifier_reply_came(&e->verifier);

	out[0] = '\0';
	if (came > 0)
		snprintf(out, EXCHANGE_TEXT_MAX, "%zu of %zu bytes of the reply came", came,
			 verifier_reply_size(&e->verifier, e->verifier.index));
	return out;
}
