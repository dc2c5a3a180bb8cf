/*
 * A connection leaves the process: what it has said and not delivered, and what it has received and
 * not answered, goes into the state; its descriptor is queued, and our copy closed without a word
 * to the peer. In the next process it goes on: first the unsent output, then the input, as if that
 * had just been read.
 */

#include "ackd/conn_internal.h"

#include "ackd/binding.h"
#include "ackd/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes that grow. */
struct bytes {
	uint8_t *data;
	size_t length;
};

static int bytes_append(struct bytes *bytes, const void *p, size_t n)
{
	uint8_t *data;

	if (n == 0)
		return 0;
	data = realloc(bytes->data, bytes->length + n);
	if (!data)
		return -ENOMEM;
	memcpy(data + bytes->length, p, n);
	bytes->data = data;
	bytes->length += n;
	return 0;
}

/* Appends the output that the socket has not taken, and the rest of the reply under way. */
static int collect_output(struct conn *c, struct session_io *io, struct bytes *output,
			  struct session_rest *rest)
{
	int r = 0, state;

	if (c->output) {
		const struct conn_output *o = c->output;

		r = bytes_append(output, o->bytes + o->sent, o->length - o->sent);
	}
	do {
		state = session_suspend(&c->session, io, rest);
		for (unsigned i = 0; i < io->n_spans && r == 0; i++)
			r = bytes_append(output, io->spans[i].iov_base, io->spans[i].iov_len);
		session_io_clear(io);
	} while (state == SESSION_FULL && r == 0);
	return r;
}

static int collect_input(const struct conn *c, const struct session_rest *rest, struct bytes *input)
{
	int r = 0;

	if (c->proxy)
		return bytes_append(input, c->proxy->bytes, c->proxy->length);
	for (unsigned i = 0; i < rest->n_input && r == 0; i++)
		r = bytes_append(input, rest->input[i].iov_base, rest->input[i].iov_len);
	return r;
}

/* Adds @c to the state. Nothing more is done with its session. */
static int conn_save(struct conn *c, struct session_io *io, struct state_writer *writer)
{
	struct bytes input = {0}, output = {0};
	struct session_rest rest = {0};
	int r = collect_output(c, io, &output, &rest);

	if (r == 0)
		r = collect_input(c, &rest, &input);
	if (r == 0) {
		const struct state_connection state = {
			.listener = c->listener->settings->name,
			.address = c->address,
			.connection = c->session.connection,
			.received = rest.place.received,
			.line_start = rest.place.line_start,
			.messages = rest.place.messages,
			.sent = c->sent,
			.ended = c->ended || rest.ended,
			.done = rest.place.done || c->phase >= CONN_DELIVERING,
			.skipping = rest.place.skipping,
			.sent_anything = rest.place.sent_anything,
			.last_byte = rest.place.last_byte,
			.input = input.data,
			.input_length = input.length,
			.output = output.data,
			.output_length = output.length,
		};

		r = state_add(writer, &state);
	}
	free(input.data);
	free(output.data);
	return r;
}

/* Queues the descriptors of connections that have been added since @mark, and closes them here. */
static void batch_send(struct handover *handover, struct conn_batch *batch)
{
	int fds[HANDOVER_BATCH];
	enum conn_reason reason = CONN_HANDED_OVER;
	int r;

	if (batch->n == 0)
		return;
	for (unsigned i = 0; i < batch->n; i++)
		fds[i] = batch->conns[i]->fd;
	r = handover_send(handover, fds, batch->n);
	if (r < 0) {
		state_truncate(&handover->writer, &batch->mark);
		reason = CONN_SHUTDOWN;
		handover->n_lost += batch->n;
		handover->error = r;
	}
	for (unsigned i = 0; i < batch->n; i++)
		conn_close(batch->conns[i], reason);
	batch->n = 0;
	batch->mark = state_mark(&handover->writer);
}

void conn_batch_init(struct conn_batch *batch, struct handover *handover)
{
	batch->n = 0;
	batch->mark = state_mark(&handover->writer);
}

static void conn_hand_over(struct conn *c, struct handover *handover, struct conn_batch *batch)
{
	struct session_io *io = &conn_worker(c)->io;
	int r;

	if (c->phase == CONN_CLOSING)
		return;
	conn_poll(c, 0);
	if (!c->admitted && !c->placed) { /* it has been refused */
		conn_close(c, CONN_REFUSED);
		return;
	}
	io->on_nak_data = c; /* the rest of the reply under way may be a NAK */
	r = conn_save(c, io, &handover->writer);
	if (r < 0) {
		handover->n_lost++;
		handover->error = r;
		conn_close(c, CONN_MEMORY);
		return;
	}
	batch->conns[batch->n++] = c;
	if (batch->n == HANDOVER_BATCH)
		batch_send(handover, batch);
}

void conn_queue_hand_over(struct conn_queue *queue, struct handover *handover,
			  struct conn_batch *batch)
{
	struct conn *next;

	/* a batch that is full is closed, which takes it out of the queue: never the next one */
	for (struct conn *c = queue->first; c; c = next) {
		next = c->next;
		conn_hand_over(c, handover, batch);
	}
}

void conn_batch_finish(struct conn_batch *batch, struct handover *handover)
{
	batch_send(handover, batch);
}

/* ---- in the next process ---- */

static void conn_take_up(struct conn *c, const struct state_connection *from)
{
	const struct session_rest rest = {
		.input = {{(void *)(uintptr_t)from->input, from->input_length}},
		.n_input = 1,
		.place =
			{
				.received = from->received,
				.line_start = from->line_start,
				.messages = from->messages,
				.skipping = from->skipping,
				.sent_anything = from->sent_anything,
				.last_byte = from->last_byte,
				.done = from->done,
			},
		.ended = from->ended,
	};
	struct session_io *io = &conn_worker(c)->io;
	int r;

	c->admitted = true;
	c->ended = from->ended;
	c->sent = from->sent;
	c->phase = from->done ? CONN_DELIVERING : CONN_SERVING;
	c->session.connection = from->connection;
	conn_log_connect(c);
	session_restore(&c->session, &rest.place);
	r = conn_name_peer(c);
	if (r == 0)
		r = session_defer(&c->session, io, rest.input, rest.n_input, rest.ended);
	if (r < 0) {
		conn_fail_memory(c, r);
		return;
	}
	conn_wait(c, &c->listener->idle);
	conn_send_first(c, from->output, from->output_length);
}

void conn_restore(struct listener *listener, int fd, const struct state_connection *from)
{
	struct conn *c;

	binding_set_timeout(fd, listener->config->idle_timeout_ms);
	if (from->connection == 0) { /* its PROXY header is incomplete */
		if (!listener_is_proxied(listener)) {
			listener_count_refusal(listener, &from->address, REFUSAL_PROXY,
					       "the listener takes no PROXY header any more");
			close(fd);
			return;
		}
		c = conn_open_proxied(listener, fd, &from->address);
		if (c && from->input_length > 0)
			conn_take_other(c, from->input, from->input_length);
		return;
	}
	if (listener_admit(listener, &from->address, false) != REFUSAL_NONE) {
		counter_add(listener->counters, COUNTER_CLOSED, 1);
		close(fd);
		return;
	}
	c = conn_create(listener, fd, &from->address);
	if (c) {
		conn_take_up(c, from);
	} else {
		listener_count_refusal(listener, &from->address, REFUSAL_MEMORY, NULL);
		counter_add(listener->counters, COUNTER_CLOSED, 1);
		limits_release(listener->worker->limits, &from->address);
	}
}
