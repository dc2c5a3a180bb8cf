#include "ackd/worker_plan.h"

#include "ackd/worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the main thread ---- */

struct worker_plan *worker_plan_create(struct config *config, struct counters **counters,
				       size_t n_sockets)
{
	struct worker_plan *plan = calloc(1, sizeof(*plan) + n_sockets * sizeof(plan->sockets[0]));

	if (!plan)
		return NULL;
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
		acceptor->next = plan->acceptors;
		plan->acceptors = acceptor;
	}
	return plan;

fail:
	worker_plan_destroy(plan);
	return NULL;
}

void worker_plan_destroy(struct worker_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_restored; i++)
		if (plan->restored[i].fd >= 0)
			close(plan->restored[i].fd);
	free(plan->restored);
	for (size_t i = 0; plan->listeners && i < plan->config->n_listeners; i++)
		free(plan->listeners[i]);
	free(plan->listeners);
	while (plan->acceptors) {
		struct acceptor *next = plan->acceptors->next;

		free(plan->acceptors);
		plan->acceptors = next;
	}
	config_unref(plan->config);
	free(plan);
}

/* ---- the worker ---- */

static struct acceptor *acceptor_find(struct worker *worker, int fd)
{
	struct acceptor *a = worker->acceptors;

	while (a && a->fd != fd)
		a = a->next;
	return a;
}

/* Accepts from a socket for @listener from here on, whether or not it did already. */
static int worker_accept_from(struct worker *worker, const struct worker_socket *from,
			      struct listener *listener, struct acceptor **spare)
{
	struct acceptor *acceptor = acceptor_find(worker, from->fd);
	int r;

	if (acceptor) {
		acceptor_move(acceptor, listener);
	} else {
		acceptor = *spare;
		r = acceptor_open(acceptor, listener, from->fd, from->passed);
		if (r < 0)
			return r;
		*spare = acceptor->next;
		acceptor->next = worker->acceptors;
		worker->acceptors = acceptor;
	}
	acceptor->kept = true;
	return 0;
}

static void worker_close_unkept(struct worker *worker)
{
	struct acceptor **link = &worker->acceptors;

	while (*link) {
		struct acceptor *a = *link;

		if (a->kept) {
			link = &a->next;
		} else {
			*link = a->next;
			acceptor_close(a);
		}
	}
}

int worker_plan_carry_out(struct worker_plan *plan, struct worker *worker)
{
	struct listener **listeners = plan->listeners;
	int r = 0;

	for (size_t i = 0; i < plan->config->n_listeners; i++)
		listener_begin(listeners[i], worker, plan->config, &plan->config->listeners[i],
			       &plan->counters[i][worker->index]);
	for (size_t i = 0; i < plan->n_sockets && r == 0; i++)
		r = worker_accept_from(worker, &plan->sockets[i],
				       listeners[plan->sockets[i].listener], &plan->acceptors);
	if (r == 0)
		worker_close_unkept(worker);
	for (struct acceptor *a = worker->acceptors; a; a = a->next)
		a->kept = false;
	for (size_t i = 0; i < plan->n_restored && r == 0; i++) {
		struct worker_restored *restored = &plan->restored[i];

		conn_restore(listeners[restored->listener], restored->fd, &restored->state);
		restored->fd = -1;
	}
	for (size_t i = 0; i < plan->config->n_listeners; i++) {
		listener_unref(listeners[i]); /* its acceptors keep it */
		listeners[i] = NULL;
	}
	return r;
}
