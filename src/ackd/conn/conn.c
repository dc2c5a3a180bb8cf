#include "ackd/conn/conn.h"

#include "ackd/conn/internal.h"
#include "base/sock.h"
#include "base/states.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* every connection has one, even an idle one */
static_assert(sizeof(struct conn) - sizeof(uv_poll_t) <= 168, "struct conn has grown");

/* ---- states ---- */

static const struct state_row states[] = {
	[CONN_NEW] = {"new", STATES_BIT(CONN_PROXY_HEADER) | STATES_BIT(CONN_HANDSHAKE) |
				     STATES_BIT(CONN_SERVING) | STATES_BIT(CONN_LINGERING) |
				     STATES_BIT(CONN_CLOSING)},
	[CONN_PROXY_HEADER] = {"PROXY header",
			       STATES_BIT(CONN_HANDSHAKE) | STATES_BIT(CONN_SERVING) |
				       STATES_BIT(CONN_LINGERING) | STATES_BIT(CONN_CLOSING)},
	[CONN_WAITING] = {"waiting for a TLS handshake", STATES_BIT(CONN_HANDSHAKE) |
								 STATES_BIT(CONN_LINGERING) |
								 STATES_BIT(CONN_CLOSING)},
	[CONN_HANDSHAKE] = {"TLS handshake", STATES_BIT(CONN_WAITING) | STATES_BIT(CONN_FLIGHT) |
						     STATES_BIT(CONN_SERVING) |
						     STATES_BIT(CONN_LINGERING) |
						     STATES_BIT(CONN_CLOSING)},
	[CONN_FLIGHT] = {"TLS flight", STATES_BIT(CONN_HANDSHAKE) | STATES_BIT(CONN_LINGERING) |
					       STATES_BIT(CONN_CLOSING)},
	[CONN_SERVING] = {"serving", STATES_BIT(CONN_SENDING) | STATES_BIT(CONN_LINGERING) |
					     STATES_BIT(CONN_CLOSING)},
	[CONN_SENDING] = {"sending", STATES_BIT(CONN_SERVING) | STATES_BIT(CONN_LINGERING) |
					     STATES_BIT(CONN_CLOSING)},
	[CONN_LINGERING] = {"lingering", STATES_BIT(CONN_CLOSING)},
	[CONN_CLOSING] = {"closing", 0},
};

/* The event and the timeout that a connection waits for. */
static const struct {
	uint8_t event;
	uint8_t queue; /* enum conn_queue_class */
} waits[] = {
	[CONN_NEW] = {0, QUEUE_NONE},
	[CONN_PROXY_HEADER] = {UV_READABLE, QUEUE_PROXY_HEADER},
	[CONN_WAITING] = {0, QUEUE_HANDSHAKE},
	[CONN_HANDSHAKE] = {UV_READABLE, QUEUE_HANDSHAKE},
	[CONN_FLIGHT] = {UV_WRITABLE, QUEUE_HANDSHAKE},
	[CONN_SERVING] = {UV_READABLE, QUEUE_IDLE},
	[CONN_SENDING] = {UV_WRITABLE, QUEUE_IDLE},
	[CONN_LINGERING] = {UV_READABLE, QUEUE_LINGER},
	[CONN_CLOSING] = {0, QUEUE_NONE},
};

static const struct state_row places[] = {
	[PLACE_NONE] = {"none", STATES_BIT(PLACE_REFUSAL)},
	[PLACE_PROXY] = {"proxy", STATES_BIT(PLACE_CLIENT) | STATES_BIT(PLACE_NONE)},
	[PLACE_CLIENT] = {"client", STATES_BIT(PLACE_NONE)},
	[PLACE_REFUSAL] = {"refusal", STATES_BIT(PLACE_NONE)},
};

int conn_event(const struct conn *c)
{
	return waits[c->state].event;
}

