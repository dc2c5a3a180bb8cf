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
#include "ackc/net/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define BACKOFF_MIN_NS (100 * UINT64_C(1000000))
#define BACKOFF_MAX_NS (1000 * UINT64_C(1000000))
#define FAREWELL_NS (200 * UINT64_C(1000000))

static uint64_t timeout_ns(const struct load_worker *w)
{
	return w->plan->options->timeout_ms * 1000000;
}

static bool running(const struct load_worker *w)
{
	return w->phase == LOAD_RUNNING;
}

static uint64_t under_way(const struct load_connection *c)
{
	return c->sent - c->verifier.index;
}

static void disconnect(struct load_connection *c, bool reset)
{
	if (reset)
		stream_abort(c->stream);
	else
		stream_close(c->stream);
	c->stream = NULL;
}

static void done(struct load_connection *c)
{
	if (c->done)
		return;
	c->done = true;
	c->worker->done++;
	if (c->worker->done == c->worker->n)
		load_worker_set_phase(c->worker, LOAD_DONE);
}

void load_connection_abandon(struct load_connection *c)
{
	dial_cancel(c->dial);
	c->dial = NULL;
	disconnect(c, true);
	done(c);
}

/* Handles a failure already counted: gives up the messages in flight and schedules a reconnect. */
static void retry(struct load_connection *c)
{
	uint64_t now_ns = uv_hrtime();

	atomic_fetch_add_explicit(&c->worker->failures, 1, memory_order_relaxed);
	if (c->stream) {
		c->worker->lost += under_way(c);
		/* Reset: a port left in TIME_WAIT per failure would cause further failures. */
		disconnect(c, true);
	}
	c->verifier.index = c->sent;
	if (c->ending || c->worker->phase == LOAD_DRAINING || c->sent == c->share) {
		done(c);
		return;
	}
	if (c->backoff_ns == 0)
		c->failing_ns = now_ns;
	c->backoff_ns = c->backoff_ns ? 2 * c->backoff_ns : BACKOFF_MIN_NS;
	if (c->backoff_ns > BACKOFF_MAX_NS)
		c->backoff_ns = BACKOFF_MAX_NS;
	c->retry_at_ns = now_ns + c->backoff_ns;
}

static void fail(struct load_connection *c, int failure)
{
	size_t came = c->stream && under_way(c) ? verifier_reply_came(&c->verifier) : 0;
	char detail[80] = "";

	if (came > 0)
		snprintf(detail, sizeof(detail), "%zu of %zu bytes of the reply came", came,
			 verifier_reply_size(&c->verifier, c->verifier.index));
	load_errors_add(&c->worker->errors, false, words_for(failure), detail);
	retry(c);
}

static void wrong(struct load_connection *c, const struct fault *fault)
{
	struct load_errors *e = &c->worker->errors;
	const char *words = fault_name(fault->kind);
	char reason[80];

	/* "NAK 17 line too long": with the offset, each NAK would be a kind of its own. */
	if (fault->kind == FAULT_NAK && sscanf(fault->words, "NAK %*u %69[^\n]", reason + 4) == 1) {
		memcpy(reason, "NAK ", 4);
		words = reason;
	}
	load_errors_add(e, true, words, fault->words);
	retry(c);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	free(request);
}

void load_connection_end(struct load_connection *c)
{
	uv_shutdown_t *request;

	if (c->done || c->ending || c->dial)
		return;
	if (!c->stream) {
		done(c);
		return;
	}
	if (under_way(c))
		return;
	c->ending = true;
	c->since_ns = uv_hrtime();
	request = malloc(sizeof(*request));
	if (!request || uv_shutdown(request, c->stream, on_shutdown) < 0)
		free(request);
}

