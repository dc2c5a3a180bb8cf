#pragma once

/*
 * A configuration as one worker is to put it into effect: made by the main thread, opened and then
 * carried out in the worker's. What can fail is in the first of these steps, which changes nothing.
 */

#include "ackd/handover/handover.h"
#include "ackd/worker/acceptor.h"

struct worker;

/* What a worker accepts from: descriptor @fd for the listener @listener of the configuration. */
struct worker_socket {
	int fd;
	bool passed;	 /* its queue outlives us: the service manager keeps the socket */
	bool retired;	 /* accepted from until WORKER_CLOSE, for the listener that it has */
	size_t listener; /* of a retired socket: for an acceptor that has none yet; may be none */
};

/* A connection of the process before, to go on with. */
struct worker_restored {
	struct takeover_connection from;
	size_t listener;
};

/*
 * A configuration for one worker. All memory that carrying it out takes is in it, so that no worker
 * fails where another did not.
 */
struct worker_plan {
	struct config *config;	     /* a reference */
	struct listener **listeners; /* the plan's: one for each of the configuration, to begin */
	struct acceptor *acceptors;  /* the plan's: one for each socket, to open */
	struct acceptor *opened;     /* those of them that are */
	struct counters **counters;  /* per listener: this worker's block; the server's array */
	struct worker_restored *restored; /* the plan's */
	size_t n_restored;
	size_t n_sockets;
	struct worker_socket sockets[];
};

/*
 * Makes a plan with room for @n_sockets, which are to be added. Takes a reference to @config. NULL:
 * out of memory.
 */
struct worker_plan *worker_plan_create(struct config *config, struct counters **counters,
				       size_t n_sockets);

/* Releases @plan; one that has been opened in the worker's thread. Accepts NULL. */
void worker_plan_destroy(struct worker_plan *plan);

/*
 * Opens the sockets of @plan that @worker does not have yet: nothing is accepted from them. Returns
 * 0, or a libuv error and the plan is only to be destroyed. Worker thread.
 */
int worker_plan_open(struct worker_plan *plan, struct worker *worker);

/*
 * Carries out @plan, which is open: its listeners begin, their sockets are accepted from, what is
 * no longer in it ends, and connections are taken up. It is only to be destroyed then. Worker
 * thread.
 */
void worker_plan_carry_out(struct worker_plan *plan, struct worker *worker);
