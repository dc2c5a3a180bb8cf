/*
 * The life of a worker. At LOAD_CONNECT it connects its share, a bounded number at a time, and
 * moves to LOAD_READY. At LOAD_GO it sends until the share is complete or the time is over, then
 * drains. Finally it moves to LOAD_DONE, closes everything and ends.
 */

#include "ackc/load/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * More parallel connects would overflow the server's backlog, and measure dropped packets instead
 * of the server.
 */
#define DIALS_MAX 128
#define SCRATCH_MIN (64 * 1024)
/* A timeout is detected late by at most an eighth of it, within these bounds. */
#define ROUND_MIN_MS 10
#define ROUND_MAX_MS 100

void load_worker_set_phase(struct load_worker *w, enum load_phase phase)
{
	if (w->phase == LOAD_DONE || (int)phase <= w->phase)
		return;
	atomic_store(&w->phase, (int)phase);
	if (phase == LOAD_DONE) {
		uv_close((uv_handle_t *)&w->wake, NULL);
		uv_close((uv_handle_t *)&w->rounds, NULL);
		if (w->service)
			ticker_close(&w->ticker);
	}
	if (phase == LOAD_READY)
		uv_async_send(w->news);
}

static void dial_more(struct load_worker *w)
{
	while (w->next_dial < w->n && w->dialling < DIALS_MAX) {
		w->dialling++;
		load_connection_dial(&w->connections[w->next_dial++]);
	}
}

void load_worker_dialled(struct load_worker *w)
{
	w->dialling--;
	if (++w->tried == w->n)
		load_worker_set_phase(w, LOAD_READY);
	else if (w->phase == LOAD_CONNECTING)
		dial_more(w);
}

static void set_ticker(struct load_worker *w)
{
	uint64_t next_ns = load_schedule_next_ns(&w->schedule);

	if (w->phase == LOAD_RUNNING && next_ns < w->end_ns)
		ticker_set(&w->ticker, next_ns);
}

void load_worker_schedule(struct load_worker *w, struct load_connection *c)
{
	if (load_schedule_add(&w->schedule, c) && !w->ticking)
		set_ticker(w);
}

static void on_tick(void *data)
{
	struct load_worker *w = data;
	uint64_t now_ns = uv_hrtime();
	struct load_connection *c;

	if (now_ns >= w->end_ns)
		now_ns = w->end_ns - 1;
	/* A connection added during this loop is due later than now_ns. */
	w->ticking = true;
	while (w->phase == LOAD_RUNNING && (c = load_schedule_take(&w->schedule, now_ns)))
		load_connection_send(c);
	w->ticking = false;
	set_ticker(w);
}

static void count_unsent(struct load_worker *w, uint64_t now_ns)
{
	for (unsigned i = 0; i < w->n; i++)
		w->unsent += load_connection_unsent(&w->connections[i], now_ns);
}

void load_worker_drain(struct load_worker *w)
{
	load_worker_set_phase(w, LOAD_DRAINING);
	count_unsent(w, w->end_ns);
	for (unsigned i = 0; i < w->n; i++)
		load_connection_end(&w->connections[i]);
}

static void on_round(uv_timer_t *timer)
{
	struct load_worker *w = timer->data;
	uint64_t now_ns = uv_hrtime();

	if (w->phase == LOAD_RUNNING && now_ns >= w->end_ns)
		load_worker_drain(w);
	for (unsigned i = 0; i < w->n && w->phase != LOAD_DONE; i++)
		load_connection_round(&w->connections[i], now_ns);
	if (w->phase == LOAD_RUNNING && w->end_ns != UINT64_MAX) {
		uint64_t left_ms = (w->end_ns - now_ns) / 1000000;

		if (left_ms < uv_timer_get_repeat(timer))
			uv_timer_start(timer, on_round, left_ms + 1, uv_timer_get_repeat(timer));
	}
}

static void go(struct load_worker *w)
{
	const struct options *o = w->plan->options;

	load_worker_set_phase(w, LOAD_RUNNING);
	w->end_ns = o->count ? UINT64_MAX : w->plan->start_ns + o->duration_ms * 1000000;
	w->last_ns = w->last_sent_ns = w->plan->start_ns;
	for (unsigned i = 0; i < w->n; i++) {
		struct load_connection *c = &w->connections[i];

		if (c->share == 0)
			load_connection_end(c);
		else
			load_connection_send(c);
	}
	on_round(&w->rounds);
}

