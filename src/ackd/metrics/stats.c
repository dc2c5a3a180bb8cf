#include "ackd/metrics/stats.h"

#include "base/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stats_entry {
	struct list node;	   /* in @entries */
	struct counters *counters; /* one block per worker */
	bool wanted;		   /* not released */
	char name[];
};

static struct list entries = {&entries, &entries}; /* in order of creation */
static struct stats dropped;
static unsigned n_workers;

void stats_init(unsigned workers)
{
	n_workers = workers;
}

/* ---- durations ---- */

/* The longest duration of each bucket but the last. A client has 10 s for its handshake. */
static const uint32_t buckets_us[STATS_BUCKETS - 1] = {
	1000,	2500,	5000,	 10000,	  25000,   50000,    100000,
	250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

unsigned stats_duration_bucket(uint64_t us)
{
	unsigned bucket = 0;

	while (bucket < STATS_BUCKETS - 1 && us > buckets_us[bucket])
		bucket++;
	return bucket;
}

double stats_bucket_seconds(unsigned bucket)
{
	return buckets_us[bucket] / 1e6;
}

/* ---- entries ---- */

static struct stats_entry *entry_create(const char *name)
{
	struct stats_entry *entry = malloc(sizeof(*entry) + strlen(name) + 1);
	size_t size = n_workers * sizeof(struct counters);

	if (!entry)
		return NULL;
	*entry = (struct stats_entry){.counters = aligned_alloc(STATS_CACHE_LINE, size)};
	if (!entry->counters) {
		free(entry);
		return NULL;
	}
	memset(entry->counters, 0, size);
	strcpy(entry->name, name);
	return entry;
}

static void entry_destroy(struct stats_entry *entry)
{
	list_remove(&entry->node);
	free(entry->counters);
	free(entry);
}

/* Returns the entry of @name, creating it if necessary, or NULL. */
static struct stats_entry *entry_get(const char *name)
{
	struct stats_entry *entry;

	list_for_each (entry, &entries, node)
		if (strcmp(entry->name, name) == 0)
			return entry;
	entry = entry_create(name);
	if (entry)
		list_append(&entries, &entry->node);
	return entry;
}

static bool entry_is_used(const struct stats_entry *entry)
{
	for (unsigned i = 0; i < n_workers; i++)
		if (atomic_load_explicit(&entry->counters[i].n_users, memory_order_acquire) > 0)
			return true;
	return entry->wanted;
}

void stats_finish(void)
{
	struct stats_entry *entry, *after;

	list_for_each_safe (entry, after, &entries, node)
		entry_destroy(entry);
	dropped = (struct stats){0};
}

/* ---- counting ---- */

struct counters *stats_listener(const char *name)
{
	struct stats_entry *entry = entry_get(name);

	if (!entry)
		return NULL;
	entry->wanted = true;
	return entry->counters;
}

static void stats_add(struct stats *sum, const struct stats *stats)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		sum->values[i] += stats->values[i];
}

void stats_drop_unused(void)
{
	struct stats_entry *entry, *after;

	list_for_each_safe (entry, after, &entries, node) {
		struct stats last;

		if (entry_is_used(entry))
			continue;
		last = stats_read(entry);
		/* nothing is open, even if the end of a connection was not counted */
		last.values[COUNTER_CLOSED] = last.values[COUNTER_CONNECTIONS];
		stats_add(&dropped, &last);
		entry_destroy(entry);
	}
}

void stats_release(void)
{
	struct stats_entry *entry;

	list_for_each (entry, &entries, node)
		entry->wanted = false;
}

/* ---- for the next process ---- */

