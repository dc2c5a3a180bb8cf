#include "ackd/worker.h"

#include "ackd/conn_internal.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <time.h>

/*
 * What a worker writes to for a message lies in its struct worker, its listeners, its counters, and
 * what its own thread allocates: no cache line of these is another thread's.
 */
static_assert(alignof(struct worker) == STATS_CACHE_LINE, "workers share a cache line");
static_assert(alignof(struct listener) == STATS_CACHE_LINE, "listeners share a cache line");
static_assert(alignof(struct counters) == STATS_CACHE_LINE, "counters share a cache line");
static_assert(TURN_BUFFER_BYTES % STATS_CACHE_LINE == 0, "read buffers share a cache line");

/* ---- time ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void acceptors_resume(struct worker *worker)
{
	worker->accept_paused = false;
	for (struct acceptor *a = worker->acceptors; a; a = a->next)
		if (a->paused)
			acceptor_resume(a);
}

static void on_timer(uv_timer_t *timer)
{
	struct worker *worker = timer->data;
	uint64_t now_ms = uv_now(&worker->loop);
	uint64_t next_ms = UINT64_MAX;

	worker->timer_at_ms = UINT64_MAX;
	for (struct listener *l = worker->listeners; l; l = l->next)
		next_ms = min_u64(next_ms, conn_queue_expire(&l->idle, now_ms));
	next_ms = min_u64(next_ms, conn_queue_expire(&worker->lingering, now_ms));
	next_ms = min_u64(next_ms, conn_queue_expire(&worker->waiting, now_ms));
	if (worker->accept_paused) {
		if (now_ms >= worker->accept_resume_ms)
			acceptors_resume(worker);
		else
			next_ms = min_u64(next_ms, worker->accept_resume_ms - now_ms);
	}
	if (next_ms != UINT64_MAX)
		worker_wake_in(worker, next_ms);
}

void worker_wake_in(struct worker *worker, uint64_t ms)
{
	uint64_t at_ms = uv_now(&worker->loop) + ms;

	if (at_ms >= worker->timer_at_ms)
		return;
	worker->timer_at_ms = at_ms;
	uv_timer_start(&worker->timer, on_timer, ms, 0);
}

/* ---- the end ---- */

static void worker_forget_plan(struct worker *worker)
{
	worker_plan_destroy(worker->plan);
	worker->plan = NULL;
}

/* @handover: NULL, or what says which queues outlive this process. */
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

/* Ends the thread once it has no connection: with its last handle closed, the loop stops. */
static void worker_check_end(struct worker *worker)
{
	if (!worker->draining || worker->connections > 0 ||
	    uv_is_closing((uv_handle_t *)&worker->async))
		return;
	uv_close((uv_handle_t *)&worker->async, NULL);
	uv_close((uv_handle_t *)&worker->timer, NULL);
	uv_close((uv_handle_t *)&worker->check, NULL);
}

void worker_conn_opened(struct worker *worker)
{
	worker->connections++;
}

void worker_conn_closed(struct worker *worker)
{
	worker->connections--;
	worker_check_end(worker);
}

static void for_each_conn(struct worker *worker, void (*f)(struct conn *c))
{
	struct conn_queue *queues[] = {&worker->lingering, &worker->waiting};
	struct conn *next;

	for (struct listener *l = worker->listeners; l; l = l->next)
		for (struct conn *c = l->idle.first; c; c = next) {
			next = c->next;
			f(c);
		}
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++)
		for (struct conn *c = queues[i]->first; c; c = next) {
			next = c->next;
			f(c);
		}
}

static void conn_shut(struct conn *c)
{
	conn_close(c, CONN_SHUTDOWN);
}

static void worker_end(struct worker *worker, void (*how)(struct conn *c))
{
	worker->draining = true;
	worker_close_acceptors(worker, NULL);
	for_each_conn(worker, how);
	worker_check_end(worker);
}

/* ---- hand-over ---- */

/* Hands over the connections of one segment. Returns whether there may be more. */
static bool hand_over_segment(struct worker *worker)
{
	struct conn_queue *queues[] = {&worker->lingering, &worker->waiting};
	struct handover *handover = worker->handover;
	struct conn_batch batch = {.n = 0};
	bool full = false;

	for (struct listener *l = worker->listeners; l && !full; l = l->next)
		full = conn_queue_hand_over(&l->idle, handover, &batch);
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]) && !full; i++)
		full = conn_queue_hand_over(queues[i], handover, &batch);
	conn_batch_send(&batch, handover);
	return full;
}

