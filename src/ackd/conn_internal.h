#pragma once

/* What the files of a connection share: conn.c, conn_queue.c, conn_log.c. */

#include "ackd/conn.h"
#include "ackd/listener.h"
#include "ackd/worker.h"

/* Copied output that the socket has not taken yet. */
struct conn_output {
	uv_write_t request;
	size_t size;   /* charged to the budget */
	size_t unsent; /* when its progress was last looked at */
	uint8_t bytes[];
};

static inline struct worker *conn_worker(const struct conn *c)
{
	return c->listener->worker;
}

/* Begins to wait in @queue, instead of where @c waits now. */
void conn_wait(struct conn *c, struct conn_queue *queue);

/* Bytes went in or out: @c is the last in its queue again. */
void conn_touch(struct conn *c);

/* Waits no more. */
void conn_unwait(struct conn *c);

/* The events of a connection. */
void conn_log_connect(const struct conn *c);
void conn_log_disconnect(const struct conn *c);

/* For session_io: counts and logs the fault @nak of the connection @data. */
void conn_on_nak(void *data, const struct nak *nak);