static void record(struct load_connection *c, uint64_t from, uint64_t to, uint64_t now_ns)
{
	struct load_worker *w = c->worker;

	if (from == to)
		return;
	for (uint64_t i = from; i < to; i++) {
		uint64_t sent_ns = c->times[i & w->mask];

		if (w->service) {
			uint64_t due = load_due_ns(w->plan, c->id, i);

			histogram_record(w->service, now_ns - sent_ns);
			histogram_record(w->latency, now_ns > due ? now_ns - due : 0);
		} else {
			histogram_record(w->latency, now_ns - sent_ns);
		}
	}
	w->last_ns = now_ns;
	atomic_store_explicit(&w->completed,
			      atomic_load_explicit(&w->completed, memory_order_relaxed) + to - from,
			      memory_order_relaxed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct load_connection *c = handle->data;

	*ret_buf = uv_buf_init(c->worker->received, LOAD_CHUNK);
}

static void take(struct load_connection *c, const uint8_t *data, size_t n)
{
	struct load_worker *w = c->worker;
	uint64_t now_ns = uv_hrtime();
	uint64_t from = c->verifier.index;
	uint64_t completed = 0;
	struct fault fault;
	bool right;

	w->received_bytes += n;
	if (!greeting_over(&c->greeting, &w->plan->shape)) {
		size_t used;

		if (explain_nak(data, n, &fault)) {
			wrong(c, &fault);
			return;
		}
		used = greeting_skip(&c->greeting, &w->plan->shape, data, n);
		data += used;
		n -= used;
		if (greeting_over(&c->greeting, &w->plan->shape))
			c->backoff_ns = 0;
	}
	right = verifier_feed(&c->verifier, c->sent, data, n, &completed, &fault);
	record(c, from, c->verifier.index, now_ns);
	/* Under a continuous stream of replies, libuv runs its timers only every 49,152 events. */
	if (running(w) && now_ns >= w->end_ns)
		load_worker_drain(w);
	if (!right)
		wrong(c, &fault);
	else if (running(w) && c->sent < c->share)
		load_connection_send(c);
	else if (running(w) || w->phase == LOAD_DRAINING)
		load_connection_end(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct load_connection *c = stream->data;

	if (n > 0) {
		take(c, (const uint8_t *)buf->base, (size_t)n);
	} else if (n < 0 && c->ending) {
		disconnect(c, false);
		done(c);
	} else if (n < 0) {
		fail(c, stream_failure(stream, (int)n));
	}
}

static void on_written(uv_write_t *request, int status)
{
	uint8_t *queued = request->data;
	struct load_connection *c = request->handle->data;

	/* The connection may have a different stream by now. */
	free(queued);
	if (c->stream == request->handle && status == 0) {
		c->writing = false;
		load_connection_send(c);
	}
	free(request);
}

static void queue(struct load_connection *c, const uint8_t *rest, size_t n)
{
	uv_write_t *request = malloc(sizeof(*request));
	uint8_t *copy = malloc(n);
	uv_buf_t buf = uv_buf_init((char *)copy, (unsigned)n);

	if (request && copy) {
		memcpy(copy, rest, n);
		request->data = copy;
		c->writing = true;
		if (uv_write(request, c->stream, &buf, 1, on_written) == 0)
			return;
	}
	free(request);
	free(copy);
	fail(c, UV_ENOMEM);
}

/* Makes the messages that are due and fit. Returns their length in bytes. */
static size_t make_batch(struct load_connection *c, uint64_t limit)
{
	struct load_worker *w = c->worker;
	uint64_t room = w->plan->options->depth - under_way(c);
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
	w->last_sent_ns = now_ns;
	w->sent += c->sent - first;
	w->sent_bytes += n;
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
	bool counts = c->worker->service && !(c->done && c->worker->plan->options->count);
	uint64_t limit = counts ? limit_at(c, now_ns) : 0;

	return limit > c->sent ? limit - c->sent : 0;
}

static bool can_send(const struct load_connection *c)
{
	const struct load_worker *w = c->worker;

	return running(w) && c->stream && !c->writing && under_way(c) < w->plan->options->depth &&
	       greeting_over(&c->greeting, &w->plan->shape);
}

void load_connection_send(struct load_connection *c)
{
	struct load_worker *w = c->worker;
	uint64_t limit;

	if (!running(w))
		return;
	limit = w->service ? limit_at(c, uv_hrtime()) : c->share;
	while (c->sent < limit && can_send(c)) {
		size_t n = make_batch(c, limit);
		uv_buf_t buf = uv_buf_init((char *)w->scratch, (unsigned)n);
		int r = uv_try_write(c->stream, &buf, 1);

		if (r == UV_EAGAIN)
			r = 0;
		if (r < 0)
			fail(c, r);
		else if ((size_t)r < n)
			queue(c, w->scratch + r, n - (size_t)r);
	}
	if (w->service && c->stream && c->sent == limit && c->sent < c->share)
		load_worker_schedule(w, c);
}

/*
 * Abandons @c if the process or the system has no descriptor for it. The limit does not change, so
 * retries would only slow down the other connections.
 */
static bool is_beyond_limit(struct load_connection *c, int status)
{
	struct load_worker *w = c->worker;
	struct rlimit limit;
	char detail[80] = "";

	if (status != UV_EMFILE && status != UV_ENFILE)
		return false;
	if (status == UV_EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0)
		snprintf(detail, sizeof(detail), "ackc may open %llu files",
			 (unsigned long long)limit.rlim_cur);
	load_errors_add(&w->errors, false, words_for(status), detail);
	atomic_fetch_add_explicit(&w->failures, 1, memory_order_relaxed);
	if (w->plan->options->count)
		w->unsent += c->share;
	done(c);
	return true;
}

static void on_connected(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct load_connection *c = data;
	struct load_worker *w = c->worker;
	bool first = !c->tried;

	c->dial = NULL;
	c->tried = true;
	if (status == 0) {
		histogram_record(w->connect, connect_ns);
		atomic_fetch_add_explicit(&w->connected, 1, memory_order_relaxed);
		c->stream = stream;
		c->writing = false;
		c->since_ns = uv_hrtime();
		c->greeting = (struct greeting){0};
		if (greeting_over(&c->greeting, &w->plan->shape))
			c->backoff_ns = 0;
		stream->data = c;
		verifier_init(&c->verifier, &w->plan->source, &w->plan->shape,
			      w->shapes ? &w->shapes[c - w->connections] : NULL, c->id, c->sent);
		uv_read_start(stream, on_alloc, on_read);
		load_connection_send(c);
	} else if (!first || !is_beyond_limit(c, status)) {
		fail(c, status);
	}
	if (first)
		load_worker_dialled(w);
	else if (w->phase == LOAD_DRAINING)
		load_connection_end(c);
}

void load_connection_dial(struct load_connection *c)
{
	struct load_worker *w = c->worker;
	int r = dial_start(&w->loop, &w->plan->addresses, w->plan->options->timeout_ms,
			   on_connected, c, &c->dial);

	if (r < 0)
		on_connected(c, r, NULL, 0, NULL);
}

static void round_connected(struct load_connection *c, uint64_t now_ns)
{
	bool greeted = greeting_over(&c->greeting, &c->worker->plan->shape);
	uint64_t since_ns = c->since_ns;

	if (c->ending) {
		if (now_ns - since_ns > FAREWELL_NS) {
			disconnect(c, false);
			done(c);
		}
		return;
	}
	if (greeted && under_way(c) == 0)
		return;
	if (greeted)
		since_ns = c->times[c->verifier.index & c->worker->mask];
	if (now_ns > since_ns && now_ns - since_ns > timeout_ns(c->worker))
		fail(c, FAILURE_REPLY_TIMEOUT);
}

void load_connection_round(struct load_connection *c, uint64_t now_ns)
{
	struct load_worker *w = c->worker;

	if (c->done || c->dial || !c->tried)
		return;
	if (c->stream) {
		round_connected(c, now_ns);
	} else if (!running(w)) {
		/* Retries start with LOAD_GO and stop at the end. */
	} else if (w->plan->options->count && now_ns - c->failing_ns > timeout_ns(w)) {
		/* Otherwise a count would never end with a dead server. */
		w->unsent += c->share - c->sent;
		done(c);
	} else if (now_ns >= c->retry_at_ns) {
		load_connection_dial(c);
	}
}
