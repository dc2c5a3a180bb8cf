#pragma once

/*
 * Learns the shape of a server's replies on a connection of its own. Two probes show what the
 * server puts before and after a text, and what it sends before the first reply. Unless the framing
 * is known, two more probes in one write show whether it answers each line.
 */

#include "ackc/message/difference.h"
#include "ackc/message/shape.h"
#include "ackc/net/dial.h"

struct scout;

struct scout_result {
	int failure;		      /* of the network, for failure_text(); or 0 */
	char detail[FAULT_WORDS_MAX]; /* what arrived before the failure; or empty */
	struct fault fault;	      /* or the fault in a reply; or FAULT_NONE */
	struct shape shape;	      /* filled if there is neither failure nor fault */
	const uint8_t *greeting;
	const struct sockaddr_storage *peer; /* a task address; NULL: not connected */
	struct tls_facts tls;		     /* without a version: no TLS */
};

typedef void (*scout_cb)(void *data, const struct scout_result *result);

struct scout_task {
	const struct addresses *addresses; /* kept by the caller until the callback */
	uint64_t timeout_ms;
	size_t size; /* of the messages to send later; the probes have the same size */
	const struct frame *frame; /* kept by the caller; FRAME_NONE: learn it, with lines */
	const char *prefix;	   /* the expected prefix, or NULL */
	const char *suffix;
};

/*
 * Starts a scout. @cb is called once, never from within this call; *@ret_scout is invalid from then
 * on. Returns 0 or a negative errno; on an error @cb is not called.
 */
int scout_start(uv_loop_t *loop, const struct scout_task *task, scout_cb cb, void *data,
		struct scout **ret_scout);

/* Cancels a scout: its callback is not called. Accepts NULL. */
void scout_cancel(struct scout *s);
