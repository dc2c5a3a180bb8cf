#pragma once

/*
 * Connects to the first address of a target that answers, as in RFC 8305 ("Happy Eyeballs"), and
 * makes the TLS handshake, if any. The choice of the address is made before the handshake.
 */

#include "ackc/net/lookup.h"
#include "ackc/net/stream.h"

/* If an address has not answered after this time, the next one is tried in parallel. */
#define DIAL_STAGGER_MS 250

struct dial;

/*
 * On success @status is 0 and the callee owns the connected @stream. On failure @status is a
 * failure for failure_text() and @stream is NULL. @connect_ns is the duration of the connect alone,
 * without the TLS handshake.
 * @peer is the address reached, one of those dialled.
 */
typedef void (*dial_cb)(void *data, int status, struct stream *stream, uint64_t connect_ns,
			const struct sockaddr_storage *peer);

/*
 * Starts connecting to the first of @addresses that answers within @timeout_ms, and sends their
 * PROXY header, if any. The caller keeps @addresses until the callback. @cb is called once, never
 * from within this call; *@ret_dial is invalid from then on. Returns 0 or a negative errno; on an
 * error @cb is not called.
 */
int dial_start(uv_loop_t *loop, const struct addresses *addresses, uint64_t timeout_ms, dial_cb cb,
	       void *data, struct dial **ret_dial);

/* Cancels a dial: its callback is not called. Accepts NULL. */
void dial_cancel(struct dial *d);