/*
 * A segment for each turn of the loop, which frees the connections that were in it. Between turns
 * the others are served as ever.
 */
static void worker_end_by_hand_over(struct worker *worker)
{
	worker_close_acceptors(worker, worker->handover);
	if (hand_over_segment(worker)) {
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

/* What ends the worker is ordered later than any of these. */
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

	conn_answer_turn(worker);
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

/* All sockets that were ready have been read from. */
static void on_check(uv_check_t *check)
{
	conn_answer_turn(check->data);
}

/* Polls without sleeping until nothing has happened for busy_poll. */
static void worker_poll_busily(struct worker *worker)
{
	uint64_t until_ns = uv_hrtime() + worker->busy_poll_ns;
	uint64_t n_events = worker->n_events;

	while (uv_run(&worker->loop, UV_RUN_NOWAIT) && uv_hrtime() < until_ns) {
		if (worker->n_events == n_events)
			continue;
		n_events = worker->n_events;
		until_ns = uv_hrtime() + worker->busy_poll_ns;
	}
}

static void worker_loop(struct worker *worker)
{
	uint64_t n_events;

	if (worker->busy_poll_ns == 0) {
		uv_run(&worker->loop, UV_RUN_DEFAULT);
		return;
	}
	do {
		n_events = worker->n_events;
		if (!uv_run(&worker->loop, UV_RUN_ONCE))
			return;
		if (worker->n_events != n_events)
			worker_poll_busily(worker);
	} while (uv_loop_alive(&worker->loop));
}

static void worker_run(void *data)
{
	struct worker *worker = data;

	/*
	 * Nobody cancels a worker. With this type recv() and send() need not switch to it and back,
	 * which in glibc before 2.41 takes four locked instructions a message.
	 */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL); // NOLINT(cert-pos47-c)
	worker_loop(worker);
	worker->on_done(worker->on_done_data, worker, 0, 0);
}

/* Signals are the main thread's business: starts the thread with all of them blocked. */
static int worker_start_thread(struct worker *worker)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = uv_thread_create(&worker->thread, worker_run, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int worker_start(struct worker *worker, unsigned index, struct limits *limits,
		 uint64_t busy_poll_us,
		 void (*on_done)(void *data, struct worker *worker, unsigned order, int status),
		 void *data)
{
	int r;

	*worker = (struct worker){
		.index = index,
		.limits = limits,
		.busy_poll_ns = busy_poll_us * 1000,
		.timer_at_ms = UINT64_MAX,
		.lingering.timeout_ms = LINGER_MS,
		.waiting.timeout_ms = PROXY_MS,
		.on_done = on_done,
		.on_done_data = data,
	};
	worker->turn.buffer = aligned_alloc(TURN_ALIGNMENT, TURN_BUFFER_BYTES);
	if (!worker->turn.buffer)
		return UV_ENOMEM;
	r = session_io_init(&worker->io, &limits->budget);
	if (r < 0)
		goto free_buffer;
	worker->io.on_nak = conn_on_nak;
	r = uv_loop_init(&worker->loop);
	if (r < 0)
		goto finish_io;
	r = uv_async_init(&worker->loop, &worker->async, on_async);
	if (r < 0)
		goto close_loop;
	worker->async.data = worker;
	uv_timer_init(&worker->loop, &worker->timer);
	worker->timer.data = worker;
	uv_check_init(&worker->loop, &worker->check);
	uv_check_start(&worker->check, on_check);
	uv_unref((uv_handle_t *)&worker->check);
	worker->check.data = worker;
	r = worker_start_thread(worker);
	if (r < 0)
		goto close_handles;
	return 0;

close_handles:
	uv_close((uv_handle_t *)&worker->timer, NULL);
	uv_close((uv_handle_t *)&worker->check, NULL);
	uv_close((uv_handle_t *)&worker->async, NULL);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
close_loop:
	uv_loop_close(&worker->loop);
finish_io:
	session_io_finish(&worker->io);
free_buffer:
	free(worker->turn.buffer);
	return r;
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
	uv_loop_close(&worker->loop);
	session_io_finish(&worker->io);
	free(worker->turn.buffer);
}
