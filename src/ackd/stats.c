#include "ackd/stats.h"

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

static uint64_t counter_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void stats_add(struct stats *sum, const struct counters *c)
{
	/* closed first: a connection that closes in between must not make open negative */
	uint64_t closed = counter_read(&c->closed);
	uint64_t connections = counter_read(&c->connections);

	sum->received_bytes += counter_read(&c->received_bytes);
	sum->sent_bytes += counter_read(&c->sent_bytes);
	sum->messages += counter_read(&c->messages);
	sum->connections += connections;
	sum->open += connections > closed ? connections - closed : 0;
	sum->accept_errors += counter_read(&c->accept_errors);
	for (size_t i = 0; i < NAK_REASON_COUNT; i++)
		sum->naks[i] += counter_read(&c->naks[i]);
	for (size_t i = 0; i < REFUSAL_COUNT; i++)
		sum->refused[i] += counter_read(&c->refused[i]);
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
