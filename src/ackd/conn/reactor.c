#include "ackd/conn/reactor.h"

#include "ackd/conn/internal.h"

#include <stdlib.h>

/* ---- time ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Times out the connections of @queue that have been inactive for too long. Returns the
 * milliseconds until the next one is due, or UINT64_MAX.
 */
static uint64_t queue_expire(struct conn_queue *queue, uint64_t now_ms)
{
	uint64_t limit_ms = queue->timeout_ms + conn_queue_step_ms(queue);
	struct conn *c, *next;

	if (queue->timeout_ms == 0)
		return UINT64_MAX;
	list_for_each_safe (c, next, &queue->conns, node) {
		uint64_t waited_ms = now_ms - c->active_ms;

		if (waited_ms < limit_ms)
			return limit_ms - waited_ms;
		if (conn_time_out(c))
			conn_wait_again(c, now_ms);
	}
	return list_is_empty(&queue->conns) ? UINT64_MAX : limit_ms;
}

static void on_tick(void *data)
{
	struct reactor *reactor = data;
	uint64_t now_ms = uv_now(&reactor->loop);
	uint64_t next_ms = UINT64_MAX;
	struct listener *l;

	reactor_answer(reactor);
	reactor->ticker_at_ms = UINT64_MAX;
	list_for_each (l, &reactor->listeners, node)
		for (unsigned i = 0; i < QUEUE_COUNT; i++)
			next_ms = min_u64(next_ms, queue_expire(&l->queues[i], now_ms));
	if (reactor->tls)
		next_ms = min_u64(next_ms, conn_tls_tick(reactor));
	if (reactor->on_tick)
		next_ms = min_u64(next_ms, reactor->on_tick(reactor));
	if (next_ms != UINT64_MAX)
		reactor_wake_in(reactor, next_ms);
}

void reactor_wake_in(struct reactor *reactor, uint64_t ms)
{
	uint64_t at_ms = uv_now(&reactor->loop) + ms;

	if (at_ms >= reactor->ticker_at_ms)
		return;
	reactor->ticker_at_ms = at_ms;
	ticker_set(&reactor->ticker, at_ms * 1000000);
}

static void on_idle(uv_idle_t *idle)
{
	if (!conn_tls_work(idle->data))
		uv_idle_stop(idle);
}

void reactor_work(struct reactor *reactor)
{
	uv_idle_start(&reactor->idle, on_idle);
}

/* ---- connections ---- */

void reactor_for_each(struct reactor *reactor, void (*f)(struct conn *c))
{
	struct conn *c, *next;
	struct listener *l;

	list_for_each (l, &reactor->listeners, node)
		for (unsigned i = 0; i < QUEUE_COUNT; i++)
			list_for_each_safe (c, next, &l->queues[i].conns, node)
				f(c);
}

/* ---- the turn ---- */

/* Sends an answer that was set aside. */
static inline void send_answer(struct conn *c, struct session_io *io, const struct iovec *bytes)
{
	int sent = conn_socket_send_span(c, io, bytes);

	if (sent != 0)
		conn_pump_sent(c, io, SESSION_IDLE, sent);
}

/* Answers the @n bytes at @data, read from a connection that is not served, or not as usual. */
__attribute__((noinline)) static void answer_otherwise(struct conn *c, const uint8_t *data,
						       size_t n, uint64_t now_ms)
{
	c->unanswered = false;
	if (c->has_tls)
		conn_tls_answer(c, data, n, now_ms);
	else
		conn_take(c, data, n);
}

/*
 * Answers @read and replaces its bytes with the answer that remains to be sent. They are empty if
 * the answer was sent immediately.
 */
