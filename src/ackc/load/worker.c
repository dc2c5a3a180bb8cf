/*
 * The life of a worker. At LOAD_CONNECT it connects its share, a bounded number at a time. At
 * LOAD_GO it sends until the share is complete or the time is over, then drains. Finally it closes
 * everything and ends. LOAD_STOP ends it in any state.
 */

#include "ackc/load/internal.h"

#include <errno.h>
#include <stdlib.h>

/*
 * More parallel connects would overflow the server's backlog, and measure dropped packets instead
 * of the server.
 */
#define DIALS_MAX 128
#define SCRATCH_MIN (64 * 1024)
/* A timeout is detected late by at most an eighth of it, within these bounds. */
#define ROUND_MIN_MS 10
#define ROUND_MAX_MS 100

static const struct state_row worker_states[] = {
	[LOAD_WORKER_WAITING] = {"waiting",
				 STATES_BIT(LOAD_WORKER_CONNECTING) | STATES_BIT(LOAD_WORKER_DONE)},
	[LOAD_WORKER_CONNECTING] = {"connecting",
				    STATES_BIT(LOAD_WORKER_READY) | STATES_BIT(LOAD_WORKER_DONE)},
	[LOAD_WORKER_READY] = {"ready",
			       STATES_BIT(LOAD_WORKER_RUNNING) | STATES_BIT(LOAD_WORKER_DONE)},
	[LOAD_WORKER_RUNNING] = {"running",
				 STATES_BIT(LOAD_WORKER_DRAINING) | STATES_BIT(LOAD_WORKER_DONE)},
	[LOAD_WORKER_DRAINING] = {"draining", STATES_BIT(LOAD_WORKER_DONE)},
	[LOAD_WORKER_DONE] = {"done", 0},
};

static void check_invariant(const struct load_worker *w)
{
	assert(w->finished <= w->n && w->next_dial <= w->n && w->dialling <= w->next_dial);
	assert((w->finished == w->n) == (w->state == LOAD_WORKER_DONE));
	/* The first connects are over before anything is sent. */
	assert((w->next_dial == w->n && w->dialling == 0) ||
	       states_in(w->state, STATES_BIT(LOAD_WORKER_WAITING) |
					   STATES_BIT(LOAD_WORKER_CONNECTING) |
					   STATES_BIT(LOAD_WORKER_DONE)));
}

static void move(struct load_worker *w, enum load_worker_state next)
{
	states_move(worker_states, &w->state, (uint8_t)next);
}

static void close_handles(struct load_worker *w)
{
	uv_close((uv_handle_t *)&w->wake, NULL);
	uv_close((uv_handle_t *)&w->rounds, NULL);
	uv_close((uv_handle_t *)&w->settle, NULL);
	if (load_is_scheduled(w->plan))
		ticker_close(&w->ticker);
}

/* All connections are finished. */
static void end(struct load_worker *w)
{
	move(w, LOAD_WORKER_DONE);
	close_handles(w);
	check_invariant(w);
}

/* Starts the next of the first connects, and records when all have ended. */
static void connect_more(struct load_worker *w)
{
	while (w->next_dial < w->n && w->dialling < DIALS_MAX) {
		w->dialling++;
		load_connection_dial(&w->connections[w->next_dial++]);
	}
	if (w->next_dial < w->n || w->dialling > 0)
		return;
	move(w, LOAD_WORKER_READY);
	atomic_fetch_add(&w->news->ready, 1);
	uv_async_send(&w->news->async);
}

static void count_unsent(struct load_worker *w, uint64_t now_ns)
{
	for (unsigned i = 0; i < w->n; i++)
		w->counters.unsent += load_connection_unsent(&w->connections[i], now_ns);
}

/* Ends the sending: sends nothing more and waits for the replies in flight. */
static void drain(struct load_worker *w)
{
	move(w, LOAD_WORKER_DRAINING);
	count_unsent(w, w->end_ns);
	for (unsigned i = 0; i < w->n; i++)
		load_connection_end(&w->connections[i]);
}

