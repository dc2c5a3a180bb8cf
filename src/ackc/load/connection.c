/*
 * One connection of a load. It connects, skips the greeting, and writes as many messages as depth
 * and schedule allow. It checks replies as they arrive, which makes room for more messages. At the
 * end of its share it half-closes and waits for the server to close.
 *
 * A connection that fails or gets a wrong reply is counted by kind, closed, and opened again after
 * a pause. The pause doubles, up to a second, until something can be sent. Messages in flight are
 * lost; messages that were due remain due.
 */

#include "ackc/load/internal.h"
#include "ackc/output/failure.h"
#include "base/descriptors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BACKOFF_MIN_NS (100 * UINT64_C(1000000))
#define BACKOFF_MAX_NS (1000 * UINT64_C(1000000))
#define FAREWELL_NS (200 * UINT64_C(1000000))

#define CONNECTED (STATES_BIT(LOAD_GREETING) | STATES_BIT(LOAD_OPEN) | STATES_BIT(LOAD_ENDING))

static const struct state_row connection_states[] = {
	[LOAD_CLOSED] = {"closed", STATES_BIT(LOAD_DIALLING) | STATES_BIT(LOAD_FINISHED)},
	[LOAD_DIALLING] = {"dialling", STATES_BIT(LOAD_GREETING) | STATES_BIT(LOAD_CLOSED) |
					       STATES_BIT(LOAD_FINISHED)},
	[LOAD_GREETING] = {"greeting", STATES_BIT(LOAD_OPEN) | STATES_BIT(LOAD_CLOSED) |
					       STATES_BIT(LOAD_ENDING) | STATES_BIT(LOAD_FINISHED)},
	[LOAD_OPEN] = {"open", STATES_BIT(LOAD_CLOSED) | STATES_BIT(LOAD_ENDING) |
				       STATES_BIT(LOAD_FINISHED)},
	[LOAD_ENDING] = {"ending", STATES_BIT(LOAD_FINISHED)},
	[LOAD_FINISHED] = {"finished", 0},
};

static void check_invariant(const struct load_connection *c)
{
	assert((c->dial != NULL) == (c->state == LOAD_DIALLING));
	assert((c->stream != NULL) == states_in(c->state, CONNECTED));
	assert(c->sent <= c->share);
}

static void move(struct load_connection *c, enum load_connection_state next)
{
	states_move(connection_states, &c->state, (uint8_t)next);
}

static uint64_t timeout_ns(const struct load_worker *w)
{
	return w->plan->options->timeout_ms * 1000000;
}

static bool running(const struct load_worker *w)
{
	return w->state == LOAD_WORKER_RUNNING;
}

/*
 * Returns whether messages may be sent. Under a continuous stream of events, the worker notices the
 * end of the time only after 49,152 of them, so the time counts, too.
 */
static bool is_sending(const struct load_worker *w, uint64_t now_ns)
{
	return running(w) && now_ns < w->end_ns;
}

/* Returns the number of messages in flight on a connection that is connected. */
static uint64_t in_flight(const struct load_connection *c)
{
	return c->sent - c->verifier.index;
}

/* Returns whether the suffix of the last reply is all that is missing. */
static bool lacks_suffix(const struct load_connection *c)
{
	return in_flight(c) == 0 && verifier_suffix_due(&c->verifier);
}

/* Disconnects with a reset. */
static void abort_stream(struct load_connection *c)
{
	stream_abort(c->stream);
	c->stream = NULL;
}

static void finish(struct load_connection *c)
{
	if (c->state == LOAD_FINISHED)
		return;
	stream_close(c->stream);
	c->stream = NULL;
	move(c, LOAD_FINISHED);
	check_invariant(c);
	c->worker->finished++;
}

void load_connection_abandon(struct load_connection *c)
{
	dial_cancel(c->dial);
	c->dial = NULL;
	abort_stream(c);
	finish(c);
}