const char *stats_counter_name(unsigned counter, char out[STATS_NAME_MAX])
{
	static const char *const names[COUNTER_COUNT] = {
		[COUNTER_RECEIVED_BYTES] = "received_bytes",
		[COUNTER_SENT_BYTES] = "sent_bytes",
		[COUNTER_MESSAGES] = "messages",
		[COUNTER_CONNECTIONS] = "connections",
		[COUNTER_CLOSED] = "closed",
		[COUNTER_ACCEPT_ERRORS] = "accept_errors",
		[COUNTER_HEALTH_CHECKS] = "health_checks",
		[COUNTER_SKIPPED_BYTES] = "skipped_bytes",
		[COUNTER_ILL_FORMED] = "ill_formed",
		[COUNTER_HANDSHAKE_US] = "handshake_us",
	};
	unsigned i;

	if (names[counter])
		return strcpy(out, names[counter]);
	if (counter >= COUNTER_CLOSED_BY) {
		i = counter - COUNTER_CLOSED_BY;
		snprintf(out, STATS_NAME_MAX, "closed: %s", conn_reason_name(CONN_END + i));
	} else if (counter >= COUNTER_HANDSHAKE_BUCKETS) {
		i = counter - COUNTER_HANDSHAKE_BUCKETS;
		snprintf(out, STATS_NAME_MAX, "handshake_us: at most %" PRIu32,
			 i < STATS_BUCKETS - 1 ? buckets_us[i] : UINT32_MAX);
	} else if (counter >= COUNTER_HANDSHAKES) {
		i = counter - COUNTER_HANDSHAKES;
		snprintf(out, STATS_NAME_MAX, "handshake: %s %s",
			 tls_version_name(i / TLS_RESULT_COUNT),
			 tls_result_name(i % TLS_RESULT_COUNT));
	} else if (counter >= COUNTER_REFUSED) {
		snprintf(out, STATS_NAME_MAX, "refused: %s",
			 refusal_name(counter - COUNTER_REFUSED));
	} else {
		snprintf(out, STATS_NAME_MAX, "nak: %s", nak_reason_name(counter - COUNTER_NAKS));
	}
	return out;
}

int stats_carry(const char *name, const struct stats *stats)
{
	struct counters *c;

	if (!*name) {
		stats_add(&dropped, stats);
		return 0;
	}
	c = stats_listener(name);
	if (!c)
		return -ENOMEM;
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		counter_add(c, i, stats->values[i]);
	return 0;
}

/* ---- reading ---- */

const struct stats_entry *stats_next(const struct stats_entry *entry)
{
	struct list *next = entry ? entry->node.next : entries.next;

	return next == &entries ? NULL : list_entry(next, struct stats_entry, node);
}

const char *stats_name(const struct stats_entry *entry)
{
	return entry->name;
}

uint64_t stats_value(const struct stats_entry *entry, unsigned counter)
{
	uint64_t sum = 0;

	for (unsigned w = 0; w < n_workers; w++)
		sum += atomic_load_explicit(&entry->counters[w].values[counter],
					    memory_order_relaxed);
	return sum;
}

struct stats stats_read(const struct stats_entry *entry)
{
	struct stats sums;

	if (!entry)
		return dropped;
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		sums.values[i] = stats_value(entry, i);
	return sums;
}

struct stats stats_total(void)
{
	struct stats sum = dropped;
	const struct stats_entry *entry;

	list_for_each (entry, &entries, node) {
		struct stats one = stats_read(entry);

		stats_add(&sum, &one);
	}
	return sum;
}

uint64_t stats_open(const struct stats *stats)
{
	uint64_t connections = stats->values[COUNTER_CONNECTIONS];
	uint64_t closed = stats->values[COUNTER_CLOSED];

	/* a connection may close between the two reads */
	return connections > closed ? connections - closed : 0;
}

uint64_t stats_sum(const struct stats *stats, unsigned counter, unsigned n)
{
	uint64_t sum = 0;

	while (n-- > 0)
		sum += stats->values[counter + n];
	return sum;
}

uint64_t stats_handshakes(const struct stats *stats, bool failed)
{
	uint64_t sum = stats_sum(stats, COUNTER_HANDSHAKES, TLS_VERSION_COUNT * TLS_RESULT_COUNT);

	for (enum tls_version v = 0; failed && v < TLS_VERSION_COUNT; v++)
		sum -= stats->values[stats_handshake(v, TLS_RESULT_SUCCESS)];
	return sum;
}
