#pragma once

/*
 * A configured listener as one worker sees it: its settings, its counters, its connections, and the
 * descriptors that it accepts from. Worker thread only.
 *
 * A reload makes new listeners and hands the descriptors over to them; an old one lives as long as
 * its connections.
 */

#include "ackd/config.h"
#include "ackd/conn.h"
#include "ackd/stats.h"

#include <uv.h>

struct worker;

struct listener {
	/* in the worker's list of all; no cache line is shared with another thread */
	_Alignas(STATS_CACHE_LINE) struct listener *next;
	struct worker *worker;
	struct config *config;			/* a reference */
	const struct config_listener *settings; /* in config */
	struct counters *counters;
	struct conn_queue idle;
	unsigned references; /* one per acceptor, one per connection; one while a plan makes it */
};

/* A descriptor that connections are accepted from. The descriptor itself is the server's. */
struct acceptor {
	struct acceptor *next;
	struct listener *listener; /* counted; NULL: nothing is accepted yet */
	int fd;
	bool paused;  /* after an error; the worker's timer goes on */
	bool kept;    /* mark of worker_plan_carry_out() */
	bool retired; /* gets no new connections; WORKER_CLOSE closes it */
	bool passed;  /* its queue outlives us: the service manager keeps the socket */
	uv_poll_t poll;
};

/* How long accepting pauses after an error that would come again at once. */
#define ACCEPT_PAUSE_MS 200

/*
 * Begins a zeroed listener (aligned_alloc) with one reference, in @worker's list. Takes a reference
 * to @config.
 */
void listener_begin(struct listener *listener, struct worker *worker, struct config *config,
		    const struct config_listener *settings, struct counters *counters);

/* Takes a reference, and gives it back; the last one frees. */
void listener_ref(struct listener *listener);
void listener_unref(struct listener *listener);

/*
 * Asks whether @address may be served: access, then a place in the limits, which limits_release()
 * gives back. With @placed it has one, of a UNIX socket, which becomes that one unless it is
 * refused. A refusal is counted and logged.
 */
enum refusal listener_admit(struct listener *listener, const struct address *address, bool placed);

/* Whether its connections come from proxies, and open with a PROXY header. */
bool listener_is_proxied(const struct listener *listener);

/*
 * Begins a connection that has to open with a PROXY header, or refuses it unless @address is one of
 * the proxies. @fd is taken in any case. Returns NULL when the connection is not there.
 */
struct conn *listener_take_proxy(struct listener *listener, int fd, const struct address *address);

/* Counts and logs a refusal, with @reason if that says more than refusal_name(). */
void listener_count_refusal(struct listener *listener, const struct address *address,
			    enum refusal refusal, const char *reason);

/* Whether a client with this refusal is told so, rather than closed at once. */
bool refusal_is_told(enum refusal refusal);

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

/* Goes on after a pause. */
void acceptor_resume(struct acceptor *acceptor);
