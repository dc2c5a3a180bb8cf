#pragma once

/*
 * One thread with one loop; its connections never leave it. Workers share only the immutable
 * configuration and struct limits. The main thread sends orders, as a set of bits, and plans.
 */

#include "ackd/conn/reactor.h"
#include "ackd/worker/plan.h"

#include <stdatomic.h>
#include <uv.h>

struct worker {
	_Alignas(STATS_CACHE_LINE) unsigned index; /* no cache line is shared between workers */
	uint64_t busy_poll_ns; /* how long to poll after an event; 0: sleep immediately */
	struct reactor reactor;
	uv_thread_t thread;
	uv_async_t async;
	struct acceptor *acceptors;
	bool draining;

	/* between the main thread and this one */
	struct worker_plan
		*plan; /* of WORKER_OPEN, and of WORKER_APPLY or WORKER_FORGET after it */
	struct handover *handover; /* of WORKER_HAND_OVER; one worker at a time uses it */
	_Atomic unsigned orders;   /* set of enum worker_order; their parameters are stored first */
	_Atomic uint64_t turns;	   /* how often the loop has answered WORKER_TURN */
	void (*on_done)(void *data, struct worker *worker, unsigned order, int status);
	void *on_done_data;
};

enum worker_order {
	WORKER_TURN = 1 << 0,	   /* show that the loop turns */
	WORKER_OPEN = 1 << 1,	   /* open the new sockets of the plan */
	WORKER_APPLY = 1 << 2,	   /* carry out the open plan */
	WORKER_FORGET = 1 << 3,	   /* destroy the plan */
	WORKER_DRAIN = 1 << 4,	   /* stop accepting, finish connections, end the thread */
	WORKER_HAND_OVER = 1 << 5, /* stop accepting, hand over connections, end the thread */
	WORKER_STOP = 1 << 6,	   /* close everything, end the thread */
	WORKER_CLOSE = 1 << 7,	   /* close the retired acceptors */
};

/*
 * Initializes the worker @index without a thread; until worker_start() the caller runs its loop.
 * Returns 0 or a libuv error.
 *
 * @on_done is called in the thread that runs the loop: for WORKER_OPEN with its result (0 or a
 * libuv error), for WORKER_APPLY, WORKER_FORGET and WORKER_CLOSE when carried out, for WORKER_DRAIN
 * when accepting has stopped, for WORKER_HAND_OVER when all connections have been handed over, and
 * with order 0 when the thread is about to end.
 */
int worker_init(struct worker *worker, unsigned index, struct limits *limits, uint64_t busy_poll_us,
		void (*on_done)(void *data, struct worker *worker, unsigned order, int status),
		void *data);

/* Starts the thread, which runs the loop. Returns 0 or a libuv error. Main thread. */
int worker_start(struct worker *worker);

/* Releases a worker that has no thread, connections or acceptors. */
void worker_finish(struct worker *worker);

/*
 * Orders WORKER_OPEN and gives @plan to the worker. WORKER_APPLY or WORKER_FORGET must follow. Main
 * thread.
 */
void worker_open(struct worker *worker, struct worker_plan *plan);

/* Orders WORKER_HAND_OVER. The worker uses @handover until it is done. Main thread. */
void worker_hand_over(struct worker *worker, struct handover *handover);

/* Gives an order. Main thread. */
void worker_order(struct worker *worker, enum worker_order order);

/* Returns the CPU time that the thread has used, or 0 if unknown. Main thread. */
uint64_t worker_cpu_ns(const struct worker *worker);

/* Waits for the end of the thread and releases everything. Main thread. */
void worker_join(struct worker *worker);
