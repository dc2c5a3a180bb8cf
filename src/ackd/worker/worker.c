#include "ackd/worker/worker.h"

#include "ackd/conn/conn.h"
#include "ackd/conn/handover.h"
#include "base/thread.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>

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
static uint64_t on_tick(struct reactor *reactor)
{
	struct worker *worker = worker_of(reactor);
	uint64_t next_ms = UINT64_MAX;
	struct acceptor *a;

	list_for_each (a, &worker->acceptors, node) {
		uint64_t ms = acceptor_expire(a, uv_now(&reactor->loop));

		next_ms = ms < next_ms ? ms : next_ms;
	}
	return next_ms;
}

/* ---- phases ---- */

const struct state_row worker_phases[] = {
	[WORKER_SERVING] = {"serving",
			    STATES_BIT(WORKER_HANDING_OVER) | STATES_BIT(WORKER_DRAINING)},
	[WORKER_HANDING_OVER] = {"handing over", STATES_BIT(WORKER_DRAINING)},
	[WORKER_DRAINING] = {"draining", STATES_BIT(WORKER_ENDED)},
	[WORKER_ENDED] = {"ended", 0},
};

void worker_check_invariant(const struct worker *worker)
{
	uint8_t phase = atomic_load(&worker->phase);
	const struct acceptor *a;
	bool loop_ends = uv_is_closing((const uv_handle_t *)&worker->async);

	list_for_each (a, &worker->acceptors, node)
		acceptor_check_invariant(a);
	if (phase != WORKER_SERVING)
		assert(list_is_empty(&worker->acceptors) && worker_has_done(worker, WORKER_APPLY));
	if (phase == WORKER_HANDING_OVER)
		assert(!worker_has_done(worker, WORKER_HAND_OVER));
	assert(loop_ends == (phase == WORKER_ENDED));
	if (phase == WORKER_ENDED)
		assert(worker->reactor.connections == 0);
}

static void worker_enter(struct worker *worker, enum worker_phase next)
{
	uint8_t phase = atomic_load(&worker->phase);

	states_move(worker_phases, &phase, next);
	atomic_store(&worker->phase, phase);
	worker->on_news(worker->data);
}

bool worker_is_in(const struct worker *worker, uint32_t phases)
{
	return states_in(atomic_load(&worker->phase), phases);
}

bool worker_has_done(const struct worker *worker, enum worker_order order)
{
	return !(atomic_load(&worker->orders) & order);
}

/* ---- the plan ---- */

static struct acceptor *acceptor_find(const struct worker *worker, int fd)
{
	struct acceptor *a;

	list_for_each (a, &worker->acceptors, node)
		if (a->fd == fd)
			return a;
	return NULL;
}

/* Closes the acceptors for which @ends returns true. */
static void close_acceptors(struct worker *worker, bool (*ends)(const struct acceptor *acceptor))
{
	struct acceptor *a, *after;

	list_for_each_safe (a, after, &worker->acceptors, node)
		if (ends(a))
			acceptor_close(a);
}

static bool is_retired(const struct acceptor *acceptor)
{
	return acceptor->retired;
}

static bool is_unkept(const struct acceptor *acceptor)
{
	return !acceptor->kept;
}

static bool is_any(const struct acceptor *acceptor)
{
	return true;
}

/* Serves @socket, for @listener. A retired socket stays with its listener if it has one. */
static void serve(struct worker *worker, struct worker_plan *plan,
		  const struct worker_socket *socket, struct listener *listener)
{
	struct acceptor *acceptor = acceptor_find(worker, socket->fd);

	if (acceptor && !socket->retired) {
		acceptor_serve(acceptor, listener);
	} else if (!acceptor && listener) {
		acceptor = list_entry(plan->acceptors.next, struct acceptor, node);
		list_remove(&acceptor->node);
		list_append(&worker->acceptors, &acceptor->node);
		acceptor_open(acceptor, listener, socket->fd, socket->passed);
	} else if (!acceptor) {
		return;
	}
	acceptor->retired = socket->retired;
	acceptor->kept = true;
}

/*
 * Carries out the plan: its listeners begin, its sockets accept, acceptors that it does not contain
 * are closed, and connections are restored.
 */
