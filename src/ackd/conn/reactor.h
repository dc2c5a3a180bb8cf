#pragma once

/*
 * The part of a thread that connections use: the loop and its timer, the memory for a turn, the
 * limits and the listeners. A worker embeds one. Everything here runs in that thread.
 */

#include "ackd/admission/admission.h"
#include "ackd/conn/turn.h"
#include "base/list.h"

#include <uv.h>

struct conn;

struct reactor {
	uv_loop_t loop;
	struct limits *limits; /* shared by all workers */
	uint64_t n_events;     /* reads, writes and accepts so far */
	uv_timer_t timer;
	uint64_t timer_at_ms; /* when it fires; UINT64_MAX: stopped */
	struct session_io io;
	struct turn turn;
	uv_check_t check;      /* answers the turn */
	struct list listeners; /* struct listener, which queue the connections */
	unsigned connections;  /* open connection handles */

	/* Callbacks of the owner, set after reactor_init(). */
	uint64_t (*on_timer)(struct reactor *reactor); /* returns the milliseconds until its next
							  call, or UINT64_MAX */
	void (*on_empty)(struct reactor *reactor);     /* the last connection's handle is closed */
};

/* Initializes @reactor. Returns 0, or a libuv error with nothing to release. */
int reactor_init(struct reactor *reactor, struct limits *limits);

/* Closes the handles of @reactor itself; without other handles the loop ends. Idempotent. */
void reactor_close(struct reactor *reactor);

/* Releases @reactor. Its loop must have no handles. */
void reactor_finish(struct reactor *reactor);

/* Makes the timer fire in at most @ms milliseconds. */
void reactor_wake_in(struct reactor *reactor, uint64_t ms);

/* Calls @f for every connection. @f may close the connection that it receives. */
void reactor_for_each(struct reactor *reactor, void (*f)(struct conn *c));
