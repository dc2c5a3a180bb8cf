#include "ackd/worker/worker.h"

#include "ackd/conn/conn.h"
#include "ackd/conn/handover.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <time.h>

/*
 * The data that a worker writes per message is in its struct worker, its listeners, its counters
 * and memory allocated by its own thread. No other thread uses these cache lines.
 */
static_assert(alignof(struct worker) == STATS_CACHE_LINE, "workers share a cache line");
static_assert(alignof(struct listener) == STATS_CACHE_LINE, "listeners share a cache line");
static_assert(alignof(struct counters) == STATS_CACHE_LINE, "counters share a cache line");
static_assert(TURN_BUFFER_BYTES % STATS_CACHE_LINE == 0, "read buffers share a cache line");

static struct worker *worker_of(struct reactor *reactor)
{
	return (struct worker *)((char *)reactor - offsetof(struct worker, reactor));
}

/* Ends the pauses of acceptors that are over. Returns the milliseconds until the next one ends. */
static uint64_t on_timer(struct reactor *reactor)
{
	struct worker *worker = worker_of(reactor);
	uint64_t next_ms = UINT64_MAX;

	for (struct acceptor *a = worker->acceptors; a; a = a->next) {
		uint64_t ms = acceptor_expire(a, uv_now(&reactor->loop));

		next_ms = ms < next_ms ? ms : next_ms;
	}
	return next_ms;
}

/* ---- the end ---- */

static void worker_forget_plan(struct worker *worker)
{
	worker_plan_destroy(worker->plan);
	worker->plan = NULL;
}

/* @handover determines which accept queues outlive this process; NULL: none in addition. */
static void worker_close_acceptors(struct worker *worker, const struct handover *handover)
{
	worker_forget_plan(worker);
	while (worker->acceptors) {
		struct acceptor *next = worker->acceptors->next;

		if (handover && !handover_closes(handover, worker->acceptors->fd))
			worker->acceptors->passed = true;
		acceptor_close(worker->acceptors);
		worker->acceptors = next;
	}
}

/* Ends the thread once it has no connection: the loop stops when its last handle is closed. */
static void worker_check_end(struct worker *worker)
{
	if (!worker->draining || worker->reactor.connections > 0 ||
	    uv_is_closing((uv_handle_t *)&worker->async))
		return;
	uv_close((uv_handle_t *)&worker->async, NULL);
	reactor_close(&worker->reactor);
}

static void on_empty(struct reactor *reactor)
{
	worker_check_end(worker_of(reactor));
}

static void conn_shut(struct conn *c)
{
	conn_close(c, CONN_SHUTDOWN);
}

static void worker_end(struct worker *worker, void (*how)(struct conn *c))
{
	worker->draining = true;
	worker_close_acceptors(worker, NULL);
	reactor_for_each(&worker->reactor, how);
	worker_check_end(worker);
}

/* ---- hand-over ---- */

/*
 * Hands over one segment per loop iteration, whose end frees the connections in it. The remaining
 * connections are served in between.
 */
static void worker_end_by_hand_over(struct worker *worker)
{
	worker_close_acceptors(worker, worker->handover);
	if (reactor_hand_over(&worker->reactor, worker->handover)) {
		worker_order(worker, WORKER_HAND_OVER);
		return;
	}
	worker->draining = true;
	worker->on_done(worker->on_done_data, worker, WORKER_HAND_OVER, 0);
	worker_check_end(worker);
}

void worker_hand_over(struct worker *worker, struct handover *handover)
{
	worker->handover = handover;
	worker_order(worker, WORKER_HAND_OVER);
}

/* ---- orders ---- */

static void worker_close_retired(struct worker *worker)
{
	struct acceptor **link = &worker->acceptors;

	while (*link) {
		struct acceptor *a = *link;

		if (!a->retired) {
			link = &a->next;
			continue;
		}
		*link = a->next;
		acceptor_close(a);
	}
}

/* Carries out the orders about plans. An order that ends the worker always follows them. */
static void worker_see_to_plan(struct worker *worker, unsigned orders)
{
	if (orders & WORKER_CLOSE) {
		worker_close_retired(worker);
		worker->on_done(worker->on_done_data, worker, WORKER_CLOSE, 0);
	}
	if (orders & WORKER_OPEN)
		worker->on_done(worker->on_done_data, worker, WORKER_OPEN,
				worker_plan_open(worker->plan, worker));
	if (orders & WORKER_APPLY)
		worker_plan_carry_out(worker->plan, worker);
	if (orders & (WORKER_APPLY | WORKER_FORGET)) {
		worker_forget_plan(worker);
		worker->on_done(worker->on_done_data, worker,
				orders & (WORKER_APPLY | WORKER_FORGET), 0);
	}
}