static inline void answer(struct turn_read *read, struct session_io *io, uint64_t now_ms)
{
	struct conn *c = read->conn;
	const uint8_t *data = read->bytes.iov_base;
	size_t n = read->bytes.iov_len;
	int result;

	read->bytes.iov_len = 0;
	if (c->state != CONN_SERVING || c->draining || c->has_tls) {
		answer_otherwise(c, data, n, now_ms);
		return;
	}
	/* after the test: a load of a byte just stored, together with others, would wait for it */
	c->unanswered = false;
	conn_count_received(c, n);
	conn_touch(c, now_ms);
	io->event_data = c;
	result = session_feed(&c->session, io, data, n);
	if (result == SESSION_IDLE && session_io_set_aside(io, &read->bytes))
		conn_count_messages(c, io);
	else
		conn_pump(c, io, result);
}

__attribute__((hot)) void reactor_answer(struct reactor *reactor)
{
	struct session_io *io = &reactor->io;
	struct turn *turn = &reactor->turn;
	uint64_t now_ms = uv_now(&reactor->loop);
	unsigned n = turn->n_reads;

	if (n == 0)
		return;
	turn->n_reads = 0;
	turn->n_bytes = 0;
	for (unsigned i = 0; i < n; i++)
		answer(&turn->reads[i], io, now_ms);
	for (unsigned i = 0; i < n; i++) {
		const struct turn_read *read = &turn->reads[i];

		if (read->bytes.iov_len > 0)
			send_answer(read->conn, io, &read->bytes);
	}
	if (reactor->tls)
		conn_tls_turn_end(reactor);
	session_io_take_back(io);
	session_io_clear(io);
}

/* ---- life ---- */

/* Runs after all ready sockets of an iteration have been read. */
__attribute__((hot)) static void on_check(uv_check_t *check)
{
	reactor_answer(check->data);
}

int reactor_init(struct reactor *reactor, struct limits *limits)
{
	int r;

	*reactor = (struct reactor){
		.limits = limits,
		.ticker_at_ms = UINT64_MAX,
	};
	list_init(&reactor->listeners);
	reactor->turn.buffer = aligned_alloc(TURN_ALIGNMENT, TURN_BUFFER_BYTES);
	if (!reactor->turn.buffer)
		return UV_ENOMEM;
	r = session_io_init(&reactor->io, &limits->budget);
	if (r < 0)
		goto free_buffer;
	reactor->io.on_nak = conn_on_nak;
	reactor->io.on_count = conn_on_count;
	reactor->io.on_message = conn_on_message;
	r = uv_loop_init(&reactor->loop);
	if (r < 0)
		goto finish_io;
	r = ticker_init(&reactor->ticker, &reactor->loop, on_tick, reactor);
	if (r < 0)
		goto close_loop;
	uv_check_init(&reactor->loop, &reactor->check);
	uv_check_start(&reactor->check, on_check);
	uv_unref((uv_handle_t *)&reactor->check);
	reactor->check.data = reactor;
	uv_idle_init(&reactor->loop, &reactor->idle);
	uv_unref((uv_handle_t *)&reactor->idle);
	reactor->idle.data = reactor;
	return 0;

close_loop:
	uv_loop_close(&reactor->loop);
finish_io:
	session_io_finish(&reactor->io);
free_buffer:
	free(reactor->turn.buffer);
	return r;
}

size_t reactor_bytes(bool has_tls)
{
	return sizeof(struct reactor) + TURN_BUFFER_BYTES + SESSION_AREA_BYTES +
	       (has_tls ? conn_tls_thread_bytes : 0);
}

void reactor_close(struct reactor *reactor)
{
	if (uv_is_closing((uv_handle_t *)&reactor->check))
		return;
	ticker_close(&reactor->ticker);
	uv_close((uv_handle_t *)&reactor->check, NULL);
	uv_close((uv_handle_t *)&reactor->idle, NULL);
}

void reactor_finish(struct reactor *reactor)
{
	uv_loop_close(&reactor->loop);
	session_io_finish(&reactor->io);
	conn_tls_release(reactor);
	free(reactor->turn.buffer);
}