static void stop(struct load_worker *w)
{
	if (w->phase == LOAD_RUNNING)
		count_unsent(w, uv_hrtime());
	/* Messages in flight are neither counted as lost nor waited for. */
	for (unsigned i = 0; i < w->n; i++)
		load_connection_abandon(&w->connections[i]);
}

static void on_wake(uv_async_t *wake)
{
	struct load_worker *w = wake->data;
	int command = atomic_exchange(&w->command, LOAD_NONE);

	if (w->phase == LOAD_DONE)
		return;
	if (command == LOAD_CONNECT)
		dial_more(w);
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
	uv_async_send(w->news);
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

	for (w->mask = 1; w->mask < o->depth; w->mask *= 2)
		;
	w->n = o->connections / o->threads + (w->number < o->connections % o->threads);
	w->times = calloc(w->n, (size_t)w->mask * sizeof(*w->times));
	w->mask--;
	w->connections = calloc(w->n, sizeof(*w->connections));
	if (shape_has_holes(&w->plan->shape)) {
		w->shapes = calloc(w->n, sizeof(*w->shapes));
		if (!w->shapes)
			return -ENOMEM;
	}
	w->scratch_n =
		w->plan->source.size_max > SCRATCH_MIN ? w->plan->source.size_max : SCRATCH_MIN;
	w->scratch = malloc(w->scratch_n);
	w->received = malloc(LOAD_CHUNK);
	w->latency = histogram_create();
	w->connect = histogram_create();
	w->service = o->rate > 0 ? histogram_create() : NULL;
	if (!w->times || !w->connections || !w->scratch || !w->received || !w->latency ||
	    !w->connect || (o->rate > 0 && !w->service))
		return -ENOMEM;
	place_connections(w);
	return w->service ? load_schedule_init(&w->schedule, w->n) : 0;
}

static int open_loop(struct load_worker *w)
{
	uint64_t every_ms = w->plan->options->timeout_ms / 8;
	int r = uv_loop_init(&w->loop);

	if (r < 0)
		return r;
	r = w->service ? ticker_init(&w->ticker, &w->loop, on_tick, w) : 0;
	if (r == 0 && (r = uv_async_init(&w->loop, &w->wake, on_wake)) < 0 && w->service)
		ticker_close(&w->ticker);
	if (r < 0) {
		uv_run(&w->loop, UV_RUN_DEFAULT);
		uv_loop_close(&w->loop);
		return r;
	}
	w->wake.data = w;
	uv_timer_init(&w->loop, &w->rounds);
	w->rounds.data = w;
	every_ms = every_ms < ROUND_MIN_MS   ? ROUND_MIN_MS
		   : every_ms > ROUND_MAX_MS ? ROUND_MAX_MS
					     : every_ms;
	uv_timer_start(&w->rounds, on_round, every_ms, every_ms);
	return 0;
}

int load_worker_start(struct load_worker *w, const struct load_plan *plan, unsigned number,
		      uv_async_t *news)
{
	int r;

	w->plan = plan;
	w->number = number;
	w->news = news;
	r = allocate(w);
	if (r == 0)
		r = open_loop(w);
	if (r < 0) {
		load_worker_finish(w);
		return r;
	}
	r = uv_thread_create(&w->thread, worker_main, w);
	if (r < 0) {
		load_worker_set_phase(w, LOAD_DONE);
		uv_run(&w->loop, UV_RUN_DEFAULT);
		uv_loop_close(&w->loop);
		load_worker_finish(w);
	}
	return r;
}

void load_worker_join(struct load_worker *w)
{
	uv_thread_join(&w->thread);
	uv_loop_close(&w->loop);
}

void load_worker_finish(struct load_worker *w)
{
	histogram_destroy(w->latency);
	histogram_destroy(w->service);
	histogram_destroy(w->connect);
	free(w->connections);
	free(w->times);
	free(w->shapes);
	load_schedule_finish(&w->schedule);
	free(w->scratch);
	free(w->received);
	*w = (struct load_worker){0};
}
