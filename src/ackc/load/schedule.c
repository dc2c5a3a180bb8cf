/*
 * The schedule of a load with a rate. Slot s is due s intervals after the start. It belongs to
 * message s / connections of connection s % connections. The messages due at a time are therefore
 * computed, not counted, and an unattainable rate costs nothing.
 *
 * A connection that has sent everything due waits in a heap, ordered by its next slot, until the
 * ticker fires for it. A connection that is behind is not in the heap: its next reply makes it
 * send. The work is therefore proportional to the number of messages sent.
 */

#include "ackc/load/internal.h"

#include <stdlib.h>

static uint64_t slot_ns(const struct load_plan *plan, uint64_t slot)
{
	return plan->start_ns + (uint64_t)((double)slot * plan->interval_ns);
}

uint64_t load_due_ns(const struct load_plan *plan, uint32_t id, uint64_t index)
{
	return slot_ns(plan, index * plan->options->connections + id);
}

uint64_t load_due_count(const struct load_plan *plan, uint32_t id, uint64_t now_ns)
{
	uint64_t connections = plan->options->connections;
	uint64_t slots;

	if (now_ns < plan->start_ns)
		return 0;
	slots = (uint64_t)((double)(now_ns - plan->start_ns) / plan->interval_ns);
	/* Rounding may be off by one in either direction. */
	while (slot_ns(plan, slots) <= now_ns)
		slots++;
	while (slots > 0 && slot_ns(plan, slots - 1) > now_ns)
		slots--;
	return slots > id ? (slots - id + connections - 1) / connections : 0;
}

int load_schedule_init(struct load_schedule *s, unsigned n)
{
	*s = (struct load_schedule){.heap = calloc(n, sizeof(struct load_connection *))};
	return s->heap ? 0 : UV_ENOMEM;
}

void load_schedule_finish(struct load_schedule *s)
{
	free(s->heap);
	s->heap = NULL;
}

static void place(struct load_schedule *s, unsigned at, struct load_connection *c)
{
	while (at > 0 && s->heap[(at - 1) / 2]->slot > c->slot) {
		s->heap[at] = s->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	s->heap[at] = c;
}

void load_schedule_add(struct load_schedule *s, struct load_connection *c)
{
	if (c->scheduled)
		return;
	c->scheduled = true;
	c->slot = c->sent * c->worker->plan->options->connections + c->id;
	place(s, s->n++, c);
}

uint64_t load_schedule_next_ns(const struct load_schedule *s)
{
	return s->n ? slot_ns(s->heap[0]->worker->plan, s->heap[0]->slot) : UINT64_MAX;
}

struct load_connection *load_schedule_take(struct load_schedule *s, uint64_t now_ns)
{
	struct load_connection *first;
	struct load_connection *last;
	unsigned at = 0;

	if (load_schedule_next_ns(s) > now_ns)
		return NULL;
	first = s->heap[0];
	last = s->heap[--s->n];
	for (unsigned child = 1; child < s->n; child = 2 * at + 1) {
		if (child + 1 < s->n && s->heap[child + 1]->slot < s->heap[child]->slot)
			child++;
		if (s->heap[child]->slot >= last->slot)
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	s->heap[at] = last;
	first->scheduled = false;
	return first;
}
