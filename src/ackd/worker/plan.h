#pragma once

/*
 * A configuration for one worker: what it listens to from now on. The main thread creates the plan;
 * the worker carries it out, which cannot fail, because the plan contains all memory that it takes.
 */

#include "ackd/handover/handover.h"
#include "ackd/worker/acceptor.h"

/* A listening descriptor and the listener of the configuration that it serves. */
struct worker_socket {
	int fd;
	bool passed;	 /* see struct acceptor */
	bool retired;	 /* accepts until WORKER_CLOSE_RETIRED, for its present listener if any */
	size_t listener; /* index; out of range: a retired socket that no listener succeeds */
};

/* A connection handed over by the previous process, to be restored. */
struct worker_restored {
	struct takeover_connection from;
	size_t listener;
};

struct worker_plan {
	struct config *config;	     /* a reference */
	struct listener **listeners; /* owned: one per listener of the configuration, to begin */
	struct list acceptors;	     /* owned: one per socket, to open */
	struct counters **counters;  /* per listener: one block per worker; the server's array */
	struct worker_restored *restored; /* owned */
	size_t n_restored;
	size_t n_sockets;
	struct worker_socket sockets[];
};

/*
 * Creates a plan with room for @n_sockets, which the caller adds. Takes a reference to @config.
 * Returns NULL when out of memory.
 */
struct worker_plan *worker_plan_create(struct config *config, struct counters **counters,
				       size_t n_sockets);

/* Releases what is left of @plan. Any thread. Accepts NULL. */
void worker_plan_destroy(struct worker_plan *plan);
