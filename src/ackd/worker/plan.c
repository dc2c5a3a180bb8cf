#include "ackd/worker/plan.h"

#include "ackd/conn/handover.h"
#include "ackd/worker/worker.h"

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
		takeover_release(&plan->restored[i].from);
	free(plan->restored);
	for (size_t i = 0; plan->listeners && i < plan->config->n_listeners; i++)
		free(plan->listeners[i]);
	free(plan->listeners);
	while (plan->acceptors) {
		struct acceptor *next = plan->acceptors->next;

		free(plan->acceptors);
		plan->acceptors = next;
	}
	while (plan->opened) {
		struct acceptor *next = plan->opened->next;

		acceptor_close(plan->opened);
		plan->opened = next;
	}
	config_unref(plan->config);
	free(plan);
}

/* ---- the worker ---- */

static struct acceptor *acceptor_find(const struct worker *worker, int fd)
{
	struct acceptor *a = worker->acceptors;

	while (a && a->fd != fd)
		a = a->next;
	return a;
}

int worker_plan_open(struct worker_plan *plan, struct worker *worker)
{
	for (size_t i = 0; i < plan->n_sockets; i++) {
		const struct worker_socket *socket = &plan->sockets[i];
		struct acceptor *acceptor = plan->acceptors;
		int r;

		if (acceptor_find(worker, socket->fd))
			continue;
		r = acceptor_open(acceptor, &worker->reactor.loop, socket->fd, socket->passed);
		if (r < 0)
			return r;
		plan->acceptors = acceptor->next;
		acceptor->next = plan->opened;
		plan->opened = acceptor;
	}
	return 0;
}

/* Moves the open acceptors to the worker. */
static void worker_take_opened(struct worker *worker, struct worker_plan *plan)
{
	while (plan->opened) {
		struct acceptor *acceptor = plan->opened;

		plan->opened = acceptor->next;
		acceptor->next = worker->acceptors;
		worker->acceptors = acceptor;
	}
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

void worker_plan_carry_out(struct worker_plan *plan, struct worker *worker)
{
	struct listener **listeners = plan->listeners;

	worker_take_opened(worker, plan);
	for (size_t i = 0; i < plan->config->n_listeners; i++)
		listener_begin(listeners[i], &worker->reactor, plan->config,
			       &plan->config->listeners[i], &plan->counters[i][worker->index]);
	for (size_t i = 0; i < plan->n_sockets; i++) {
		const struct worker_socket *socket = &plan->sockets[i];
		struct acceptor *acceptor = acceptor_find(worker, socket->fd);

		if (!socket->retired ||
		    (!acceptor->listener && socket->listener < plan->config->n_listeners))
			acceptor_serve(acceptor, listeners[socket->listener]);
		acceptor->retired = socket->retired;
		acceptor->kept = true;
	}
	worker_close_unkept(worker);
	for (struct acceptor *a = worker->acceptors; a; a = a->next)
		a->kept = false;
	for (size_t i = 0; i < plan->n_restored; i++) {
		struct worker_restored *restored = &plan->restored[i];
		struct state_connection state = state_read(restored->from.connection);

		conn_restore(listeners[restored->listener], restored->from.fd, &state);
		restored->from.fd = -1;
		takeover_release(&restored->from);
	}
	for (size_t i = 0; i < plan->config->n_listeners; i++) {
		listener_unref(listeners[i]); /* its acceptors keep it */
		listeners[i] = NULL;
	}
}
