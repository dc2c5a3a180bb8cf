#include "ackd/conn/internal.h"

void conn_unwait(struct conn *c)
{
	struct conn_queue *queue = c->queue;

	if (!queue)
		return;
	*(c->prev ? &c->prev->next : &queue->first) = c->next;
	*(c->next ? &c->next->prev : &queue->last) = c->prev;
	c->prev = c->next = NULL;
	c->queue = NULL;
}

static void queue_append(struct conn_queue *queue, struct conn *c)
{
	c->queue = queue;
	c->next = NULL;
	c->prev = queue->last;
	*(queue->last ? &queue->last->next : &queue->first) = c;
	queue->last = c;
}

void conn_wait(struct conn *c, struct conn_queue *queue)
{
	conn_unwait(c);
	c->active_ms = uv_now(&conn_reactor(c)->loop);
	queue_append(queue, c);
	if (queue->timeout_ms > 0)
		reactor_wake_in(conn_reactor(c), queue->timeout_ms);
}

void conn_wait_again(struct conn *c)
{
	struct conn_queue *queue = c->queue;

	c->active_ms = uv_now(&conn_reactor(c)->loop);
	if (queue->last != c) {
		conn_unwait(c);
		queue_append(queue, c);
	}
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
		if (c->phase == CONN_PROXY_HEADER)
			conn_proxy_fail(c, "no PROXY header in time");
		else if (conn_socket_moves(c))
			conn_wait_again(c);
		else
			conn_close(c, CONN_IDLE);
	}
	return UINT64_MAX;
}
