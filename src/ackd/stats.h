#pragma once

/*
 * Counters: one block per listener and worker, written by that worker alone and read by anyone.
 * They live as long as the daemon and belong to the listener's name, so that a reload goes on
 * counting.
 */

#include "core/session.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Why a connection was not served. */
enum refusal {
	REFUSAL_NONE,	     /* it is served */
	REFUSAL_DENIED,	     /* allow, deny */
	REFUSAL_CONNECTIONS, /* max_connections */
	REFUSAL_PER_ADDRESS, /* max_connections_per_address */
	REFUSAL_MEMORY,	     /* out of memory */
	REFUSAL_PROXY,	     /* no valid PROXY header, or not from a proxy */
	REFUSAL_COUNT,
};

/* Returns the refusal in words, as the log and the metrics say it. Static. */
const char *refusal_name(enum refusal refusal);

#define STATS_CACHE_LINE 64

/* One worker's counters of one listener: no other thread writes to these cache lines. */
struct counters {
	_Alignas(STATS_CACHE_LINE) _Atomic uint64_t received_bytes;
	_Atomic uint64_t sent_bytes;
	_Atomic uint64_t messages;
	_Atomic uint64_t connections; /* served, ever */
	_Atomic uint64_t closed;      /* of those, closed */
	_Atomic uint64_t accept_errors;
	_Atomic uint64_t naks[NAK_REASON_COUNT];
	_Atomic uint64_t refused[REFUSAL_COUNT];
};

/* Adds to a counter that only the calling thread writes. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Sums, as read at one moment: the same fields in the same order. */
struct stats {
	uint64_t received_bytes;
	uint64_t sent_bytes;
	uint64_t messages;
	uint64_t connections;
	uint64_t closed;
	uint64_t accept_errors;
	uint64_t naks[NAK_REASON_COUNT];
	uint64_t refused[REFUSAL_COUNT];
};

/* How many numbers a struct stats is made of. */
#define STATS_COUNT (sizeof(struct stats) / sizeof(uint64_t))

/* Returns how many connections are open. */
uint64_t stats_open(const struct stats *stats);

/* Sets up counting for @workers workers. */
void stats_init(unsigned workers);

/* Releases all counters; no thread uses them any more. */
void stats_finish(void);

/*
 * Returns the counters of the listener @name, one block per worker, made at the first call with
 * that name; NULL when out of memory. Main thread.
 */
struct counters *stats_listener(const char *name);

/* Sums up all listeners, or with @name that one. Main thread. */
struct stats stats_sum(const char *name);

/*
 * Goes on from the numbers of the process before: adds @n of them (those of a struct stats; what
 * there is more or less of them is left out) to the counters of the listener @name. Main thread,
 * before any worker has got these. Returns 0 or -ENOMEM.
 */
int stats_carry(const char *name, const uint64_t *values, size_t n);

/* Returns the name of the listener @i of all that were ever counted, or NULL. Main thread. */
const char *stats_listener_name(size_t i);
