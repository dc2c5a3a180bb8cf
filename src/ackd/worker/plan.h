#pragma once

/*
 * A configuration for one worker. The main thread creates the plan; the worker's thread opens it
 * and then carries it out. Only the first two steps can fail, and they change nothing in effect.
 */

#include "ackd/handover/handover.h"
#include "ackd/worker/acceptor.h"

struct worker;

/* A listening descriptor and the listener of the configuration that it serves. */
struct worker_socket {
	int fd;
	bool passed;  /* its accept queue outlives the process: the service manager keeps the socket
		       */
	bool retired; /* accepts until WORKER_CLOSE, for its present listener */
	size_t listener; /* index; if retired: for an acceptor without a listener, may be out of
			    range */
};

/* A connection handed over by the previous process, to be restored. */
struct worker_restored {
	struct takeover_connection from;
	size_t listener;
};

/*
 * A plan. It contains all memory that carrying it out takes, so no worker fails where another
 * succeeded.
 */
struct worker_plan {
	struct config *config;	     /* a reference */
	struct listener **listeners; /* owned: one per listener of the configuration, to begin */
	struct acceptor *acceptors;  /* owned: one per socket, to open */
	struct acceptor *opened;     /* the open ones */
	struct counters *
		*counters; /* per listener: one block per worker; the array is the server's */
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

/* Releases @plan; an opened plan only in the worker's thread. Accepts NULL. */
void worker_plan_destroy(struct worker_plan *plan);

/*
 * Opens the sockets of @plan that @worker does not have yet, without accepting. Returns 0, or a
 * libuv error, after which @plan can only be destroyed. Worker thread.
 */
int worker_plan_open(struct worker_plan *plan, struct worker *worker);

/*
 * Carries out the open @plan: its listeners begin, its sockets accept, acceptors that it does not
 * contain are closed, and connections are restored. Afterwards @plan can only be destroyed. Worker
 * thread.
 */
void worker_plan_carry_out(struct worker_plan *plan, struct worker *worker);
