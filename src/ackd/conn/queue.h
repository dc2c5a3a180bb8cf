#pragma once

/*
 * Connections in the order of their last activity, all with the same timeout. Activity is recorded
 * with a granularity of timeout/64, so a busy connection is not re-queued for every message. The
 * effective timeout may be that much longer.
 */

#include <stdint.h>

struct conn;

struct conn_queue {
	struct conn *first; /* least recently active */
	struct conn *last;
	uint64_t timeout_ms; /* 0: never */
};

/* Adds @c, which is in no queue, to the end. */
void conn_queue_append(struct conn_queue *queue, struct conn *c);

/* Removes @c, which is in @queue. */
void conn_queue_remove(struct conn_queue *queue, struct conn *c);

/* Returns the granularity of recorded activity. */
static inline uint64_t conn_queue_step_ms(const struct conn_queue *queue)
{
	return queue->timeout_ms / 64;
}

/*
 * Times out the connections that have been inactive for longer than the timeout. Returns the
 * milliseconds until the next one is due, or UINT64_MAX.
 */
uint64_t conn_queue_expire(struct conn_queue *queue, uint64_t now_ms);
