#include "ackd/conn/queue.h"

#include "ackd/conn/conn.h"

void conn_queue_append(struct conn_queue *queue, struct conn *c)
{
	c->next = NULL;
	c->prev = queue->last;
	*(queue->last ? &queue->last->next : &queue->first) = c;
	queue->last = c;
}

void conn_queue_remove(struct conn_queue *queue, struct conn *c)
{
	*(c->prev ? &c->prev->next : &queue->first) = c->next;
	*(c->next ? &c->next->prev : &queue->last) = c->prev;
	c->prev = c->next = NULL;
}

uint64_t conn_queue_expire(struct conn_queue *queue, uint64_t now_ms)
{
	uint64_t limit_ms = queue->timeout_ms + conn_queue_step_ms(queue);
	struct conn *c;

	if (queue->timeout_ms == 0)
		return UINT64_MAX;
	while ((c = queue->first)) {
		uint64_t waited_ms = now_ms - c->active_ms;

		if (waited_ms < limit_ms)
			return limit_ms - waited_ms;
		if (conn_time_out(c)) {
			c->active_ms = now_ms;
			conn_queue_remove(queue, c);
			conn_queue_append(queue, c);
		}
	}
	return UINT64_MAX;
}
