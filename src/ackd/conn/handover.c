/*
 * Hands over and restores a connection. Its undelivered output and unanswered input are written to
 * the state, and its memory is released. When the segment is full, the descriptor is queued and
 * this process's copy is closed without a shutdown. The next process first sends the output, then
 * handles the input as if it had just been read.
 */

#include "ackd/conn/handover.h"

#include "ackd/conn/internal.h"
#include "ackd/sockets/endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t held_bytes(const struct conn *c)
{
	return session_held_bytes(&c->session) + conn_pending_held_bytes(c) +
	       conn_names_charge(c->session.names) + (c->has_tls ? conn_tls_held_bytes(c) : 0);
}

/* Returns the most bytes of a state for which the budget has room in place of what @c holds. */
static size_t room_for(const struct conn *c)
{
	const struct budget *budget = &conn_reactor(c)->limits->budget;
	size_t max = budget_max(budget), used = budget_used(budget);

	return held_bytes(c) + (c->has_tls ? conn_tls_saved_bytes : 0) +
	       (max > used ? max - used : 0);
}

/* Adds the pending output and the rest of the current reply, or that of all if TLS ends here. */
static int save_output(struct conn *c, struct session_io *io, struct handover *handover,
		       bool is_ending, struct session_rest *rest)
{
	int r = 0, state;

	if (c->pending && c->state == CONN_SENDING) {
		const struct conn_pending *o = c->pending;

		r = handover_put(handover, o->bytes + o->sent, o->length - o->sent);
	}
	if (is_ending && r == 0)
		r = conn_tls_save_end(c, io, handover, room_for(c));
	do {
		state = session_suspend(&c->session, io, rest);
		for (unsigned i = 0; i < io->out.n_spans && r == 0 && !c->has_tls; i++)
			r = handover_put(handover, io->out.spans[i].iov_base,
					 io->out.spans[i].iov_len);
		if (c->has_tls && r == 0)
			r = conn_tls_save_output(c, io, handover);
		session_io_clear(io);
	} while (state == SESSION_FULL && r == 0);
	if (is_ending)
		rest->n_input = 0; /* of an unfinished message */
	return r;
}

static int save_input(const struct conn *c, struct handover *handover,
		      const struct session_rest *rest)
{
	int r = 0;

	if (c->pending && c->state == CONN_PROXY_HEADER)
		return handover_put(handover, c->pending->bytes, c->pending->length);
	for (unsigned i = 0; i < rest->n_input && r == 0; i++)
		r = handover_put(handover, rest->input[i].iov_base, rest->input[i].iov_len);
	return r;
}

/*
 * Adds the names from a PROXY header and from a certificate, which are the last four of the
 * connection's names. The next process makes the other names itself.
 */
static int save_names(const struct conn *c, struct handover *handover)
{
	const struct conn_names names = conn_names_of(c);
	size_t n = conn_names_charge(c->session.names) + strlen(names.local);

	if (n == 0 || (!*names.tls_subject && !listener_is_proxied(conn_listener(c))))
		return 0;
	return handover_put(handover, names.proxy_id, n + 4);
}

/*
 * Adds all parts except the record of @c, and fills the record. The session must not be used
 * afterwards.
 */
static int save(struct conn *c, struct session_io *io, struct handover *handover,
		struct state_record *ret_record)
{
	/* a lingering connection is one without TLS */
	bool has_keys = c->has_tls && (c->state == CONN_SERVING || c->state == CONN_SENDING);
	bool is_ending = has_keys && conn_tls_is_ending(c);
	struct session_rest rest = {0};
	size_t output_bytes, input_bytes, names_bytes;
	int r = handover_begin(handover, conn_listener(c)->settings->name);