/* Moves @c from the queue of its state to that of the state @next. */
static void change_queue(struct conn *c, enum conn_state next)
{
	struct conn_queue *queues = conn_listener(c)->queues;
	unsigned before = waits[c->state].queue, after = waits[next].queue;

	if (before == after)
		return;
	if (before != QUEUE_NONE)
		list_remove(&c->node);
	if (after == QUEUE_NONE)
		return;
	c->active_ms = uv_now(&conn_reactor(c)->loop);
	list_append(&queues[after].conns, &c->node);
	if (queues[after].timeout_ms > 0)
		reactor_wake_in(conn_reactor(c), queues[after].timeout_ms);
}

void conn_move(struct conn *c, enum conn_state state)
{
	if (c->state == state)
		return;
	change_queue(c, state);
	states_move(states, &c->state, state);
	if (state != CONN_CLOSING) /* closing the handle stops polling */
		conn_poll(c, conn_event(c));
}

void conn_wait_again(struct conn *c, uint64_t now_ms)
{
	struct conn_queue *queue = &conn_listener(c)->queues[waits[c->state].queue];

	c->active_ms = now_ms;
	list_remove(&c->node);
	list_append(&queue->conns, &c->node);
}

void conn_check_invariant(const struct conn *c)
{
	const uint32_t ends = STATES_BIT(CONN_LINGERING) | STATES_BIT(CONN_CLOSING);
	bool is_ending = states_in(c->state, ends);

	assert(c->polled == waits[c->state].event);
	assert(!c->unanswered || c->polled == UV_READABLE);
	assert(!c->pending || c->state == CONN_PROXY_HEADER || conn_is_handshaking(c) ||
	       c->state == CONN_SENDING);
	assert(!session_is_held(&c->session) || c->state == CONN_SENDING);
	/* a session that has ended has a last reply to send, or is over */
	assert(!c->session.place.done || c->state == CONN_SENDING || is_ending);
	assert(c->state != CONN_SENDING || c->pending || session_is_held(&c->session));
	/* the end of input ends the connection unless output is pending */
	assert(!c->ended || c->state == CONN_SENDING || c->state == CONN_CLOSING);
	assert(is_ending == (c->reason != CONN_OPEN));
	/* a drain ends the connection when it has read everything */
	assert(c->draining || c->drain_left == 0);
	assert(!c->draining || c->drain_left > 0 || c->state == CONN_SENDING ||
	       c->state == CONN_CLOSING);
	switch ((enum conn_state)c->state) {
	case CONN_NEW:
	case CONN_CLOSING:
		break;
	case CONN_PROXY_HEADER:
		assert(c->place == PLACE_PROXY && c->session.connection == 0);
		break;
	case CONN_WAITING:
	case CONN_HANDSHAKE:
	case CONN_FLIGHT:
		assert(c->place == PLACE_CLIENT && c->session.connection == 0 && c->has_tls);
		break;
	case CONN_SERVING:
	case CONN_SENDING:
		assert(c->place == PLACE_CLIENT && c->session.connection > 0);
		break;
	case CONN_LINGERING:
		assert(c->place == PLACE_CLIENT || c->place == PLACE_REFUSAL);
		break;
	}
}

/* ---- places in the limits ---- */

static void place_release(struct limits *limits, enum conn_place place,
			  const struct address *address)
{
	switch (place) {
	case PLACE_NONE:
		break;
	case PLACE_PROXY:
		limits_release(limits, &(struct address){.family = AF_UNIX});
		break;
	case PLACE_CLIENT:
		limits_release(limits, address);
		break;
	case PLACE_REFUSAL:
		limits_refusal_end(limits);
		break;
	}
}

void conn_set_place(struct conn *c, enum conn_place place)
{
	states_move(places, &c->place, place);
}

void conn_release_place(struct conn *c)
{
	if (c->place == PLACE_NONE)
		return;
	place_release(conn_reactor(c)->limits, c->place, &c->address);
	conn_set_place(c, PLACE_NONE);
}