static void set_ticker(struct load_worker *w)
{
	uint64_t next_ns = load_schedule_next_ns(&w->schedule);

	if (next_ns < w->end_ns && next_ns != w->ticker_ns) {
		w->ticker_ns = next_ns;
		ticker_set(&w->ticker, next_ns);
	}
}

/* Draws the conclusions from the callbacks of this turn of the loop, before it waits again. */
static void on_settle(uv_prepare_t *prepare)
{
	struct load_worker *w = prepare->data;

	if (w->state == LOAD_WORKER_CONNECTING)
		connect_more(w);
	if (w->state == LOAD_WORKER_RUNNING && uv_hrtime() >= w->end_ns)
		drain(w);
	if (w->finished == w->n)
		end(w);
	else if (w->state == LOAD_WORKER_RUNNING && load_is_scheduled(w->plan))
		set_ticker(w);
	check_invariant(w);
}

static void on_tick(void *data)
{
	struct load_worker *w = data;
	uint64_t now_ns = uv_hrtime();
	struct load_connection *c;

	/* A connection added during this loop is due later than now_ns. */
	while (w->state == LOAD_WORKER_RUNNING && (c = load_schedule_take(&w->schedule, now_ns)))
		load_connection_send(c, now_ns);
}

static void on_round(uv_timer_t *timer)
{
	struct load_worker *w = timer->data;
	uint64_t now_ns = uv_hrtime();

	for (unsigned i = 0; i < w->n; i++)
		load_connection_round(&w->connections[i], now_ns);
	/* The end of the time may come before the next round. */
	if (w->state == LOAD_WORKER_RUNNING && w->end_ns != UINT64_MAX && now_ns < w->end_ns) {
		uint64_t left_ms = (w->end_ns - now_ns) / 1000000;

		if (left_ms < uv_timer_get_repeat(timer))
			uv_timer_start(timer, on_round, left_ms + 1, uv_timer_get_repeat(timer));
	}
}

static void go(struct load_worker *w)
{
	const struct options *o = w->plan->options;

	move(w, LOAD_WORKER_RUNNING);
	w->end_ns = o->count ? UINT64_MAX : w->plan->start_ns + o->duration_ms * 1000000;
	w->counters.last_ns = w->counters.last_sent_ns = w->plan->start_ns;
	for (unsigned i = 0; i < w->n; i++) {
		struct load_connection *c = &w->connections[i];

		if (c->share == 0)
			load_connection_end(c);
		else
			load_connection_send(c, w->plan->start_ns);
	}
	on_round(&w->rounds);
}

static void stop(struct load_worker *w)
{
	if (w->state == LOAD_WORKER_RUNNING)
		count_unsent(w, uv_hrtime());
	/* Messages in flight are neither counted as lost nor waited for. */
	for (unsigned i = 0; i < w->n; i++)
		load_connection_abandon(&w->connections[i]);
	end(w);
}

static void on_wake(uv_async_t *wake)
{
	struct load_worker *w = wake->data;
	int command = atomic_exchange(&w->command, LOAD_NONE);

	if (w->state == LOAD_WORKER_DONE)
		return;
	if (command == LOAD_CONNECT)
		move(w, LOAD_WORKER_CONNECTING);
	else if (command == LOAD_GO)
		go(w);
	else if (command == LOAD_STOP)
		stop(w);
}

void load_worker_command(struct load_worker *w, enum load_command command)
{
	atomic_store(&w->command, (int)command);
	uv_async_send(&w->wake);
}

static void worker_main(void *data)
{
	struct load_worker *w = data;

	uv_run(&w->loop, UV_RUN_DEFAULT);
	atomic_fetch_add(&w->news->ended, 1);
	uv_async_send(&w->news->async);
}