	if (r == 0)
		r = save_output(c, io, handover, is_ending, &rest);
	if (r < 0)
		return r;
	output_bytes = handover->put_bytes;
	r = save_input(c, handover, &rest);
	input_bytes = handover->put_bytes - output_bytes;
	if (r == 0)
		r = save_names(c, handover);
	names_bytes = handover->put_bytes - output_bytes - input_bytes;
	if (r == 0 && has_keys && !is_ending)
		r = conn_tls_save(c, handover);
	if (r < 0)
		return r;
	if (handover->put_bytes > UINT32_MAX)
		return -EFBIG;
	*ret_record = (struct state_record){
		.connection = c->session.connection,
		.sent = c->sent,
		.place = rest.place,
		.address = c->address,
		.ended = c->ended || rest.ended,
		.counted = c->counted,
		.output_length = (uint32_t)output_bytes,
		.input_length = (uint32_t)input_bytes,
		.names_length = (uint16_t)names_bytes,
		.tls_length =
			(uint32_t)(handover->put_bytes - output_bytes - input_bytes - names_bytes),
	};
	if (c->state == CONN_LINGERING || is_ending || rest.place.done) {
		ret_record->error = c->error;
		ret_record->end_reason = c->state == CONN_LINGERING ? c->reason : c->end_reason;
		if (rest.place.done == SESSION_OPEN)
			ret_record->place.done = SESSION_ENDED;
	}
	return 0;
}

/*
 * Adds @c to the state and releases its memory. The budget then counts the bytes in the state
 * instead. They exceed what @c held when the rest of the current reply is longer than its message.
 * If the budget has no room for the difference, this fails with -ENOBUFS.
 */
static int conn_save(struct conn *c, struct session_io *io, struct handover *handover)
{
	struct budget *budget = io->budget;
	size_t held = held_bytes(c), free_bytes = c->has_tls ? conn_tls_saved_bytes : 0;
	size_t charged, now, taken = 0;
	struct state_record record;
	int r = save(c, io, handover, &record);

	if (r < 0)
		return r;
	charged = handover->put_bytes > free_bytes ? handover->put_bytes - free_bytes : 0;
	/*
	 * making the rest of the reply may have released a part of what was held; an unfinished
	 * message that was read meanwhile may hold more
	 */
	now = held_bytes(c);
	if (charged > held && charged > now)
		taken = charged - now;
	if (!budget_take(budget, taken))
		return -ENOBUFS;
	r = handover_end(handover, &record);
	if (r < 0) {
		budget_give(budget, taken);
		return r;
	}
	session_finish(&c->session, io);
	conn_pending_free(c);
	budget_add(budget, charged - taken);
	return 0;
}

/* The connections of the current segment. */
struct batch {
	struct conn *conns[HANDOVER_BATCH];
	unsigned n;
};

/* Hands over the connections of @batch, and closes them in this process without a shutdown. */
static void batch_send(struct batch *batch, struct handover *handover)
{
	int fds[HANDOVER_BATCH];
	enum conn_reason reason = CONN_HANDED_OVER;
	int r;

	if (batch->n == 0)
		return;
	for (unsigned i = 0; i < batch->n; i++)
		fds[i] = batch->conns[i]->fd;
	r = handover_send(handover, fds);
	if (r < 0) {
		reason = CONN_SHUTDOWN;
		handover->n_lost += batch->n;
		handover->error = r;
	}
	for (unsigned i = 0; i < batch->n; i++)
		conn_close(batch->conns[i], reason);
}

/* Saves @c and adds it to @batch, or closes it if it cannot be handed over. */
static void batch_add(struct batch *batch, struct conn *c, struct handover *handover)
{
	struct session_io *io = conn_io(c); /* the rest of the reply may contain a NAK */
	int r;

	if (conn_is_handshaking(c)) {
		conn_close(c, CONN_SHUTDOWN);
		return;
	}
	if (c->place == PLACE_REFUSAL || c->reason == CONN_REFUSED) {
		conn_close(c, CONN_REFUSED);
		return;
	}
	conn_poll(c, 0);
	r = conn_save(c, io, handover);
	if (r == -ECONNRESET) {
		conn_close(c, CONN_TLS_ALERT);
		return;
	}
	if (r < 0) {
		handover->n_lost++;
		handover->error = r;
		conn_fail_memory(c, r);
		return;
	}
	batch->conns[batch->n++] = c;
}

