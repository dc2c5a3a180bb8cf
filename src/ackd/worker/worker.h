#pragma once

/*
 * One thread, one loop: connections never leave it. It shares nothing with the other workers but
 * the immutable configuration and struct limits, and takes orders from the main thread: a set of
 * them, and a plan for one.
 */

#include "ackd/conn/reactor.h"
#include "ackd/worker/plan.h"

#include <stdatomic.h>
#include <uv.h>

struct worker {
	_Alignas(STATS_CACHE_LINE) unsigned index; /* no cache line is shared between workers */
	uint64_t busy_poll_ns; /* keep polling this long after an event; 0: sleep at once */
	struct reactor reactor;
	uv_thread_t thread;
	uv_async_t async;
	struct acceptor *acceptors;
	bool draining;

	/* between the main thread and this one */
	struct worker_plan *plan;  /* of WORKER_OPEN and what follows it */
	struct handover *handover; /* of WORKER_HAND_OVER; one worker at a time has it */
	_Atomic unsigned orders;   /* set of enum worker_order; what they are about is set before */
	_Atomic uint64_t turns;	   /* how often the loop has answered WORKER_TURN */
	void (*on_done)(void *data, struct worker *worker, unsigned order, int status);
	void *on_done_data;
};

enum worker_order {
	WORKER_TURN = 1 << 0,	   /* show that the loop turns */
	WORKER_OPEN = 1 << 1,	   /* open what is new in the plan */
	WORKER_APPLY = 1 << 2,	   /* then carry it out */
	WORKER_FORGET = 1 << 3,	   /* or forget it */
	WORKER_DRAIN = 1 << 4,	   /* stop accepting, finish the connections, end the thread */
	WORKER_HAND_OVER = 1 << 5, /* stop accepting, hand over the connections, end the thread */
	WORKER_STOP = 1 << 6,	   /* close everything, end the thread */
	WORKER_CLOSE = 1 << 7,	   /* close the retired acceptors */
};

/*
 * Initializes the worker @index, without a thread: its loop is the caller's to run until
 * worker_start(). @on_done is called in the thread that runs the loop when an order was carried
 * out: WORKER_OPEN with its outcome (0 or a libuv error), WORKER_APPLY, WORKER_FORGET and
 * WORKER_CLOSE, WORKER_DRAIN when nothing is accepted any more, WORKER_HAND_OVER when all
 * connections are in the hand-over, and with order 0 when the thread is about to end. Returns 0 or
 * a libuv error.
 */
int worker_init(struct worker *worker, unsigned index, struct limits *limits, uint64_t busy_poll_us,
		void (*on_done)(void *data, struct worker *worker, unsigned order, int status),
		void *data);

/* Starts the thread, which runs the loop. Returns 0 or a libuv error. Main thread. */
int worker_start(struct worker *worker);

/* Releases a worker without a thread, which has no connections and no acceptors. */
void worker_finish(struct worker *worker);

/*
 * Orders WORKER_OPEN of @plan, which is the worker's from here on; WORKER_APPLY or WORKER_FORGET is
 * to follow. Main thread.
 */
void worker_open(struct worker *worker, struct worker_plan *plan);

/* Orders WORKER_HAND_OVER into @handover, which is the worker's until that is done. Main thread. */
void worker_hand_over(struct worker *worker, struct handover *handover);

/* Gives an order. Main thread. */
void worker_order(struct worker *worker, enum worker_order order);

/* Returns the CPU time that the thread has used, or 0 when it cannot be told. Main thread. */
uint64_t worker_cpu_ns(const struct worker *worker);

/* Waits for the end of the thread and releases everything. Main thread. */
void worker_join(struct worker *worker);