/* ---- pending bytes ---- */

size_t conn_pending_held_bytes(const struct conn *c)
{
	return c->pending ? sizeof(*c->pending) + c->pending->capacity : 0;
}

int conn_pending_reserve(struct conn *c, size_t capacity)
{
	size_t more = sizeof(*c->pending) + capacity - conn_pending_held_bytes(c);
	struct budget *budget = &conn_reactor(c)->limits->budget;
	struct conn_pending *pending;

	if (!budget_take(budget, more))
		return -ENOBUFS;
	pending = realloc(c->pending, sizeof(*pending) + capacity);
	if (!pending) {
		budget_give(budget, more);
		return -ENOMEM;
	}
	if (!c->pending)
		pending->length = pending->sent = 0;
	pending->capacity = (uint32_t)capacity;
	c->pending = pending;
	return 0;
}

void conn_pending_free(struct conn *c)
{
	budget_give(&conn_reactor(c)->limits->budget, conn_pending_held_bytes(c));
	free(c->pending);
	c->pending = NULL;
}

/* ---- the end ---- */

void conn_on_closed(struct conn *c)
{
	struct listener *listener = conn_listener(c);
	struct reactor *reactor = listener->reactor;

	if (c->session.connection > 0)
		conn_log_disconnect(c);
	conn_release_place(c);
	conn_names_free(c);
	free(c);
	listener_unref(listener);
	if (--reactor->connections == 0 && reactor->on_empty)
		reactor->on_empty(reactor);
}

void conn_close(struct conn *c, enum conn_reason reason)
{
	if (c->state == CONN_CLOSING)
		return;
	if (c->reason == CONN_OPEN || reason == CONN_HANDED_OVER)
		c->reason = (uint8_t)reason;
	/* counted here: a hand-over copies the counters before the handle is closed */
	if (c->session.connection > 0 && reason != CONN_HANDED_OVER)
		counters_close(conn_listener(c)->counters, c->reason);
	if (c->has_tls)
		conn_tls_close(c);
	conn_move(c, CONN_CLOSING);
	/*
	 * released here, not in the next iteration: connections answered meanwhile may need the
	 * memory
	 */
	session_finish(&c->session, &conn_reactor(c)->io);
	conn_pending_free(c);
	conn_socket_close(c);
}

void conn_fail_memory(struct conn *c, int error)
{
	conn_close(c, error == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY);
}

void conn_fail(struct conn *c, int error)
{
	if (c->state == CONN_PROXY_HEADER) {
		conn_proxy_end(c, "connection lost before the PROXY header was complete");
	} else if (conn_is_handshaking(c)) {
		if (error == UV_ENOBUFS || error == UV_ENOMEM)
			conn_tls_refuse_memory(c, error);
		else
			conn_tls_refuse(c, TLS_RESULT_CLOSED,
					"connection lost during the TLS handshake");
	} else if (error == UV_ENOBUFS || error == UV_ENOMEM) {
		conn_fail_memory(c, error);
	} else {
		if (c->reason == CONN_OPEN)
			c->error = (int16_t)error;
		conn_close(c, CONN_RESET);
	}
}

void conn_finish(struct conn *c, enum conn_reason reason)
{
	if (c->has_tls && conn_tls_end_output(c)) {
		/* the last record, too, waits for room in the socket */
		c->end_reason = (uint8_t)reason;
		c->unsent = sock_unsent(c->fd);
		conn_move(c, CONN_SENDING);
		return;
	}
	/* if all input has been read, closing sends no reset */
	if (c->ended || !conn_socket_end_output(c)) {
		conn_close(c, reason);
		return;
	}
	c->reason = (uint8_t)reason;
	c->draining = false; /* input is dropped, however much */
	c->drain_left = 0;
	conn_move(c, CONN_LINGERING);
}