static void worker_carry_out(struct worker *worker, struct worker_plan *plan)
{
	struct listener **listeners = plan->listeners;
	struct acceptor *acceptor;
	size_t n = plan->config->n_listeners;

	for (size_t i = 0; i < n; i++)
		listener_begin(listeners[i], &worker->reactor, plan->config,
			       &plan->config->listeners[i], &plan->counters[i][worker->index]);
	for (size_t i = 0; i < plan->n_sockets; i++) {
		const struct worker_socket *socket = &plan->sockets[i];

		serve(worker, plan, socket,
		      socket->listener < n ? listeners[socket->listener] : NULL);
	}
	close_acceptors(worker, is_unkept);
	list_for_each (acceptor, &worker->acceptors, node)
		acceptor->kept = false;
	for (size_t i = 0; i < plan->n_restored; i++) {
		struct worker_restored *restored = &plan->restored[i];
		struct state_connection state = state_read(restored->from.connection);

		conn_restore(listeners[restored->listener], restored->from.fd, &state);
		restored->from.fd = -1;
		takeover_release(&restored->from);
	}
	for (size_t i = 0; i < n; i++) {
		listener_unref(listeners[i]); /* its acceptors keep it */
		listeners[i] = NULL;
	}
	worker_plan_destroy(plan);
}

/* ---- the end ---- */

/* Ends the thread once it has no connection: the loop stops when its last handle is closed. */
static void worker_check_end(struct worker *worker)
{
	if (!worker_is_in(worker, STATES_BIT(WORKER_DRAINING)) || worker->reactor.connections > 0)
		return;
	uv_close((uv_handle_t *)&worker->async, NULL);
	reactor_close(&worker->reactor);
	worker_enter(worker, WORKER_ENDED);
}

static void on_empty(struct reactor *reactor)
{
	worker_check_end(worker_of(reactor));
}

static void conn_shut(struct conn *c)
{
	conn_close(c, CONN_SHUTDOWN);
}

/* Stops accepting, and does @how to each connection. */
static void worker_end(struct worker *worker, void (*how)(struct conn *c))
{
	close_acceptors(worker, is_any);
	reactor_for_each(&worker->reactor, how);
	if (worker_is_in(worker, STATES_BIT(WORKER_SERVING)))
		worker_enter(worker, WORKER_DRAINING);
	worker_check_end(worker);
}

/*
 * Hands over one segment per loop iteration, whose end frees the connections in it. The remaining
 * connections are served in between. Returns whether all have been handed over.
 */
static bool worker_hand_over_some(struct worker *worker)
{
	struct acceptor *a;

	if (worker_is_in(worker, STATES_BIT(WORKER_SERVING))) {
		list_for_each (a, &worker->acceptors, node)
			a->passed |= !handover_closes(worker->handover, a->fd);
		close_acceptors(worker, is_any);
		worker_enter(worker, WORKER_HANDING_OVER);
	}
	if (reactor_hand_over(&worker->reactor, worker->handover))
		return false;
	worker_enter(worker, WORKER_DRAINING);
	worker_check_end(worker);
	return true;
}

/* ---- orders ---- */

/*
 * Orders that end the worker are carried out last, and are the last to be visible as done: after
 * the phase WORKER_ENDED the main thread looks at nothing else any more.
 */
static void on_async(uv_async_t *async)
{
	struct worker *worker = async->data;
	const unsigned of_sockets = WORKER_CLOSE_RETIRED | WORKER_APPLY;
	unsigned orders = atomic_load(&worker->orders);
	unsigned done = orders;

	reactor_answer(&worker->reactor);
	if (orders & WORKER_CLOSE_RETIRED)
		close_acceptors(worker, is_retired);
	if (orders & WORKER_APPLY)
		worker_carry_out(worker, worker->plan);
	atomic_fetch_and(&worker->orders, ~(orders & of_sockets));
	if (orders & WORKER_DRAIN)
		worker_end(worker, conn_drain);
	if ((orders & WORKER_HAND_OVER) && !worker_hand_over_some(worker)) {
		done &= ~(unsigned)WORKER_HAND_OVER;
		uv_async_send(async);
	}
	if (orders & WORKER_STOP)
		worker_end(worker, conn_shut);
	atomic_fetch_and(&worker->orders, ~done);
	if (done & ~(unsigned)WORKER_TURN)
		worker->on_news(worker->data);
	worker_check_invariant(worker);
}

void worker_order(struct worker *worker, enum worker_order order)
{
	atomic_fetch_or(&worker->orders, order);
	uv_async_send(&worker->async);
}

void worker_apply(struct worker *worker, struct worker_plan *plan)
{
	worker->plan = plan;
	worker_order(worker, WORKER_APPLY);
}

void worker_hand_over(struct worker *worker, struct handover *handover)
{
	worker->handover = handover;
	worker_order(worker, WORKER_HAND_OVER);
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
		void (*on_news)(void *data), void *data)
{
	int r;

	*worker = (struct worker){
		.index = index,
		.busy_poll_ns = busy_poll_us * 1000,
		.on_news = on_news,
		.data = data,
	};
	list_init(&worker->acceptors);
	r = reactor_init(&worker->reactor, limits);
	if (r < 0)
		return r;
	worker->reactor.on_tick = on_tick;
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
	return thread_cpu_ns(worker->thread);
}

void worker_join(struct worker *worker)
{
	uv_thread_join(&worker->thread);
}
