#pragma once

/*
 * A configured listener as one worker sees it: its settings, its counters, and its connections. The
 * acceptors that make connections for it are the worker's. Worker thread only.
 *
 * A reload makes new listeners and hands the descriptors over to them; an old one lives as long as
 * its connections.
 */

#include "ackd/config/config.h"
#include "ackd/conn/conn.h"
#include "ackd/metrics/counters.h"

#include <uv.h>

struct reactor;

struct listener {
	/* in the reactor's list of all; no cache line is shared with another thread */
	_Alignas(STATS_CACHE_LINE) struct listener *next;
	struct reactor *reactor;
	struct config *config;			/* a reference */
	const struct config_listener *settings; /* in config */
	struct counters *counters;
	struct conn_queue idle;
	unsigned references; /* one per acceptor, one per connection; one while a plan makes it */
};

/*
 * Begins a zeroed listener (aligned_alloc) with one reference, in @reactor's list. Takes a
 * reference to @config.
 */
void listener_begin(struct listener *listener, struct reactor *reactor, struct config *config,
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

/* Counts and logs a refusal, with @reason if that says more than refusal_name(). */
void listener_count_refusal(struct listener *listener, const struct address *address,
			    enum refusal refusal, const char *reason);

/* Whether a client with this refusal is told so, rather than closed at once. */
bool refusal_is_told(enum refusal refusal);
