#pragma once

/* The sockets from which a worker accepts connections. Worker thread only. */

#include "ackd/conn/listener.h"
#include "base/list.h"
#include "base/states.h"

#include <uv.h>

enum acceptor_state {
	ACCEPTOR_UNOPENED,  /* the loop has refused the descriptor so far */
	ACCEPTOR_ACCEPTING, /* the loop polls the descriptor */
	ACCEPTOR_PAUSED,    /* the loop does not poll it, after an error that would repeat */
	ACCEPTOR_CLOSED,    /* a later loop iteration frees the acceptor */
};

extern const struct state_row acceptor_states[];

/* A listening descriptor. The server owns the descriptor itself. */
struct acceptor {
	struct list node;	   /* of the worker or of a plan */
	struct listener *listener; /* a reference */
	int fd;
	uint8_t state;
	bool kept;	    /* mark of worker_carry_out() */
	bool retired;	    /* gets no new connections; WORKER_CLOSE_RETIRED closes it */
	bool passed;	    /* its accept queue outlives the process: another process or the service
			       manager keeps the socket */
	uint64_t resume_ms; /* when to try again, if unopened or paused */
	uv_poll_t poll;
};

/* How long accepting pauses after an error that would otherwise repeat immediately. */
#define ACCEPTOR_PAUSE_MS 200

/*
 * Begins to accept from @fd for @listener, in the loop of its reactor. @acceptor is zeroed (calloc)
 * and must be closed by acceptor_close(). @fd listens, is non-blocking, and must stay open until
 * then. If the loop refuses @fd, acceptor_expire() tries again after ACCEPTOR_PAUSE_MS.
 */
void acceptor_open(struct acceptor *acceptor, struct listener *listener, int fd, bool passed);

/* Accepts for @listener from now on. Takes a reference to it. */
void acceptor_serve(struct acceptor *acceptor, struct listener *listener);

/*
 * Removes @acceptor from its list. Accepts the queued connections, unless the queue outlives the
 * process, then stops accepting and frees @acceptor, now or in a later loop iteration.
 */
void acceptor_close(struct acceptor *acceptor);

/*
 * Tries again if @acceptor is unopened or paused and its pause is over. Returns the milliseconds
 * that remain, or UINT64_MAX if it accepts.
 */
uint64_t acceptor_expire(struct acceptor *acceptor, uint64_t now_ms);

/* Asserts what holds in each state of @acceptor. */
void acceptor_check_invariant(const struct acceptor *acceptor);
