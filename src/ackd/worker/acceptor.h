#pragma once

/* What a worker accepts connections from. Worker thread only. */

#include "ackd/conn/listener.h"

#include <uv.h>

/* A descriptor that connections are accepted from. The descriptor itself is the server's. */
struct acceptor {
	struct acceptor *next;
	struct listener *listener; /* counted; NULL: nothing is accepted yet */
	int fd;
	uint64_t resume_ms; /* paused after an error until then; 0: not paused */
	bool kept;	    /* mark of worker_plan_carry_out() */
	bool retired;	    /* gets no new connections; WORKER_CLOSE closes it */
	bool passed;	    /* its queue outlives us: the service manager keeps the socket */
	uv_poll_t poll;
};

/* How long accepting pauses after an error that would come again at once. */
#define ACCEPT_PAUSE_MS 200

/*
 * Makes a zeroed acceptor (malloc) one of @fd (listening, non-blocking, stays open until
 * acceptor_close() is called) in @loop; it does not accept yet. Returns 0, or a libuv error and
 * @acceptor is still the caller's.
 */
int acceptor_open(struct acceptor *acceptor, uv_loop_t *loop, int fd, bool passed);

/* From here on accepts for @listener. Takes a reference to it. */
void acceptor_serve(struct acceptor *acceptor, struct listener *listener);

/*
 * Stops for good; if it accepts, first what is queued already, unless the queue outlives us. Frees
 * @acceptor in a later turn.
 */
void acceptor_close(struct acceptor *acceptor);

/*
 * Ends the pause of @acceptor when its time has come. Returns in how many ms that is, or UINT64_MAX
 * when it is not paused.
 */
uint64_t acceptor_expire(struct acceptor *acceptor, uint64_t now_ms);