/* Handles a failure already counted: gives up the messages in flight and schedules a reconnect. */
static void retry(struct load_connection *c)
{
	struct load_counters *counters = &c->worker->counters;
	uint64_t now_ns = uv_hrtime();

	atomic_fetch_add_explicit(&counters->failures, 1, memory_order_relaxed);
	if (c->stream) {
		counters->lost += in_flight(c);
		/* Reset: a port left in TIME_WAIT per failure would cause further failures. */
		abort_stream(c);
	}
	if (c->state == LOAD_ENDING || c->worker->state == LOAD_WORKER_DRAINING ||
	    c->sent == c->share) {
		finish(c);
		return;
	}
	move(c, LOAD_CLOSED);
	if (c->backoff_ns == 0)
		c->failing_ns = now_ns;
	c->backoff_ns = c->backoff_ns ? 2 * c->backoff_ns : BACKOFF_MIN_NS;
	if (c->backoff_ns > BACKOFF_MAX_NS)
		c->backoff_ns = BACKOFF_MAX_NS;
	c->retry_at_ns = now_ns + c->backoff_ns;
	check_invariant(c);
}

static void wrong(struct load_connection *c, const struct fault *fault)
{
	const char *words = fault_name(fault->kind);
	char reason[80];

	/* "NAK 17 line too long": with the offset, each NAK would be a kind of its own. */
	if (fault->kind == FAULT_NAK && sscanf(fault->words, "NAK %*u %69[^\n]", reason + 4) == 1) {
		memcpy(reason, "NAK ", 4);
		words = reason;
	}
	load_errors_add(&c->worker->counters.errors, true, words, fault->words, 1);
	retry(c);
}

static void fail(struct load_connection *c, int failure)
{
	char detail[VERIFIER_TEXT_MAX] = "";
	struct fault fault;

	if (c->stream && !verifier_end(&c->verifier, c->sent, &fault)) {
		wrong(c, &fault);
		return;
	}
	if (c->stream && in_flight(c))
		verifier_partial(&c->verifier, detail);
	else if (c->stream && lacks_suffix(c))
		snprintf(detail, sizeof(detail), "the end of the last reply is missing");
	load_errors_add(&c->worker->counters.errors, false, failure_text(failure), detail, 1);
	retry(c);
}

void load_connection_end(struct load_connection *c)
{
	if (c->state == LOAD_CLOSED) {
		finish(c);
	} else if (states_in(c->state, STATES_BIT(LOAD_GREETING) | STATES_BIT(LOAD_OPEN)) &&
		   in_flight(c) == 0 && !lacks_suffix(c)) {
		move(c, LOAD_ENDING);
		c->since_ns = uv_hrtime();
		stream_half_close(c->stream);
	}
}

/* Records the latencies of the messages from index @from up to @to, whose replies are complete. */
static void record(struct load_connection *c, uint64_t from, uint64_t to, uint64_t now_ns)
{
	struct load_worker *w = c->worker;
	struct load_counters *counters = &w->counters;

	if (from == to)
		return;
	for (uint64_t i = from; i < to; i++) {
		uint64_t sent_ns = c->times[i & w->mask];

		if (load_is_scheduled(w->plan)) {
			uint64_t due = load_due_ns(w->plan, c->id, i);

			histogram_record(&counters->service, now_ns - sent_ns);
			histogram_record(&counters->latency, now_ns > due ? now_ns - due : 0);
		} else {
			histogram_record(&counters->latency, now_ns - sent_ns);
		}
	}
	counters->last_ns = now_ns;
	/* Only this thread writes it, so it needs no atomic addition. */
	atomic_store_explicit(&counters->completed,
			      atomic_load_explicit(&counters->completed, memory_order_relaxed) +
				      to - from,
			      memory_order_relaxed);
}

