#include "ackd/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct listener_stats {
	struct listener_stats *next;
	struct counters *counters;
	char name[];
};

static struct listener_stats *all;
static unsigned n_workers;

const char *refusal_name(enum refusal refusal)
{
	static const char *const names[] = {
		[REFUSAL_NONE] = "none",
		[REFUSAL_DENIED] = "denied",
		[REFUSAL_CONNECTIONS] = "too many connections",
		[REFUSAL_PER_ADDRESS] = "too many connections from this address",
		[REFUSAL_MEMORY] = "out of memory",
		[REFUSAL_PROXY] = "no valid PROXY header",
	};

	return names[refusal];
}

void stats_init(unsigned workers)
{
	n_workers = workers;
}

void stats_finish(void)
{
	while (all) {
		struct listener_stats *next = all->next;

		free(all->counters);
		free(all);
		all = next;
	}
}

static struct listener_stats *stats_find(const char *name, struct listener_stats ***ret_end)
{
	struct listener_stats **end = &all;

	while (*end && strcmp((*end)->name, name) != 0)
		end = &(*end)->next;
	*ret_end = end;
	return *end;
}

struct counters *stats_listener(const char *name)
{
	struct listener_stats **end;
	struct listener_stats *l = stats_find(name, &end);
	size_t size = n_workers * sizeof(struct counters);

	if (l)
		return l->counters;
	l = malloc(sizeof(*l) + strlen(name) + 1);
	if (!l)
		return NULL;
	l->counters = aligned_alloc(STATS_CACHE_LINE, size);
	if (!l->counters) {
		free(l);
		return NULL;
	}
	memset(l->counters, 0, size);
	strcpy(l->name, name);
	l->next = NULL;
	*end = l;
	return l->counters;
}

/* The fields of a block as an array. */
static _Atomic uint64_t *counters_array(struct counters *c)
{
	_Static_assert(offsetof(struct counters, refused) == offsetof(struct stats, refused) &&
			       sizeof(_Atomic uint64_t) == sizeof(uint64_t),
		       "both have the same fields in the same order");
	return &c->received_bytes;
}

static void stats_add(struct stats *sum, struct counters *c)
{
	_Atomic uint64_t *from = counters_array(c);
	uint64_t *to = &sum->received_bytes;

	for (size_t i = 0; i < STATS_COUNT; i++)
		to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

uint64_t stats_open(const struct stats *stats)
{
	/* one that closed while the numbers were read must not make it negative */
	return stats->connections > stats->closed ? stats->connections - stats->closed : 0;
}

int stats_carry(const char *name, const uint64_t *values, size_t n)
{
	struct counters *c = stats_listener(name);

	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < n && i < STATS_COUNT; i++)
		counter_add(&counters_array(c)[i], values[i]);
	return 0;
}

struct stats stats_sum(const char *name)
{
	struct stats sum = {0};

	for (struct listener_stats *l = all; l; l = l->next) {
		if (name && strcmp(l->name, name) != 0)
			continue;
		for (unsigned i = 0; i < n_workers; i++)
			stats_add(&sum, &l->counters[i]);
	}
	return sum;
}

const char *stats_listener_name(size_t i)
{
	struct listener_stats *l = all;

	while (l && i-- > 0)
		l = l->next;
	return l ? l->name : NULL;
}
