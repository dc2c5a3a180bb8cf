#pragma once

/*
 * Counters: one block per listener and worker, written by that worker alone and read by anyone.
 * They belong to the listener's name, so that a reload goes on counting. They are dropped once the
 * configuration does not have the name any more and no connection uses them.
 *
 * What follows is for the main thread, except counter_add() and counters_use().
 */

#include "core/session/session.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Why a connection was not served. */
enum refusal {
	REFUSAL_NONE,	     /* it is served */
	REFUSAL_DENIED,	     /* allow, deny, proxies */
	REFUSAL_CONNECTIONS, /* max_connections */
	REFUSAL_PER_ADDRESS, /* max_connections_per_address */
	REFUSAL_MEMORY,	     /* out of memory */
	REFUSAL_PROXY,	     /* no valid PROXY header */
	REFUSAL_COUNT,
};

/* Returns the refusal in words, as the log and the metrics say it. Static. */
const char *refusal_name(enum refusal refusal);

#define STATS_CACHE_LINE 64

/* What is counted. The order is that of the state that a process leaves to the next. */
enum counter {
	COUNTER_RECEIVED_BYTES,
	COUNTER_SENT_BYTES,
	COUNTER_MESSAGES,
	COUNTER_CONNECTIONS, /* served, ever */
	COUNTER_CLOSED,	     /* of those, closed */
	COUNTER_ACCEPT_ERRORS,
	COUNTER_NAKS,						 /* one for each enum nak_reason */
	COUNTER_REFUSED = COUNTER_NAKS + NAK_REASON_COUNT,	 /* one for each enum refusal */
	COUNTER_HEALTH_CHECKS = COUNTER_REFUSED + REFUSAL_COUNT, /* see conn_proxy_end() */
	COUNTER_COUNT,
};

/* One worker's counters of one listener: no other thread writes to these cache lines. */
struct counters {
	_Alignas(STATS_CACHE_LINE) _Atomic uint64_t values[COUNTER_COUNT];
	_Atomic unsigned n_users; /* how many struct listener of the worker count here */
};

/* Adds @n to the counter @counter (enum counter, plus the reason), which only this thread writes.
 */
static inline void counter_add(struct counters *counters, unsigned counter, uint64_t n)
{
	_Atomic uint64_t *value = &counters->values[counter];

	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/*
 * Notes that the worker has one user of @counters more (@n is 1) or less (-1). After the last one
 * the worker does not touch them.
 */
static inline void counters_use(struct counters *counters, int n)
{
	unsigned before = atomic_load_explicit(&counters->n_users, memory_order_relaxed);

	atomic_store_explicit(&counters->n_users, before + (unsigned)n, memory_order_release);
}

/* The sums over all workers. */
struct stats {
	uint64_t values[COUNTER_COUNT];
};

/* Returns how many connections are open. */
uint64_t stats_open(const struct stats *stats);

/* Returns the sum of the @n counters from @counter on. */
uint64_t stats_sum(const struct stats *stats, unsigned counter, unsigned n);

/* Sets up counting for @workers workers. */
void stats_init(unsigned workers);

/* Releases all counters; no thread uses them any more. */
void stats_finish(void);

/*
 * Returns the counters of the listener @name, one block per worker, made at the first call with
 * that name; NULL when out of memory. They stay at least until stats_release() is called.
 */
struct counters *stats_listener(const char *name);

/* Lets stats_drop_unused() drop every listener that stats_listener() is not called for again. */
void stats_release(void);

/*
 * Drops the counters of each listener that was released and that no worker uses. What they counted
 * stays in stats_total().
 */
void stats_drop_unused(void);

/* The counters of one listener. */
struct stats_entry;

/* Returns the first entry, or the one after @entry in the order in which they were made; or NULL.
 */
const struct stats_entry *stats_next(const struct stats_entry *entry);

/* Returns the listener's name, which lives as long as the entry. */
const char *stats_name(const struct stats_entry *entry);

/* Sums up one listener; with NULL those that were dropped. */
struct stats stats_read(const struct stats_entry *entry);

/* Sums up everything that was ever counted. */
struct stats stats_total(void);

/*
 * Goes on from the numbers of the process before: adds @n of them (those of a struct stats; what
 * there is more or less of them is left out) to the counters of the listener @name, or with "" to
 * those that were dropped. To be called before any worker has got these. Returns 0 or -ENOMEM.
 */
int stats_carry(const char *name, const uint64_t *values, size_t n);
