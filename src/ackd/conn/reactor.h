#pragma once

/*
 * The part of a thread that connections use: the loop and its ticker, the input of a turn, the
 * limits and the listeners. A worker embeds one. Everything here runs in that thread.
 */

#include "ackd/limits/limits.h"
#include "base/list.h"
#include "core/session/session.h"
#include "loop/ticker.h"

#include <uv.h>

/* Limits of a turn; reaching either one ends it. */
#define TURN_READS_MAX 64
#define TURN_BYTES_MAX ((size_t)64 * 1024)

/* The largest read: with TLS, whole records that have SESSION_READ_MAX bytes of content. */
#define TURN_READ_MAX (SESSION_READ_MAX + 128)

/* The buffer of a turn. A read that begins one byte below the limit must still fit. */
#define TURN_BUFFER_BYTES (TURN_BYTES_MAX + TURN_READ_MAX)

/* Reads are aligned to cache lines. */
#define TURN_ALIGNMENT ((size_t)64)

struct conn;

struct turn_read {
	struct conn *conn;
	struct iovec bytes; /* the input; later the answer that remains to be sent */
};

/*
 * The input that a worker has received in one loop iteration. All ready sockets are read first,
 * then the sessions answer, then the answers are sent. The code of each step thus stays in the
 * nearest caches from one connection to the next; kernel code would displace it in between. The
 * size of a turn is limited so that its bytes stay there, too.
 */
struct turn {
	uint8_t *buffer; /* TURN_BUFFER_BYTES */
	size_t n_bytes;	 /* where the next read begins */
	unsigned n_reads;
	struct turn_read reads[TURN_READS_MAX];
};

struct reactor {
	uv_loop_t loop;
	struct limits *limits; /* shared by all workers */
	uint64_t n_events;     /* reads, writes and accepts so far */
	struct ticker ticker;
	uint64_t ticker_at_ms; /* when it fires; UINT64_MAX: not set */
	struct session_io io;
	struct turn turn;
	uv_check_t check;	     /* answers the turn */
	uv_idle_t idle;		     /* one handshake of TLS in each iteration */
	struct list listeners;	     /* struct listener, which queue the connections */
	unsigned connections;	     /* open connection handles */
	struct conn_tls_memory *tls; /* NULL until there is a connection with TLS */

	/* Callbacks of the owner, set after reactor_init(). */
	uint64_t (*on_tick)(struct reactor *reactor); /* returns the milliseconds until its next
							  call, or UINT64_MAX */
	void (*on_empty)(struct reactor *reactor);    /* the last connection's handle is closed */
};

/* Initializes @reactor. Returns 0, or a libuv error with nothing to release. */
int reactor_init(struct reactor *reactor, struct limits *limits);

/* Closes the handles of @reactor itself; without other handles the loop ends. Idempotent. */
void reactor_close(struct reactor *reactor);

/* Returns the most memory that a reactor takes besides its connections, in bytes. */
size_t reactor_bytes(bool has_tls);

/* Releases @reactor. Its loop must have no handles. */
void reactor_finish(struct reactor *reactor);

/*
 * Answers the input that the connections of @reactor have received in this loop iteration. Called
 * after all ready connections have been read, and before any other event of one of them is handled.
 */
void reactor_answer(struct reactor *reactor);

/* Makes the ticker fire in at most @ms milliseconds. */
void reactor_wake_in(struct reactor *reactor, uint64_t ms);

/* Calls conn_tls_work() once in each loop iteration, without sleeping, until it is done. */
void reactor_work(struct reactor *reactor);

/* Calls @f for every connection. @f may close the connection that it receives. */
void reactor_for_each(struct reactor *reactor, void (*f)(struct conn *c));