bool conn_time_out(struct conn *c)
{
	int before = c->unsent;

	if (c->state == CONN_PROXY_HEADER) {
		conn_proxy_fail(c, "no PROXY header in time");
		return false;
	}
	if (conn_is_handshaking(c)) {
		conn_tls_refuse(c, TLS_RESULT_TIMEOUT,
				c->state == CONN_WAITING ? "no place for a TLS handshake in time"
							 : "no TLS handshake in time");
		return false;
	}
	if (c->state == CONN_SENDING) {
		/*
		 * Polling cannot detect that a slow peer acknowledges data: a socket becomes
		 * writable only after sending a good part of its buffer, which may be megabytes.
		 */
		c->unsent = sock_unsent(c->fd);
		if (c->unsent >= 0 && c->unsent < before)
			return true;
	}
	conn_close(c, CONN_IDLE);
	return false;
}

/* ---- the pump ---- */

/* Ends a draining connection, all of whose input has been answered. */
static void conn_drained(struct conn *c)
{
	if (conn_socket_at_end(c))
		conn_on_end(c); /* the end of input must be answered */
	else
		conn_finish(c, c->end_reason);
}

/* Returns why @c ends, whose session is done. */
static enum conn_reason session_reason(const struct conn *c)
{
	if (c->end_reason != CONN_OPEN)
		return c->end_reason;
	switch ((enum session_end)c->session.place.done) {
	case SESSION_QUIT:
		return CONN_QUIT;
	case SESSION_CLOSED:
		return CONN_CLOSE;
	case SESSION_NAKED:
		return c->ended ? CONN_END : CONN_NAK;
	case SESSION_OPEN:
	case SESSION_ENDED:
	case SESSION_END_COUNT:
		break;
	}
	return CONN_END;
}

/*
 * Continues after all input that was read has been answered, and all output has been sent. @result
 * is that of the last session call.
 */
static void conn_settle(struct conn *c, int result)
{
	if (result == SESSION_DONE)
		conn_finish(c, session_reason(c));
	else if (c->has_tls && conn_tls_has_failed(c))
		conn_tls_fail(c);
	else if (c->draining && c->drain_left == 0)
		conn_drained(c);
	else if (c->has_tls && conn_tls_must_close(c))
		conn_finish(c, CONN_TLS_LIMIT);
	else
		conn_move(c, CONN_SERVING);
}

/*
 * Returns whether a call that returned SESSION_FULL has done all the work that a connection may do
 * in one loop iteration. Running out of spans does not mean much work, and happens with ordinary
 * input.
 */
static bool has_had_its_turn(const struct session_io *io)
{
	return io->out.n_spans < SESSION_SPANS_MAX || io->out.n_bytes >= SESSION_REPLY_MAX / 2;
}

/* Sends the output of @io. Returns as conn_socket_send() does. */
static int send_out(struct conn *c, struct session_io *io)
{
	if (io->out.n_bytes == 0)
		return 0;
	return c->has_tls ? conn_tls_send(c, io) : conn_socket_send(c, io);
}

/*
 * Continues after conn_socket_send() has returned @sent for the output of a session call that
 * returned @result. @has_had_turn: see has_had_its_turn().
 */
static void pump(struct conn *c, struct session_io *io, int result, bool has_had_turn, int sent)
{
	for (;;) {
		bool pauses = sent > 0;
		int held = 0;

		if (result == SESSION_FULL && sent >= 0 && (pauses || has_had_turn)) {
			held = session_hold(&c->session, io);
			/*
			 * without pending output, a lack of memory means only that the input is
			 * answered in this iteration
			 */
			pauses |= held == 0;
		}
		conn_count_messages(c, io);
		session_io_clear(io);
		if (result < 0 || sent < 0 || (held < 0 && pauses)) {
			conn_fail(c, result < 0 ? result : sent < 0 ? sent : held);
			return;
		}
		if (pauses) {
			c->unsent = sock_unsent(c->fd);
			conn_move(c, CONN_SENDING);
			return;
		}
		if (result != SESSION_FULL)
			break;
		result = session_resume(&c->session, io);
		has_had_turn = has_had_its_turn(io);
		sent = send_out(c, io);
	}
	conn_settle(c, result);
}