/* Adds connections to @batch until a segment is full. Returns whether it is. */
static bool batch_fill(struct batch *batch, struct reactor *reactor, struct handover *handover)
{
	struct conn *c, *next;
	struct listener *l;

	list_for_each (l, &reactor->listeners, node)
		for (unsigned i = 0; i < QUEUE_COUNT; i++)
			list_for_each_safe (c, next, &l->queues[i].conns, node) {
				if (handover_is_full(handover))
					return true;
				batch_add(batch, c, handover);
			}
	return handover_is_full(handover);
}

bool reactor_hand_over(struct reactor *reactor, struct handover *handover)
{
	struct batch batch = {.n = 0};
	bool full;

	/* clients whose handshakes lack only this regard them as complete */
	while (reactor->tls && conn_tls_work(reactor))
		;
	full = batch_fill(&batch, reactor, handover);
	batch_send(&batch, handover);
	return full;
}

/* ---- in the next process ---- */

/* Returns why the connection ends. A reason that is not one of a served connection is damaged. */
static uint8_t end_reason_of(const struct state_record *record)
{
	bool is_reason = record->end_reason >= CONN_END && record->end_reason < CONN_REASON_COUNT;

	return is_reason || record->end_reason == CONN_OPEN ? record->end_reason : CONN_END;
}

static void conn_take_up(struct conn *c, const struct state_connection *from)
{
	const struct conn_names names = {from->proxy_id, from->authority, from->local,
					 from->tls_subject};
	const struct state_record *record = &from->record;
	struct session_io *io = conn_io(c);
	int r, sent = 0;

	conn_move(c, CONN_SERVING);
	c->sent = record->sent;
	c->counted |= record->counted;
	c->error = record->error;
	c->end_reason = end_reason_of(record);
	c->session.connection = record->connection;
	r = conn_name(c, &names);
	if (r == 0 && c->has_tls)
		r = conn_tls_restore(c, from->tls, record->tls_length);
	conn_log_connect(c);
	session_restore(&c->session, &record->place);
	if (r < 0) {
		conn_fail(c, r);
		return;
	}
	c->ended = record->ended;
	if (record->output_length > 0) {
		out_set(&io->out, from->output, record->output_length);
		sent = c->counted ? conn_socket_send_records(c, io) : conn_socket_send(c, io);
	}
	/* a connection that may not seal many more records ends when its input has been answered */
	if (sent == 0 && !c->session.place.done)
		session_io_clear(io);
	else
		conn_pump_sent(c, io, c->session.place.done ? SESSION_DONE : SESSION_IDLE, sent);
	conn_take_input(c, from->input, record->input_length);
}

/* Returns whether @c has less protection than its listener demands now. */
static bool is_outdated(const struct conn *c)
{
	return listener_has_tls(conn_listener(c)) && !(c->has_tls && conn_tls_suffices(c));
}

void conn_restore(struct listener *listener, int fd, const struct state_connection *from)
{
	const struct address *address = &from->record.address;
	struct conn *c;

	endpoint_set_timeouts(fd, listener->config->idle_timeout_ms,
			      listener->settings->keepalive_s);
	if (from->record.connection == 0) { /* its PROXY header is incomplete */
		if (!listener_is_proxied(listener)) {
			listener_count_refusal(listener, address, REFUSAL_PROXY,
					       "the listener no longer accepts PROXY headers");
			close(fd);
			return;
		}
		c = conn_proxy_open(listener, fd, address);
		if (c && from->record.input_length > 0)
			conn_take(c, from->input, from->record.input_length);
		return;
	}
	if (listener_admit(listener, address, false) != REFUSAL_NONE) {
		counters_close(listener->counters, CONN_REFUSED);
		close(fd);
		return;
	}
	c = conn_create(listener, fd, address, PLACE_CLIENT, from->record.tls_length > 0);
	if (!c) {
		counters_close(listener->counters, CONN_LOST);
		return;
	}
	conn_take_up(c, from);
	if (is_outdated(c))
		conn_drain_for(c, CONN_OUTDATED, 0);
	conn_check_invariant(c);
}
