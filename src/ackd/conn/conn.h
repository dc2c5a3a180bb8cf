#pragma once

/*
 * One connection: its handle, backpressure, timeouts and closing. The protocol is in core/session.
 *
 * The normal sequence is conn_accept(), then for each read reactor_answer(), session_feed() and
 * conn_socket_send(), then at the end of input session_end() and conn_close(), and finally
 * conn_on_closed(), which frees. conn_pump() is the general form of the middle part.
 *
 * Exceptions:
 * - The socket accepts only a part of the output. The rest is copied and queued, and reading stops,
 *   so a slow reader cannot make ackd hold more than one read and one reply area. The connection
 *   is in CONN_SENDING meanwhile.
 * - The reply is much longer than the input, or a long line takes long to transcode. After one
 *   reply area the rest waits for a later loop iteration, as if the socket had no room. If the
 *   memory budget has no room for the input that is left, it is answered in this iteration.
 * - The session ends before the input does (NAK). The output is delivered and the sending side shut
 *   down. Input is then read and dropped until the peer closes or LINGER_MS have passed. Closing
 *   with unread input would send a reset, and the peer could lose the NAK.
 * - A timeout, an error or lack of memory: conn_close() with the reason.
 */

#include "ackd/metrics/reason.h"
#include "base/address.h"
#include "base/list.h"
#include "core/session/session.h"

#include <uv.h>

struct listener;

/*
 * The state of a connection. conn.c has the table of transitions, and of what each state waits for.
 * conn_check_invariant() states which of the other members are legal in which state.
 */
enum conn_state {
	CONN_NEW,	   /* created; nothing has been read or sent */
	CONN_PROXY_HEADER, /* reads the PROXY header */
	CONN_WAITING,	   /* does not read until its TLS handshake has its turn */
	CONN_HANDSHAKE,	   /* reads records of the TLS handshake */
	CONN_FLIGHT,	   /* does not read until the socket has taken its answer */
	CONN_SERVING,	   /* reads and answers */
	CONN_SENDING,	   /* does not read until the socket has room */
	CONN_LINGERING,	   /* sending side shut down; input is dropped */
	CONN_CLOSING,
};

/* The place that a connection occupies in the limits until its descriptor is closed. */
enum conn_place {
	PLACE_NONE,
	PLACE_PROXY,   /* a connection without an address: the client is not known yet */
	PLACE_CLIENT,  /* a connection from its address */
	PLACE_REFUSAL, /* one of LIMITS_REFUSALS_MAX */
};

/*
 * Bytes that wait: in CONN_PROXY_HEADER the beginning of the header, in CONN_HANDSHAKE that of the
 * first record, in CONN_WAITING input of the handshake, in CONN_FLIGHT and CONN_SENDING output that
 * the socket has not accepted.
 */
struct conn_pending;

struct conn {
	struct list node;	      /* in the listener's queue for its state */
	uint64_t active_ms;	      /* last activity, in loop time */
	uint64_t opened_ns;	      /* uv_hrtime() */
	uint64_t sent;		      /* bytes of replies: see conn_count_sent() */
	struct conn_pending *pending; /* or NULL */
	struct session session;
	struct address address;
	uint32_t drain_left; /* draining: bytes still to be read and answered */
	int unsent;	     /* CONN_SENDING: sock_unsent() at the last check */
	int fd;
	int16_t error;	     /* with CONN_RESET: a libuv error; CONN_TLS_: an alert; CONN_UNTRUSTED:
				why the client's certificate is not accepted */
	uint8_t state;	     /* enum conn_state */
	uint8_t place;	     /* enum conn_place */
	uint8_t reason;	     /* enum conn_reason */
	uint8_t end_reason;  /* that of the orderly end that has begun, for example of a drain */
	uint8_t polled;	     /* the polled event: UV_READABLE, UV_WRITABLE or 0 for none */
	bool ended : 1;	     /* the peer has closed its side, which will be answered */
	bool draining : 1;   /* reads only drain_left more bytes, then ends */
	bool unanswered : 1; /* its input is pending in the reactor's turn */
	bool counted : 1;    /* its output was counted when TLS sealed it */
	bool has_tls : 1;    /* a struct conn_tls follows this structure in memory */
	uv_poll_t poll;	     /* its data is the listener */
};

/*
 * Returns the listener of @c, to which it has a reference. A reload replaces the listener for new
 * connections only. The pointer is kept in the handle, to save memory.
 */
static inline struct listener *conn_listener(const struct conn *c)
{
	return c->poll.data;
}

/*
 * Begins a connection on the accepted descriptor @fd of the peer @address, if the listener admits
 * it. A refused client gets "NAK 0 too many connections" if that is the reason. The peer of a
 * proxied listener must be a proxy, and has PROXY_MS to send the PROXY header, which identifies the
 * client; the client is then admitted or refused. Takes @fd.
 */
void conn_accept(struct listener *listener, int fd, const struct address *address);

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

/*
 * Handles the timeout of @c: closes it, or refuses it if its PROXY header is incomplete. Returns
 * whether it stays open, because its peer has acknowledged output in the meantime.
 */
bool conn_time_out(struct conn *c);

/* Returns the memory of a connection that holds nothing, in bytes. */
size_t conn_bytes(bool has_tls);

/* Asserts what holds in the state of @c. Call it between callbacks. */
void conn_check_invariant(const struct conn *c);