void conn_pump_sent(struct conn *c, struct session_io *io, int result, int sent)
{
	if (sent < 0 && sent != UV_EPROTO && c->has_tls) /* not for lack of keys */
		conn_tls_cut_output(c);
	pump(c, io, result, false, sent);
}

void conn_pump(struct conn *c, struct session_io *io, int result)
{
	bool has_had_turn = has_had_its_turn(io);

	pump(c, io, result, has_had_turn, send_out(c, io));
}

/* ---- input ---- */

void conn_take_input(struct conn *c, const uint8_t *data, size_t n)
{
	const struct iovec input = {(void *)(uintptr_t)data, n};
	struct session_io *io = conn_io(c);
	int r;

	if (c->state == CONN_SERVING) {
		conn_pump(c, io, session_feed_all(&c->session, io, data, n, c->ended));
	} else if (c->state == CONN_SENDING) {
		r = session_defer(&c->session, io, &input, 1, c->ended);
		if (r < 0)
			conn_fail_memory(c, r);
	}
}

void conn_take(struct conn *c, const uint8_t *data, size_t n)
{
	size_t header = 0;

	if (c->state == CONN_PROXY_HEADER)
		header = conn_proxy_read(c, data, n);
	if (c->draining)
		c->drain_left -= (uint32_t)n;
	if (!c->has_tls)
		conn_count_received(c, n - header);
	if (c->state == CONN_PROXY_HEADER && c->draining && c->drain_left == 0)
		conn_close(c, CONN_DRAIN); /* the client is unknown, so nothing is answered */
	else if (c->has_tls)
		conn_tls_take(c, data + header, n - header);
	else
		conn_take_input(c, data + header, n - header);
	conn_check_invariant(c);
}

void conn_on_end(struct conn *c)
{
	struct session_io *io = conn_io(c);

	if (c->state == CONN_PROXY_HEADER) {
		conn_proxy_end(c, "closed before the PROXY header was complete");
	} else if (c->state == CONN_LINGERING) {
		conn_close(c, CONN_END);
	} else if (conn_is_handshaking(c)) {
		conn_tls_refuse(c, TLS_RESULT_CLOSED, "closed during the TLS handshake");
	} else if (c->has_tls) {
		conn_close(c, CONN_TLS_CUT);
	} else {
		c->ended = true;
		conn_pump(c, io, session_end(&c->session, io));
	}
	conn_check_invariant(c);
}

void conn_drain(struct conn *c)
{
	conn_drain_for(c, CONN_DRAIN, 0);
}

void conn_drain_for(struct conn *c, enum conn_reason reason, size_t n_read)
{
	const uint32_t begun =
		STATES_BIT(CONN_PROXY_HEADER) | STATES_BIT(CONN_SERVING) | STATES_BIT(CONN_SENDING);
	size_t arrived;

	if (conn_is_handshaking(c)) {
		conn_close(c, CONN_DRAIN);
		return;
	}
	if (c->draining || !states_in(c->state, begun) || c->session.place.done)
		return; /* it already ends */
	c->draining = true;
	c->end_reason = (uint8_t)reason;
	arrived = n_read + conn_socket_arrived(c);
	c->drain_left = (uint32_t)(arrived < DRAIN_READ_MAX ? arrived : DRAIN_READ_MAX);
	if (c->drain_left == 0 && c->state == CONN_PROXY_HEADER)
		conn_close(c, CONN_DRAIN);
	else if (c->drain_left == 0 && c->state == CONN_SERVING)
		conn_drained(c);
	conn_check_invariant(c);
}