/* Messages may be sent: the greeting is complete. */
static void open_up(struct load_connection *c)
{
	move(c, LOAD_OPEN);
	c->backoff_ns = 0;
}

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct load_connection *c = data;
	struct load_worker *w = c->worker;
	uint64_t now_ns = uv_hrtime();
	uint64_t from = c->verifier.index;
	struct fault fault;
	bool right = verifier_feed(&c->verifier, c->sent, bytes, n, &fault);

	w->counters.received_bytes += n;
	record(c, from, c->verifier.index, now_ns);
	/* A greeting with wrong bytes after it must not end the pauses between the retries. */
	if (right && c->state == LOAD_GREETING && verifier_greeted(&c->verifier))
		open_up(c);
	if (!right)
		wrong(c, &fault);
	else if (is_sending(w, now_ns) && c->sent < c->share)
		load_connection_send(c, now_ns);
	else if (running(w) || w->state == LOAD_WORKER_DRAINING)
		load_connection_end(c);
}

static void on_ended(void *data, int failure)
{
	struct load_connection *c = data;

	if (c->state == LOAD_ENDING)
		finish(c);
	else
		fail(c, failure);
}

static void on_drained(void *data, int status)
{
	if (status == 0)
		load_connection_send(data, uv_hrtime());
}

/* Makes the messages that are due and fit. Returns their length in bytes. */
static size_t make_batch(struct load_connection *c, uint64_t limit)
{
	struct load_worker *w = c->worker;
	uint64_t room = w->plan->options->depth - in_flight(c);
	uint64_t first = c->sent;
	struct message m;
	size_t n = 0;
	uint64_t now_ns;

	if (limit - c->sent > room)
		limit = c->sent + room;
	while (c->sent < limit) {
		source_message(&w->plan->source, c->id, c->sent, &m);
		if (n + message_size(&m) > w->scratch_n)
			break;
		n += message_copy(&m, w->scratch + n);
		c->sent++;
	}
	now_ns = uv_hrtime();
	for (uint64_t i = first; i < c->sent; i++)
		c->times[i & w->mask] = now_ns;
	w->counters.last_sent_ns = now_ns;
	w->counters.sent += c->sent - first;
	w->counters.sent_bytes += n;
	return n;
}

/* Returns the number of its messages that @c may have sent by @now_ns. */
static uint64_t limit_at(const struct load_connection *c, uint64_t now_ns)
{
	const struct load_worker *w = c->worker;
	uint64_t due;

	due = load_due_count(w->plan, c->id, now_ns < w->end_ns ? now_ns : w->end_ns - 1);
	return due < c->share ? due : c->share;
}

uint64_t load_connection_unsent(const struct load_connection *c, uint64_t now_ns)
{
	/* With a count, the unsent messages of a connection that is done were already added. */
	const struct load_worker *w = c->worker;
	bool counts = load_is_scheduled(w->plan) &&
		      !(c->state == LOAD_FINISHED && w->plan->options->count);
	uint64_t limit = counts ? limit_at(c, now_ns) : 0;

	return limit > c->sent ? limit - c->sent : 0;
}

static bool can_send(const struct load_connection *c)
{
	return c->state == LOAD_OPEN && in_flight(c) < c->worker->plan->options->depth &&
	       !stream_is_queued(c->stream) && !stream_is_broken(c->stream);
}

void load_connection_send(struct load_connection *c, uint64_t now_ns)
{
	struct load_worker *w = c->worker;
	uint64_t limit;

	if (!is_sending(w, now_ns))
		return;
	limit = load_is_scheduled(w->plan) ? limit_at(c, now_ns) : c->share;
	while (c->sent < limit && can_send(c)) {
		size_t n = make_batch(c, limit);
		int r = stream_write(c->stream, w->scratch, n);

		/* The server may have reported why it closed: what it has sent is read first. */
		if (r < 0 && !stream_is_broken(c->stream))
			fail(c, r);
	}
	if (load_is_scheduled(w->plan) && c->stream && c->sent == limit && c->sent < c->share)
		load_schedule_add(&w->schedule, c);
}

