#pragma once

/* The sockets from which a worker accepts connections. Worker thread only. */

#include "ackd/conn/listener.h"

#include <uv.h>

/* A listening descriptor. The server owns the descriptor itself. */
struct acceptor {
	struct acceptor *next;
	struct listener *listener; /* a reference; NULL: nothing is accepted yet */
	int fd;
	uint64_t resume_ms; /* end of a pause after an error; 0: not paused */
	bool kept;	    /* mark of worker_plan_carry_out() */
	bool retired;	    /* gets no new connections; WORKER_CLOSE closes it */
	bool passed;	    /* its accept queue outlives the process: another process or the service
			       manager keeps the socket */
	uv_poll_t poll;
};

/* How long accepting pauses after an error that would otherwise repeat immediately. */
#define ACCEPT_PAUSE_MS 200

/*
 * Initializes a zeroed acceptor (malloc) for @fd in @loop, without accepting yet. @fd listens, is
 * non-blocking, and must stay open until acceptor_close(). Returns 0, or a libuv error, in which
 * case the caller still owns @acceptor.
 */
int acceptor_open(struct acceptor *acceptor, uv_loop_t *loop, int fd, bool passed);

/* Accepts for @listener from now on. Takes a reference to it. */
void acceptor_serve(struct acceptor *acceptor, struct listener *listener);

/*
 * Stops accepting. An acceptor that serves a listener first accepts the queued connections, unless
 * the queue outlives the process. A later loop iteration frees @acceptor.
 */
void acceptor_close(struct acceptor *acceptor);

/*
 * Ends the pause of @acceptor if it is over. Returns the milliseconds that remain, or UINT64_MAX if
 * it is not paused.
 */
uint64_t acceptor_expire(struct acceptor *acceptor, uint64_t now_ms);
