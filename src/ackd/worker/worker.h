#pragma once

/*
 * One thread with one loop; its connections never leave it. Workers share only the immutable
 * configuration and struct limits.
 *
 * The main thread gives orders. An order stays in the worker's set until the worker has carried it
 * out. The end of the thread is a sequence of phases. The main thread reads both, and on_news wakes
 * it when one of them has changed.
 */

#include "ackd/conn/reactor.h"
#include "ackd/worker/plan.h"
#include "base/states.h"

#include <stdatomic.h>
#include <uv.h>

enum worker_order {
	WORKER_TURN = 1 << 0,	       /* show that the loop turns */
	WORKER_CLOSE_RETIRED = 1 << 1, /* close the retired acceptors */
	WORKER_APPLY = 1 << 2,	       /* carry out the plan */
	WORKER_DRAIN = 1 << 3,	       /* stop accepting, finish connections, end the thread */
	WORKER_HAND_OVER = 1 << 4,     /* stop accepting, hand over connections, end the thread */
	WORKER_STOP = 1 << 5,	       /* close everything, end the thread */
};

enum worker_phase {
	WORKER_SERVING,	     /* accepts on the sockets of its plan */
	WORKER_HANDING_OVER, /* has closed its acceptors, and hands over its connections */
	WORKER_DRAINING,     /* has closed its acceptors, and ends with its last connection */
	WORKER_ENDED,	     /* has no connection; its loop and its thread end */
};

extern const struct state_row worker_phases[];

/* The phases in which no acceptor is left, and no connection to hand over. */
#define WORKER_LEAVES (STATES_BIT(WORKER_DRAINING) | STATES_BIT(WORKER_ENDED))

struct worker {
	_Alignas(STATS_CACHE_LINE) unsigned index; /* no cache line is shared between workers */
	uint64_t busy_poll_ns; /* how long to poll after an event; 0: sleep immediately */
	struct reactor reactor;
	uv_thread_t thread;
	uv_async_t async;
	struct list acceptors;

	/* between the main thread and this one */
	struct worker_plan *plan;  /* of WORKER_APPLY */
	struct handover *handover; /* of WORKER_HAND_OVER; one worker at a time uses it */
	_Atomic unsigned orders;   /* set of enum worker_order; their parameters are stored first */
	_Atomic uint8_t phase;	   /* enum worker_phase; only the worker changes it */
	void (*on_news)(void *data);
	void *data;
};

/*
 * Initializes the worker @index without a thread; until worker_start() the caller runs its loop.
 * @on_news is called in the thread that runs the loop, when the worker has carried out an order
 * other than WORKER_TURN and when it has entered another phase. Returns 0 or a libuv error.
 */
int worker_init(struct worker *worker, unsigned index, struct limits *limits, uint64_t busy_poll_us,
		void (*on_news)(void *data), void *data);

/* Starts the thread, which runs the loop. Returns 0 or a libuv error. Main thread. */
int worker_start(struct worker *worker);

/* Waits for the end of the thread. Main thread. */
void worker_join(struct worker *worker);

/* Releases a worker that has no thread, connections or acceptors. */
void worker_finish(struct worker *worker);

/* Gives an order. Again only when it has been carried out (except WORKER_TURN). Main thread. */
void worker_order(struct worker *worker, enum worker_order order);

/* Gives the order WORKER_APPLY with @plan, which becomes the worker's. Main thread. */
void worker_apply(struct worker *worker, struct worker_plan *plan);

/* Gives the order WORKER_HAND_OVER. The worker uses @handover until it is done. Main thread. */
void worker_hand_over(struct worker *worker, struct handover *handover);

/* Returns whether the worker has carried out @order. Main thread. */
bool worker_has_done(const struct worker *worker, enum worker_order order);

/* Returns whether the phase of the worker is one of @phases (STATES_BIT()). Main thread. */
bool worker_is_in(const struct worker *worker, uint32_t phases);

/* Returns the CPU time that the thread has used, or 0 if unknown. Main thread. */
uint64_t worker_cpu_ns(const struct worker *worker);

/* Asserts what holds in each phase of @worker. Worker thread. */
void worker_check_invariant(const struct worker *worker);
