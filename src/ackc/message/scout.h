#pragma once

/*
 * Learns the shape of a server's replies, on a connection of its own: two probes tell what stands
 * before and after a text and what comes before the first reply, two more in one write tell whether
 * the server answers each line. When numbers stand there, a second connection tells whether they
 * are the same on each.
 */

#include "ackc/message/explain.h"
#include "ackc/message/shape.h"
#include "ackc/net/dial.h"

struct scout;

struct scout_result {
	int failure;		      /* of the network, for words_for(); or 0 */
	char detail[FAULT_WORDS_MAX]; /* of the failure: what had come; or empty */
	struct fault fault;	      /* or what was wrong with a reply; or FAULT_NONE */
	struct shape shape;	      /* filled when neither is set */
	const uint8_t *greeting;
	const struct sockaddr_storage *peer; /* of the task's addresses, or NULL: not connected */
};

typedef void (*scout_cb)(void *data, const struct scout_result *result);

struct scout_task {
	const struct addresses *addresses; /* kept by the caller until the callback */
	uint64_t timeout_ms;
	size_t size;	    /* of the messages that will be sent, with LF: the probes have it too */
	const char *prefix; /* what is expected, or NULL */
	const char *suffix;
};

/*
 * @cb is called once, never from within this call, and *@ret_scout is dead from then on. Returns 0
 * or a negative errno; then @cb is not called.
 */
int scout_start(uv_loop_t *loop, const struct scout_task *task, scout_cb cb, void *data,
		struct scout **ret_scout);

/* Gives up: the callback is not called. Accepts NULL. */
void scout_cancel(struct scout *s);
