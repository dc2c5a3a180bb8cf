#pragma once

/*
 * What connections need of the thread that they live in: the loop and its timer, the memory for a
 * turn, the limits, and the queues in which they wait. A worker embeds one. Everything here runs in
 * that thread.
 */

#include "ackd/admission/admission.h"
#include "ackd/conn/conn.h"
#include "ackd/conn/turn.h"

#include <uv.h>

/* The longest that a connection whose session is over may keep us reading. */
#define LINGER_MS 2000

/* How long a proxy has to send the PROXY header. */
#define PROXY_MS 5000

struct reactor {
	uv_loop_t loop;
	struct limits *limits; /* shared by all workers */
	uint64_t n_events;     /* reads, writes and accepts so far */
	uv_timer_t timer;
	uint64_t timer_at_ms; /* when it fires; UINT64_MAX: stopped */
	struct session_io io;
	struct turn turn;
	uv_check_t check;	     /* the end of a turn */
	struct conn_queue lingering; /* sessions that are over */
	struct conn_queue waiting;   /* for a PROXY header */
	struct listener *listeners;  /* all; their other connections wait in them */
	unsigned connections;	     /* open handles of connections */

	/* The owner's, set after reactor_init(). */
	uint64_t (*on_timer)(struct reactor *reactor); /* returns in how many ms it is wanted next,
							  or UINT64_MAX */
	void (*on_empty)(struct reactor *reactor);     /* the last connection's handle is closed */
};

/* Initializes @reactor. Returns 0 or a libuv error, and then nothing needs to be released. */
int reactor_init(struct reactor *reactor, struct limits *limits);

/* Closes the handles of @reactor itself: without others the loop ends. Idempotent. */
void reactor_close(struct reactor *reactor);

/* Releases @reactor, whose loop has no handles any more. */
void reactor_finish(struct reactor *reactor);

/* Makes the timer fire in @ms at the latest. */
void reactor_wake_in(struct reactor *reactor, uint64_t ms);

/* Notes that a connection's handle has been opened or closed. */
void reactor_conn_opened(struct reactor *reactor);
void reactor_conn_closed(struct reactor *reactor);

/* Calls @f with every connection; it may close the one that it is given. */
void reactor_for_each(struct reactor *reactor, void (*f)(struct conn *c));

/*
 * Hands over the connections of one segment. Returns whether there may be more, for another turn of
 * the loop, which frees those of this one.
 */
bool reactor_hand_over(struct reactor *reactor, struct handover *handover);

/*
 * Answers what the connections of @reactor have received in this turn of its loop. Called when all
 * that are ready have been read from, and before anything else happens to one of them.
 */
void conn_answer_turn(struct reactor *reactor);