/* ---- the beginning ---- */

size_t conn_bytes(bool has_tls)
{
	return sizeof(struct conn) + (has_tls ? conn_tls_bytes : 0);
}

struct conn *conn_create(struct listener *listener, int fd, const struct address *address,
			 enum conn_place place, bool has_tls)
{
	struct reactor *reactor = listener->reactor;
	struct conn *c = malloc(conn_bytes(has_tls));
	enum refusal refusal = REFUSAL_MEMORY;
	int r;

	if (!c)
		goto fail;
	memset(c, 0, offsetof(struct conn, poll));
	c->poll.data = listener;
	r = has_tls ? conn_tls_init(c) : 0;
	if (r == -ENOTSUP)
		refusal = REFUSAL_TLS;
	if (r < 0 || conn_socket_open(c, fd) < 0)
		goto fail;
	c->has_tls = c->counted = has_tls;
	listener_ref(listener);
	reactor->connections++;
	c->place = (uint8_t)place;
	c->address = *address;
	c->opened_ns = uv_hrtime();
	session_init(&c->session, &listener->settings->policy, NULL, 0);
	return c;

fail:
	free(c);
	close(fd);
	if (place != PLACE_REFUSAL)
		listener_count_refusal(listener, address, refusal,
				       refusal == REFUSAL_TLS ? conn_tls_lack : NULL);
	place_release(reactor->limits, place, address);
	return NULL;
}

void conn_begin(struct conn *c, const struct conn_names *names)
{
	int r = conn_name(c, names);

	if (c->has_tls && r == 0)
		conn_tls_begin(c);
	else
		conn_serve(c, r);
}

void conn_serve(struct conn *c, int r)
{
	struct session_io *io = conn_io(c);

	conn_move(c, CONN_SERVING);
	c->session.connection = limits_number(conn_reactor(c)->limits);
	counter_add(conn_listener(c)->counters, COUNTER_CONNECTIONS, 1);
	conn_log_connect(c);
	if (r < 0) {
		conn_fail_memory(c, r);
		return;
	}
	conn_pump(c, io, session_greet(&c->session, io));
}

void conn_tell_refusal(struct conn *c, const struct conn_names *names)
{
	static const struct nak nak = {.reason = NAK_TOO_MANY_CONNECTIONS};
	struct session_io *io = conn_io(c);
	int sent = 0;

	counter_add(conn_listener(c)->counters, COUNTER_NAKS + nak.reason, 1);
	conn_name(c, names); /* without memory the NAK lacks them */
	session_refuse(&c->session, io, &nak);
	if (io->out.n_bytes > 0)
		sent = conn_socket_send(c, io);
	session_io_clear(io);
	/* the buffer of a new socket has room for a line unless the peer is gone */
	if (sent != 0)
		conn_close(c, CONN_REFUSED);
	else
		conn_finish(c, CONN_REFUSED);
}

void conn_refuse(struct listener *listener, int fd, const struct address *address,
		 enum refusal refusal)
{
	struct conn *c;

	if (!listener_may_tell(listener, refusal)) {
		close(fd);
		return;
	}
	c = conn_create(listener, fd, address, PLACE_REFUSAL, false);
	if (c)
		conn_tell_refusal(c, &conn_no_names);
}

void conn_accept(struct listener *listener, int fd, const struct address *address)
{
	enum refusal refusal;
	struct conn *c;

	if (listener_is_proxied(listener)) {
		conn_proxy_open(listener, fd, address);
		return;
	}
	refusal = listener_admit(listener, address, false);
	if (refusal != REFUSAL_NONE) {
		conn_refuse(listener, fd, address, refusal);
		return;
	}
	c = conn_create(listener, fd, address, PLACE_CLIENT, listener_has_tls(listener));
	if (!c)
		return;
	conn_begin(c, &conn_no_names);
	conn_check_invariant(c);
}
