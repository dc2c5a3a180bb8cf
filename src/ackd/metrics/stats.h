#pragma once

/*
 * Counters: one block per listener and worker, written only by that worker and read by any thread.
 * They belong to the listener's name, so they continue after a reload. They are dropped when the
 * configuration no longer contains the name and no connection uses them.
 *
 * Everything below is for the main thread, except counter_add() and counters_use().
 */

#include "ackd/limits/limits.h"
#include "ackd/metrics/reason.h"
#include "ackd/tls/result.h"
#include "core/session/nak.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_CACHE_LINE 64

/* The buckets of durations of handshakes. */
#define STATS_BUCKETS 14

/* The counters. stats_counter_name() has their names in the state that is handed over. */
enum counter {
	COUNTER_RECEIVED_BYTES,
	COUNTER_SENT_BYTES,
	COUNTER_MESSAGES,
	COUNTER_CONNECTIONS, /* served so far */
	COUNTER_CLOSED,	     /* of these, closed: see counters_close() */
	COUNTER_ACCEPT_ERRORS,
	COUNTER_NAKS,						 /* one for each enum nak_reason */
	COUNTER_REFUSED = COUNTER_NAKS + NAK_REASON_COUNT,	 /* one for each enum refusal */
	COUNTER_HEALTH_CHECKS = COUNTER_REFUSED + REFUSAL_COUNT, /* see conn_proxy_end() */
	COUNTER_SKIPPED_BYTES,					 /* received between frames */
	COUNTER_ILL_FORMED, /* subsequences that an error handler dealt with */
	COUNTER_HANDSHAKES, /* of TLS: see stats_handshake() */
	/* the durations of those that succeeded: see stats_duration_bucket() */
	COUNTER_HANDSHAKE_BUCKETS = COUNTER_HANDSHAKES + TLS_VERSION_COUNT * TLS_RESULT_COUNT,
	COUNTER_HANDSHAKE_US = COUNTER_HANDSHAKE_BUCKETS + STATS_BUCKETS, /* their sum */
	COUNTER_CLOSED_BY, /* one for each enum conn_reason that is counted, from CONN_END */
	COUNTER_COUNT = COUNTER_CLOSED_BY + CONN_REASON_COUNT - CONN_END,
};

/* One worker's counters of one listener. No other thread writes to these cache lines. */
struct counters {
	_Alignas(STATS_CACHE_LINE) _Atomic uint64_t values[COUNTER_COUNT];
	_Atomic unsigned n_users; /* number of struct listener of the worker that use this block */
};

/* Returns the counter of handshakes that ended in this way. */
static inline unsigned stats_handshake(enum tls_version version, enum tls_result result)
{
	return COUNTER_HANDSHAKES + version * TLS_RESULT_COUNT + result;
}

/* Returns the bucket of a duration, from 0. */
unsigned stats_duration_bucket(uint64_t us);

/* Returns the longest duration in @bucket in seconds; not for the last one, which has no bound. */
double stats_bucket_seconds(unsigned bucket);

/* Adds @n to @counter (enum counter, plus the reason). Only the owning thread may call it. */
static inline void counter_add(struct counters *counters, unsigned counter, uint64_t n)
{
	_Atomic uint64_t *value = &counters->values[counter];

	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Counts the end of a connection that was served. @reason is CONN_END or a later one. */
static inline void counters_close(struct counters *counters, enum conn_reason reason)
{
	assert(reason >= CONN_END && reason < CONN_REASON_COUNT);
	counter_add(counters, COUNTER_CLOSED, 1);
	counter_add(counters, COUNTER_CLOSED_BY + reason - CONN_END, 1);
}

/*
 * Records that the worker has one user of @counters more (@n is 1) or fewer (@n is -1). After the
 * last one the worker does not access them.
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

/* Returns the number of TLS handshakes, or, with @failed, of those that failed. */
uint64_t stats_handshakes(const struct stats *stats, bool failed);

/* Initializes counting for @workers workers. */
void stats_init(unsigned workers);

/* Releases all counters. No thread may use them any more. */
void stats_finish(void);

/*
 * Returns the counters of the listener @name, one block per worker, or NULL when out of memory. The
 * first call for a name creates them. They exist at least until stats_release().
 */
struct counters *stats_listener(const char *name);

/*
 * Allows stats_drop_unused() to drop every listener for which stats_listener() is not called again.
 */
void stats_release(void);

/*
 * Drops the counters of each released listener that no worker uses. Their values remain in
 * stats_total().
 */
void stats_drop_unused(void);

/* The counters of one listener. */
struct stats_entry;

/* Returns the first entry, or the one after @entry in order of creation, or NULL. */
const struct stats_entry *stats_next(const struct stats_entry *entry);

/* Returns the listener's name, valid as long as the entry. */
const char *stats_name(const struct stats_entry *entry);

/* Returns the sums of one listener, or with NULL those of all dropped ones. */
struct stats stats_read(const struct stats_entry *entry);

/* Returns one sum of a listener: @counter (enum counter, plus the reason). */
uint64_t stats_value(const struct stats_entry *entry, unsigned counter);

/* Returns the sums of all listeners, including dropped ones. */
struct stats stats_total(void);

/* The size of the buffer for stats_counter_name(). */
#define STATS_NAME_MAX 64

/*
 * Writes the name of @counter, below COUNTER_COUNT, to @out and returns it. No two counters have
 * the same. Other versions of ackd know counters by these names.
 */
const char *stats_counter_name(unsigned counter, char out[STATS_NAME_MAX]);

/*
 * Continues from the counters of the previous process: adds @stats to the listener @name, or with
 * "" to the sums of dropped ones. Call it before a worker has received these counters. Returns 0 or
 * -ENOMEM.
 */
int stats_carry(const char *name, const struct stats *stats);
