#pragma once

/*
 * A configured listener in one worker: its settings, its counters and its connections. The worker
 * owns the acceptors that create its connections. Worker thread only.
 *
 * A reload creates new listeners and moves the descriptors to them. An old listener lives as long
 * as its connections.
 */

#include "ackd/config/config.h"
#include "ackd/metrics/stats.h"
#include "base/address.h"
#include "base/list.h"

#include <uv.h>

struct reactor;

/* How long input is read and dropped after the session has ended. */
#define LINGER_MS 2000

/* How long a proxy has to send the PROXY header. */
#define PROXY_MS 5000

/* How long a client has for the TLS handshake. */
#define HANDSHAKE_MS 10000

/*
 * Connections in the order of their last activity, least recent first, all with the same timeout.
 * Activity is recorded with a granularity of timeout/64, so a busy connection is not re-queued for
 * every message. The effective timeout may be that much longer.
 */
struct conn_queue {
	struct list conns;   /* struct conn */
	uint64_t timeout_ms; /* 0: never */
};

/* Returns the granularity of recorded activity. */
static inline uint64_t conn_queue_step_ms(const struct conn_queue *queue)
{
	return queue->timeout_ms / 64;
}

/* The queues of a listener's connections, which differ in their timeout. */
enum conn_queue_class {
	QUEUE_PROXY_HEADER, /* PROXY_MS */
	QUEUE_HANDSHAKE,    /* HANDSHAKE_MS */
	QUEUE_IDLE,	    /* limits.idle_timeout */
	QUEUE_LINGER,	    /* LINGER_MS */
	QUEUE_COUNT,
	QUEUE_NONE = QUEUE_COUNT,
};

struct listener {
	/* in the reactor's list; aligned so that threads share no cache line */
	_Alignas(STATS_CACHE_LINE) struct list node;
	struct reactor *reactor;
	struct config *config;			/* a reference */
	const struct config_listener *settings; /* in config */
	struct counters *counters;
	struct conn_queue queues[QUEUE_COUNT];
	unsigned references; /* one per acceptor and connection, one while a plan holds it */
};

/*
 * Initializes a zeroed listener (aligned_alloc) with one reference and adds it to @reactor's list.
 * Takes a reference to @config.
 */
void listener_begin(struct listener *listener, struct reactor *reactor, struct config *config,
		    const struct config_listener *settings, struct counters *counters);

/* Take and release a reference; the last release frees. */
void listener_ref(struct listener *listener);
void listener_unref(struct listener *listener);

/*
 * Checks the access lists for @address, then reserves a place in the limits, which limits_release()
 * returns. With @placed the connection already holds the place of a UNIX socket, which passes to
 * @address on success. A refusal is counted and logged.
 */
enum refusal listener_admit(struct listener *listener, const struct address *address, bool placed);

/* Returns whether its connections have TLS. */
static inline bool listener_has_tls(const struct listener *listener)
{
	return listener->settings->tls_context != NULL;
}

/* Returns whether its connections come from proxies and begin with a PROXY header. */
bool listener_is_proxied(const struct listener *listener);

/* Counts and logs a refusal. @reason, if not NULL, is more specific than refusal_name(). */
void listener_count_refusal(struct listener *listener, const struct address *address,
			    enum refusal refusal, const char *reason);

/* Counts a TLS handshake. A successful one took @duration_ns. */
void listener_count_handshake(struct listener *listener, enum tls_version version,
			      enum tls_result result, uint64_t duration_ns);

/*
 * Returns whether a client refused for this reason receives a NAK, and then reserves one of the
 * LIMITS_REFUSALS_MAX places for it. Otherwise its connection is closed without a NAK.
 */
bool listener_may_tell(struct listener *listener, enum refusal refusal);
