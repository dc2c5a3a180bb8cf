#include "ackd/worker/plan.h"

#include <stdlib.h>
#include <string.h>

struct worker_plan *worker_plan_create(struct config *config, struct counters **counters,
				       size_t n_sockets)
{
	struct worker_plan *plan = calloc(1, sizeof(*plan) + n_sockets * sizeof(plan->sockets[0]));

	if (!plan)
		return NULL;
	list_init(&plan->acceptors);
	plan->config = config_ref(config);
	plan->counters = counters;
	plan->listeners = calloc(config->n_listeners, sizeof(struct listener *));
	if (!plan->listeners)
		goto fail;
	for (size_t i = 0; i < config->n_listeners; i++) {
		plan->listeners[i] = aligned_alloc(STATS_CACHE_LINE, sizeof(struct listener));
		if (!plan->listeners[i])
			goto fail;
		memset(plan->listeners[i], 0, sizeof(struct listener));
	}
	for (size_t i = 0; i < n_sockets; i++) {
		struct acceptor *acceptor = calloc(1, sizeof(*acceptor));

		if (!acceptor)
			goto fail;
		list_append(&plan->acceptors, &acceptor->node);
	}
	return plan;

fail:
	worker_plan_destroy(plan);
	return NULL;
}

void worker_plan_destroy(struct worker_plan *plan)
{
	struct acceptor *acceptor, *after;

	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_restored; i++)
		takeover_release(&plan->restored[i].from);
	free(plan->restored);
	for (size_t i = 0; plan->listeners && i < plan->config->n_listeners; i++)
		free(plan->listeners[i]);
	free(plan->listeners);
	list_for_each_safe (acceptor, after, &plan->acceptors, node)
		free(acceptor);
	config_unref(plan->config);
	free(plan);
}