static uint64_t share_of(const struct options *o, uint32_t id)
{
	if (!o->count)
		return UINT64_MAX;
	return o->count / o->connections + (id < o->count % o->connections);
}

static void place_connections(struct load_worker *w)
{
	const struct options *o = w->plan->options;

	for (unsigned i = 0; i < w->n; i++) {
		struct load_connection *c = &w->connections[i];

		c->worker = w;
		c->id = w->number + i * o->threads;
		c->share = share_of(o, c->id);
		c->times = w->times + (size_t)i * (w->mask + 1);
	}
}

static int allocate(struct load_worker *w)
{
	const struct options *o = w->plan->options;
	bool own_shapes = !shape_is_fixed(&w->plan->shape);

	for (w->mask = 1; w->mask < o->depth; w->mask *= 2)
		;
	w->n = o->connections / o->threads + (w->number < o->connections % o->threads);
	w->times = calloc(w->n, (size_t)w->mask * sizeof(*w->times));
	w->mask--;
	w->connections = calloc(w->n, sizeof(*w->connections));
	w->shapes = own_shapes ? calloc(w->n, sizeof(*w->shapes)) : NULL;
	w->scratch_n =
		w->plan->source.size_max > SCRATCH_MIN ? w->plan->source.size_max : SCRATCH_MIN;
	w->scratch = malloc(w->scratch_n);
	w->received = malloc(LOAD_CHUNK);
	if (!w->times || !w->connections || (own_shapes && !w->shapes) || !w->scratch ||
	    !w->received)
		return UV_ENOMEM;
	place_connections(w);
	return load_is_scheduled(w->plan) ? load_schedule_init(&w->schedule, w->n) : 0;
}

static void release(struct load_worker *w)
{
	free(w->connections);
	free(w->times);
	free(w->shapes);
	free(w->scratch);
	free(w->received);
	load_schedule_finish(&w->schedule);
}

/* Opens the handles. Returns 0 or a negative errno; on an error the loop must be run and closed. */
static int open_handles(struct load_worker *w)
{
	uint64_t every_ms = w->plan->options->timeout_ms / 8;
	int r = load_is_scheduled(w->plan) ? ticker_init(&w->ticker, &w->loop, on_tick, w) : 0;

	if (r < 0)
		return r;
	r = uv_async_init(&w->loop, &w->wake, on_wake);
	if (r < 0) {
		if (load_is_scheduled(w->plan))
			ticker_close(&w->ticker);
		return r;
	}
	w->wake.data = w;
	uv_timer_init(&w->loop, &w->rounds);
	w->rounds.data = w;
	uv_prepare_init(&w->loop, &w->settle);
	w->settle.data = w;
	uv_prepare_start(&w->settle, on_settle);
	every_ms = every_ms < ROUND_MIN_MS   ? ROUND_MIN_MS
		   : every_ms > ROUND_MAX_MS ? ROUND_MAX_MS
					     : every_ms;
	uv_timer_start(&w->rounds, on_round, every_ms, every_ms);
	return 0;
}

int load_worker_init(struct load_worker *w, const struct load_plan *plan, unsigned number,
		     struct load_news *news)
{
	int r;

	*w = (struct load_worker){.plan = plan, .number = number, .news = news};
	r = allocate(w);
	if (r == 0)
		r = uv_loop_init(&w->loop);
	if (r < 0) {
		release(w);
		return r;
	}
	r = open_handles(w);
	if (r < 0) {
		uv_run(&w->loop, UV_RUN_DEFAULT);
		uv_loop_close(&w->loop);
		release(w);
	}
	return r;
}

int load_worker_start(struct load_worker *w)
{
	return uv_thread_create(&w->thread, worker_main, w);
}

void load_worker_finish(struct load_worker *w)
{
	if (w->state != LOAD_WORKER_DONE)
		close_handles(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	uv_loop_close(&w->loop);
	release(w);
}
