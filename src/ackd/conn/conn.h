#pragma once

/*
 * One connection: its handle, backpressure, time-outs and closing. The protocol is in
 * core/session.c.
 *
 * The happy path: conn_open() -> conn_answer_turn() -> session_feed() -> conn_socket_send() -> ...
 * -> end of input -> session_end() -> conn_close() -> conn_on_closed(), which frees.
 *
 * What else can happen:
 *   - The socket takes only a part: the rest is copied, queued, and reading stops (a slow reader
 *     cannot make us hold more than one read and one reply area). conn_on_sent() goes on.
 *   - The reply is much longer than the input, or a long line takes long to transcode: after one
 *     reply area the rest waits for a later turn of the loop, as if the socket had no room.
 *   - The session is done before the input is (NAK): output is delivered, the sending side shut
 *     down, and input read and dropped until the peer closes or for LINGER_MS. Closing with unread
 *     input would be a reset, and the peer could lose the NAK.
 *   - A time-out, an error, or memory: conn_close() with the reason.
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
	CONN_END, /* the peer closed, everything was answered */
	CONN_NAK, /* closed by us after a NAK */
	CONN_IDLE,
	CONN_RESET, /* by the peer, or the network failed: c->error says */
	CONN_MEMORY_BUDGET,
	CONN_MEMORY,
	CONN_PROXY, /* no valid PROXY header */
	CONN_REFUSED,
	CONN_DRAIN,	  /* closed in order while draining */
	CONN_HANDED_OVER, /* to the next process */
	CONN_SHUTDOWN,	  /* the drain time-out or a second signal */
};

/* Returns the reason in words. Static. */
const char *conn_reason_name(enum conn_reason reason);

enum conn_phase {
	CONN_PROXY_HEADER, /* waits for the PROXY header */
	CONN_SERVING,
	CONN_DELIVERING, /* the session is done, output is not */
	CONN_LINGERING,	 /* shut down; input is dropped */
	CONN_CLOSING,
};

/* The copied output that the socket has not taken yet. */
struct conn_output;

/*
 * A list of connections in the order of their last activity, all with the same time-out. What
 * happens within 1/64 of the time-out counts as one activity, so that a busy connection need not
 * change its place with each message; the time-out is that much longer.
 */
struct conn_queue {
	struct conn *first; /* the longest without activity */
	struct conn *last;
	uint64_t timeout_ms; /* 0: never */
};

struct conn {
	struct listener *listener; /* counted: a reload may replace it, this one goes on */
	struct conn_queue *queue;  /* where it waits, or NULL */
	struct conn *prev, *next;
	uint64_t active_ms;	    /* last activity, in loop time */
	uint64_t opened_ns;	    /* uv_hrtime() */
	uint64_t sent;		    /* bytes that the socket took */
	struct conn_output *output; /* NULL: everything is sent */
	struct proxy_reader *proxy; /* while the header is incomplete */
	struct session session;
	struct address address;
	uint32_t drain_left; /* draining: bytes still to be read and answered */
	int16_t error;	     /* of CONN_RESET: a libuv error */
	uint8_t phase;	     /* enum conn_phase */
	uint8_t reason;	     /* enum conn_reason */
	bool admitted;	     /* holds a place in limits */
	bool placed;	     /* holds a place that is not of an address: a proxy's */
	bool refusing;	     /* holds a place for refusals */
	bool ended;	     /* the peer has closed its side */
	bool draining;
	bool unanswered; /* what it has received waits in the worker's turn */
	uint8_t polled;	 /* the event that is waited for: UV_READABLE, UV_WRITABLE, or 0 for none */
	int fd;
	uv_poll_t poll;
};

/*
 * Begins a connection that was admitted on the accepted descriptor @fd, which is the connection's
 * from here on, even when this fails (then it is closed). @address is the peer's.
 */
void conn_open(struct listener *listener, int fd, const struct address *address);

/*
 * The same for a peer that must be a proxy and otherwise is refused. It has PROXY_MS to send a
 * PROXY header, which names the client; then the client is admitted or refused. Returns NULL when
 * there is no connection.
 */
struct conn *conn_open_proxied(struct listener *listener, int fd, const struct address *address);

/* The same for a peer that is refused: it gets "NAK 0 too many connections" and an orderly close.
 */
void conn_refuse(struct listener *listener, int fd, const struct address *address);

/*
 * Ends the connection at once; what is unsent is dropped, and what it held is given back to the
 * budget. Idempotent, and the first reason wins, except that CONN_HANDED_OVER takes the place of
 * the one for which it was about to end: it goes on in the next process, and is not counted as
 * closed.
 * @c itself is freed by a later turn of the loop.
 */
void conn_close(struct conn *c, enum conn_reason reason);

/* Reads what has arrived (at most 1 MiB), answers and delivers it, and closes in order. */
void conn_drain(struct conn *c);

/* The connections of the segment that is being written. */
struct conn_batch {
	struct conn *conns[HANDOVER_BATCH];
	unsigned n;
};

/*
 * Adds connections that wait in @queue to @batch, until the segment is full. Their memory is
 * released. What cannot be handed over is closed. Returns whether the segment is full.
 */
bool conn_queue_hand_over(struct conn_queue *queue, struct handover *handover,
			  struct conn_batch *batch);

/* Hands over the connections of @batch, and closes them here without telling their peers. */
void conn_batch_send(struct conn_batch *batch, struct handover *handover);

/*
 * Takes up a connection that was handed over, if its peer may still be served. @fd is the
 * connection's from here on, even when this fails.
 */
void conn_restore(struct listener *listener, int fd, const struct state_connection *from);

/*
 * Closes the connections of @queue whose time is over. Returns in how many ms the next one's is, or
 * UINT64_MAX.
 */
uint64_t conn_queue_expire(struct conn_queue *queue, uint64_t now_ms);