/*
 * Abandons @c if the process or the system has no descriptor for it. The limit does not change, so
 * retries would only slow down the other connections.
 */
static bool is_beyond_limit(struct load_connection *c, int status)
{
	struct load_worker *w = c->worker;
	char detail[80] = "";

	if (status != UV_EMFILE && status != UV_ENFILE)
		return false;
	if (status == UV_EMFILE)
		snprintf(detail, sizeof(detail), "ackc may open %" PRIu64 " files",
			 descriptors_raise_limit());
	load_errors_add(&w->counters.errors, false, failure_text(status), detail, 1);
	atomic_fetch_add_explicit(&w->counters.failures, 1, memory_order_relaxed);
	if (w->plan->options->count)
		w->counters.unsent += c->share;
	finish(c);
	return true;
}

static void on_connected(void *data, int status, struct stream *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	static const struct stream_events events = {on_received, on_ended, on_drained};
	struct load_connection *c = data;
	struct load_worker *w = c->worker;
	bool first = w->state == LOAD_WORKER_CONNECTING; /* a worker that runs only reconnects */

	c->dial = NULL;
	if (status == 0) {
		histogram_record(&w->counters.connect, connect_ns);
		if (w->plan->addresses->tls)
			histogram_record(&w->counters.handshake, stream_handshake_ns(stream));
		atomic_fetch_add_explicit(&w->counters.connected, 1, memory_order_relaxed);
		move(c, LOAD_GREETING);
		c->stream = stream;
		c->since_ns = uv_hrtime();
		verifier_init(&c->verifier, &w->plan->source, &w->plan->shape,
			      w->shapes ? &w->shapes[c - w->connections] : NULL, c->id, c->sent);
		stream_read(stream, w->received, LOAD_CHUNK, &events, c);
		if (verifier_greeted(&c->verifier))
			open_up(c);
		load_connection_send(c, uv_hrtime());
	} else if (!first || !is_beyond_limit(c, status)) {
		fail(c, status);
	}
	if (first)
		w->dialling--;
	else if (w->state == LOAD_WORKER_DRAINING)
		load_connection_end(c);
	check_invariant(c);
}

void load_connection_dial(struct load_connection *c)
{
	struct load_worker *w = c->worker;
	int r = dial_start(&w->loop, w->plan->addresses, w->plan->options->timeout_ms, on_connected,
			   c, &c->dial);

	move(c, LOAD_DIALLING);
	if (r < 0)
		on_connected(c, r, NULL, 0, NULL);
}

/* Checks how long the server has been silent. */
static void check_timeout(struct load_connection *c, uint64_t since_ns, uint64_t now_ns)
{
	if (now_ns > since_ns && now_ns - since_ns > timeout_ns(c->worker))
		fail(c, FAILURE_REPLY_TIMEOUT);
}

static void round_closed(struct load_connection *c, uint64_t now_ns)
{
	struct load_worker *w = c->worker;

	if (!running(w))
		return;
	if (w->plan->options->count && now_ns - c->failing_ns > timeout_ns(w)) {
		/* Otherwise a count would never end with a dead server. */
		w->counters.unsent += c->share - c->sent;
		finish(c);
	} else if (now_ns >= c->retry_at_ns) {
		load_connection_dial(c);
	}
}

void load_connection_round(struct load_connection *c, uint64_t now_ns)
{
	switch (c->state) {
	case LOAD_CLOSED:
		round_closed(c, now_ns);
		break;
	case LOAD_GREETING:
		check_timeout(c, c->since_ns, now_ns);
		break;
	case LOAD_OPEN:
		if (in_flight(c) || lacks_suffix(c)) {
			uint64_t awaited = c->verifier.index - lacks_suffix(c);

			check_timeout(c, c->times[awaited & c->worker->mask], now_ns);
		}
		break;
	case LOAD_ENDING:
		if (now_ns - c->since_ns > FAREWELL_NS)
			finish(c);
		break;
	default:
		break;
	}
	check_invariant(c);
}