static void on_async(uv_async_t *async)
{
	struct worker *worker = async->data;
	unsigned orders = atomic_exchange(&worker->orders, 0);

	turn_answer(&worker->reactor);
	if (orders & WORKER_TURN)
		atomic_fetch_add_explicit(&worker->turns, 1, memory_order_relaxed);
	worker_see_to_plan(worker, orders);
	if (orders & WORKER_DRAIN) {
		worker_end(worker, conn_drain);
		worker->on_done(worker->on_done_data, worker, WORKER_DRAIN, 0);
	}
	if (orders & WORKER_HAND_OVER)
		worker_end_by_hand_over(worker);
	if (orders & WORKER_STOP)
		worker_end(worker, conn_shut);
}

void worker_order(struct worker *worker, enum worker_order order)
{
	atomic_fetch_or(&worker->orders, order);
	uv_async_send(&worker->async);
}

void worker_open(struct worker *worker, struct worker_plan *plan)
{
	worker->plan = plan;
	worker_order(worker, WORKER_OPEN);
}

/* ---- the thread ---- */

/* Polls without sleeping until nothing has happened for busy_poll. */
static void worker_poll_busily(struct worker *worker)
{
	uint64_t until_ns = uv_hrtime() + worker->busy_poll_ns;
	uint64_t n_events = worker->reactor.n_events;

	while (uv_run(&worker->reactor.loop, UV_RUN_NOWAIT) && uv_hrtime() < until_ns) {
		if (worker->reactor.n_events == n_events)
			continue;
		n_events = worker->reactor.n_events;
		until_ns = uv_hrtime() + worker->busy_poll_ns;
	}
}

static void worker_loop(struct worker *worker)
{
	uint64_t n_events;

	if (worker->busy_poll_ns == 0) {
		uv_run(&worker->reactor.loop, UV_RUN_DEFAULT);
		return;
	}
	do {
		n_events = worker->reactor.n_events;
		if (!uv_run(&worker->reactor.loop, UV_RUN_ONCE))
			return;
		if (worker->reactor.n_events != n_events)
			worker_poll_busily(worker);
	} while (uv_loop_alive(&worker->reactor.loop));
}

static void worker_run(void *data)
{
	struct worker *worker = data;

	/*
	 * Workers are never cancelled. With this cancel type recv() and send() need not switch it,
	 * which takes four locked instructions per message in glibc before 2.41.
	 */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL); // NOLINT(cert-pos47-c)
	worker_loop(worker);
	worker->on_done(worker->on_done_data, worker, 0, 0);
}

/* The thread starts with all signals blocked, because the main thread handles them. */
int worker_start(struct worker *worker)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = uv_thread_create(&worker->thread, worker_run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int worker_init(struct worker *worker, unsigned index, struct limits *limits, uint64_t busy_poll_us,
		void (*on_done)(void *data, struct worker *worker, unsigned order, int status),
		void *data)
{
	int r;

	*worker = (struct worker){
		.index = index,
		.busy_poll_ns = busy_poll_us * 1000,
		.on_done = on_done,
		.on_done_data = data,
	};
	r = reactor_init(&worker->reactor, limits);
	if (r < 0)
		return r;
	worker->reactor.on_timer = on_timer;
	worker->reactor.on_empty = on_empty;
	r = uv_async_init(&worker->reactor.loop, &worker->async, on_async);
	if (r < 0) {
		reactor_close(&worker->reactor);
		uv_run(&worker->reactor.loop, UV_RUN_DEFAULT);
		reactor_finish(&worker->reactor);
		return r;
	}
	worker->async.data = worker;
	return 0;
}

void worker_finish(struct worker *worker)
{
	if (!uv_is_closing((uv_handle_t *)&worker->async)) {
		uv_close((uv_handle_t *)&worker->async, NULL);
		reactor_close(&worker->reactor);
	}
	uv_run(&worker->reactor.loop, UV_RUN_DEFAULT);
	reactor_finish(&worker->reactor);
}

uint64_t worker_cpu_ns(const struct worker *worker)
{
	struct timespec used;
	clockid_t clock;

	if (pthread_getcpuclockid(worker->thread, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void worker_join(struct worker *worker)
{
	uv_thread_join(&worker->thread);
	worker_finish(worker);
}
