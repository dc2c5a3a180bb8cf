#pragma once

/*
 * One connection: its handle, backpressure, timeouts and closing. The protocol is in core/session.
 *
 * The normal sequence: conn_open() -> conn_answer_turn() -> session_feed() -> conn_socket_send() ->
 * ... -> end of input -> session_end() -> conn_close() -> conn_on_closed(), which frees.
 *
 * Exceptions:
 * - The socket accepts only a part of the output. The rest is copied and queued, and reading stops,
 *   so a slow reader cannot make ackd hold more than one read and one reply area. conn_on_sent()
 *   continues.
 * - The reply is much longer than the input, or a long line takes long to transcode. After one
 *   reply area the rest waits for a later loop iteration, as if the socket had no room.
 * - The session ends before the input does (NAK). The output is delivered and the sending side shut
 *   down. Input is then read and dropped until the peer closes or LINGER_MS have passed. Closing
 *   with unread input would send a reset, and the peer could lose the NAK.
 * - A timeout, an error or lack of memory: conn_close() with the reason.
 */

#include "ackd/handover/handover.h"
#include "base/address.h"
#include "core/session/session.h"

#include <uv.h>

struct listener;
struct proxy_reader;

/* Why a connection ended, for the log. The first reason wins. */
enum conn_reason {
	CONN_OPEN,
	CONN_END, /* the peer closed; all input was answered */
	CONN_NAK, /* closed by ackd after a NAK */
	CONN_IDLE,
	CONN_RESET, /* by the peer or a network error; see c->error */
	CONN_MEMORY_BUDGET,
	CONN_MEMORY,
	CONN_PROXY, /* no valid PROXY header */
	CONN_REFUSED,
	CONN_DRAIN,	  /* closed in an orderly way while draining */
	CONN_HANDED_OVER, /* to the next process */
	CONN_SHUTDOWN,	  /* drain_timeout or a second signal */
};

/* Returns a description of the reason. Static. */
const char *conn_reason_name(enum conn_reason reason);

enum conn_phase {
	CONN_PROXY_HEADER, /* waiting for the PROXY header */
	CONN_SERVING,
	CONN_DELIVERING, /* the session has ended; output is pending */
	CONN_LINGERING,	 /* sending side shut down; input is dropped */
	CONN_CLOSING,
};

/* Copied output that the socket has not accepted yet. */
struct conn_output;

/*
 * Connections in the order of their last activity, all with the same timeout. Activity is recorded
 * with a granularity of timeout/64, so a busy connection is not re-queued for every message. The
 * effective timeout may be that much longer.
 */
struct conn_queue {
	struct conn *first; /* least recently active */
	struct conn *last;
	uint64_t timeout_ms; /* 0: never */
};

struct conn {
	struct listener
		*listener; /* a reference; stays in use after a reload replaces the listener */
	struct conn_queue *queue; /* the queue that contains it, or NULL */
	struct conn *prev, *next;
	uint64_t active_ms;	    /* last activity, in loop time */
	uint64_t opened_ns;	    /* uv_hrtime() */
	uint64_t sent;		    /* bytes that the socket accepted */
	struct conn_output *output; /* NULL: nothing is pending */
	struct proxy_reader *proxy; /* while the header is incomplete */
	struct session session;
	struct address address;
	uint32_t drain_left; /* draining: bytes still to be read and answered */
	int16_t error;	     /* with CONN_RESET: a libuv error */
	uint8_t phase;	     /* enum conn_phase */
	uint8_t reason;	     /* enum conn_reason */
	bool admitted;	     /* counts towards the limits */
	bool placed;   /* counts towards the limits without an address: a proxy's connection */
	bool refusing; /* counts towards LIMITS_REFUSALS_MAX */
	bool ended;    /* the peer has closed its side */
	bool draining;
	bool unanswered; /* its input is pending in the reactor's turn */
	uint8_t polled;	 /* the polled event: UV_READABLE, UV_WRITABLE or 0 for none */
	int fd;
	uv_poll_t poll;
};

/*
 * Begins an admitted connection on the accepted descriptor @fd. Takes @fd; a failure closes it.
 * @address is the peer's.
 */
void conn_open(struct listener *listener, int fd, const struct address *address);

/*
 * Begins a connection whose peer must be a proxy; any other peer is refused. Takes @fd. The peer
 * has PROXY_MS to send a PROXY header, which identifies the client. The client is then admitted or
 * refused. Returns NULL if no connection was made.
 */
struct conn *conn_open_proxied(struct listener *listener, int fd, const struct address *address);

/*
 * Begins a refused connection: sends "NAK 0 too many connections" and closes in an orderly way.
 * Takes @fd.
 */
void conn_refuse(struct listener *listener, int fd, const struct address *address);

/*
 * Closes the connection immediately. Drops unsent output and returns its memory to the budget.
 * Idempotent: the first reason wins. One exception: CONN_HANDED_OVER replaces an earlier reason,
 * because the connection continues in the next process and does not count as closed. A later loop
 * iteration frees @c.
 */
void conn_close(struct conn *c, enum conn_reason reason);

/*
 * Answers the input that has arrived (at most 1 MiB), delivers the output and closes in an orderly
 * way.
 */
void conn_drain(struct conn *c);

/* The connections of the current segment. */
struct conn_batch {
	struct conn *conns[HANDOVER_BATCH];
	unsigned n;
};

/*
 * Moves connections from @queue to @batch until the segment is full, and releases their memory.
 * Closes connections that cannot be handed over. Returns whether the segment is full.
 */
bool conn_queue_hand_over(struct conn_queue *queue, struct handover *handover,
			  struct conn_batch *batch);

/* Hands over the connections of @batch, and closes them in this process without a shutdown. */
void conn_batch_send(struct conn_batch *batch, struct handover *handover);

/*
 * Restores a connection that was handed over, if its peer may still be served. Takes @fd; a failure
 * closes it.
 */
void conn_restore(struct listener *listener, int fd, const struct state_connection *from);

/*
 * Closes the connections of @queue whose timeout has expired. Returns the milliseconds until the
 * next one expires, or UINT64_MAX.
 */
uint64_t conn_queue_expire(struct conn_queue *queue, uint64_t now_ms);
