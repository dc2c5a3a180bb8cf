#include "ackd/conn/conn.h"

#include "ackd/conn/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most input that is read from a connection after draining began. */
#define DRAIN_READ_MAX ((int)1024 * 1024)

/* ---- the end ---- */

size_t conn_names_charge(const char *names)
{
	return strlen(template_name(names, NAME_PROXY_ID)) +
	       strlen(template_name(names, NAME_AUTHORITY));
}

static void names_free(struct conn *c)
{
	budget_give(&conn_reactor(c)->limits->budget, conn_names_charge(c->session.names));
	free((char *)(uintptr_t)c->session.names);
}

void conn_on_closed(struct conn *c)
{
	struct listener *listener = c->listener;
	struct reactor *reactor = listener->reactor;

	conn_proxy_finish(c);
	if (c->admitted) {
		conn_log_disconnect(c);
		limits_release(reactor->limits, &c->address);
	}
	if (c->refusing)
		limits_refusal_end(reactor->limits);
	names_free(c);
	free(c);
	listener_unref(listener);
	reactor_conn_closed(reactor);
}

void conn_close(struct conn *c, enum conn_reason reason)
{
	if (c->phase == CONN_CLOSING)
		return;
	if (c->reason == CONN_OPEN || reason == CONN_HANDED_OVER)
		c->reason = (uint8_t)reason;
	/* counted here: a hand-over copies the counters before the handle is closed */
	if (c->admitted && reason != CONN_HANDED_OVER)
		counter_add(c->listener->counters, COUNTER_CLOSED, 1);
	c->phase = CONN_CLOSING;
	conn_unwait(c);
	/*
	 * released here, not in the next iteration: connections answered meanwhile may need the
	 * memory
	 */
	session_finish(&c->session, &conn_reactor(c)->io);
	if (c->output)
		conn_output_free(c);
	conn_socket_close(c);
}

void conn_fail(struct conn *c, int error)
{
	if (c->phase == CONN_PROXY_HEADER) {
		conn_proxy_end(c, "connection lost before the PROXY header was complete");
		return;
	}
	if (c->reason == CONN_OPEN)
		c->error = (int16_t)error;
	conn_close(c, CONN_RESET);
}

/* Ends @c after all output has been sent. */
static void conn_finish(struct conn *c, enum conn_reason reason)
{
	if (c->ended) {
		conn_close(c, reason); /* no input is unread, so closing sends no reset */
		return;
	}
	if (c->reason == CONN_OPEN)
		c->reason = (uint8_t)reason;
	c->phase = CONN_LINGERING;
	if (shutdown(c->fd, SHUT_WR) < 0) {
		conn_close(c, reason);
		return;
	}
	conn_wait(c, &conn_reactor(c)->lingering);
	conn_poll(c, UV_READABLE);
}

/* ---- out ---- */

void conn_fail_memory(struct conn *c, int error)
{
	conn_close(c, error == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY);
}

static enum conn_reason conn_end_reason(const struct conn *c)
{
	return c->draining ? CONN_DRAIN : c->ended ? CONN_END : CONN_NAK;
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

void conn_answer_more(struct conn *c, struct session_io *io, int state, int sent)
{
	for (;;) {
		int held;

		if (sent == 0 && state == SESSION_FULL && has_had_its_turn(io))
			sent = conn_socket_pause(c, io);
		held = sent > 0 && state == SESSION_FULL ? session_hold(&c->session, io) : 0;

		conn_count_messages(c, io);
		session_io_clear(io);
		if (state < 0 || held < 0 || sent == UV_ENOBUFS || sent == UV_ENOMEM) {
			conn_fail_memory(c, state < 0 ? state : held < 0 ? held : sent);
			return;
		}
		if (sent < 0) {
			conn_fail(c, sent);
			return;
		}
		if (state == SESSION_DONE)
			c->phase = CONN_DELIVERING;
		if (sent > 0)
			return;
		if (state != SESSION_FULL)
			break;
		state = session_resume(&c->session, io);
		sent = io->out.n_bytes > 0 ? conn_socket_send(c, io) : 0;
	}
	if (state == SESSION_DONE)
		conn_finish(c, conn_end_reason(c));
}

void conn_drained(struct conn *c)
{
	char byte;

	/* the client is unknown, so nothing is answered */
	if (c->phase == CONN_PROXY_HEADER) {
		conn_close(c, CONN_DRAIN);
		return;
	}
	if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		struct session_io *io = conn_io(c);

		c->ended = true; /* the end of input must be answered */
		conn_answer(c, io, session_end(&c->session, io));
		return;
	}
	conn_poll(c, 0);
	c->phase = CONN_DELIVERING;
	if (!c->output)
		conn_finish(c, CONN_DRAIN);
}

/* Continues after pending output has been sent: with held input, then with reading. */
static void conn_go_on(struct conn *c)
{
	struct session_io *io = conn_io(c);

	if (c->phase == CONN_DELIVERING) {
		conn_finish(c, conn_end_reason(c));
		return;
	}
	if (session_is_held(&c->session)) {
		conn_answer(c, io, session_resume(&c->session, io));
		if (c->output || c->phase != CONN_SERVING)
			return;
	}
	if (c->draining && c->drain_left == 0)
		conn_drained(c);
	else
		conn_poll(c, UV_READABLE);
}

void conn_take_input(struct conn *c, const uint8_t *p, size_t n)
{
	struct session_io *io = conn_io(c);

	if (c->phase == CONN_SERVING)
		conn_answer(c, io, session_feed_all(&c->session, io, p, n, c->ended));
	if (!c->output && c->phase <= CONN_DELIVERING)
		conn_go_on(c);
}

void conn_on_end(struct conn *c)
{
	struct session_io *io = conn_io(c);

	c->ended = true;
	if (c->phase == CONN_SERVING)
		conn_answer(c, io, session_end(&c->session, io));
	else if (c->phase == CONN_PROXY_HEADER)
		conn_proxy_end(c, "closed before the PROXY header was complete");
	else
		conn_close(c, CONN_END);
	/* closing stops polling anyway */
	if (c->phase != CONN_CLOSING && c->polled == UV_READABLE)
		conn_poll(c, 0);
}

void conn_on_sent(struct conn *c)
{
	conn_touch(c, conn_now_ms(c));
	conn_go_on(c);
}

void conn_drain(struct conn *c)
{
	int arrived = 0;

	if (c->draining || c->phase > CONN_SERVING)
		return; /* it already ends */
	c->draining = true;
	ioctl(c->fd, FIONREAD, &arrived);
	c->drain_left = (uint32_t)(arrived < DRAIN_READ_MAX ? arrived : DRAIN_READ_MAX);
	if (!c->output && c->drain_left == 0)
		conn_drained(c);
}

/* ---- the beginning ---- */

struct conn *conn_create(struct listener *listener, int fd, const struct address *address)
{
	struct reactor *reactor = listener->reactor;
	struct conn *c = malloc(sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	memset(c, 0, offsetof(struct conn, poll));
	c->listener = listener;
	if (conn_socket_open(c, fd) < 0) {
		close(fd);
		free(c);
		return NULL;
	}
	listener_ref(listener);
	reactor_conn_opened(reactor);
	c->address = *address;
	c->opened_ns = uv_hrtime();
	session_init(&c->session, &listener->settings->policy, NULL, 0);
	return c;
}

int conn_name(struct conn *c, const char *proxy_id, const char *authority)
{
	const struct policy *policy = c->session.policy;
	unsigned variables = template_variables(policy->greeting) |
			     template_variables(policy->ack_prefix) |
			     template_variables(policy->ack_suffix);
	struct budget *budget = &conn_reactor(c)->limits->budget;
	size_t charge = strlen(proxy_id) + strlen(authority);
	char peer[ADDRESS_TEXT_MAX] = "", *names;
	size_t n;

	if (variables & TEMPLATE_PEER)
		address_format(&c->address, peer);
	if (!*peer && charge == 0)
		return 0;
	if (!budget_take(budget, charge))
		return -ENOBUFS;
	n = strlen(peer) + charge + 3;
	names = malloc(n);
	if (!names) {
		budget_give(budget, charge);
		return -ENOMEM;
	}
	snprintf(names, n, "%s%c%s%c%s", peer, '\0', proxy_id, '\0', authority);
	c->session.names = names;
	return 0;
}

void conn_begin(struct conn *c, const char *proxy_id, const char *authority)
{
	struct session_io *io = conn_io(c);
	int r = conn_name(c, proxy_id, authority);

	c->phase = CONN_SERVING;
	c->session.connection = limits_number(conn_reactor(c)->limits);
	counter_add(c->listener->counters, COUNTER_CONNECTIONS, 1);
	conn_log_connect(c);
	if (r < 0) {
		conn_fail_memory(c, r);
		return;
	}
	conn_wait(c, &c->listener->idle);
	session_greet(&c->session, io);
	conn_answer(c, io, SESSION_IDLE);
}

void conn_open(struct listener *listener, int fd, const struct address *address)
{
	struct conn *c = conn_create(listener, fd, address);

	if (!c) {
		listener_count_refusal(listener, address, REFUSAL_MEMORY, NULL);
		limits_release(listener->reactor->limits, address);
		return;
	}
	c->admitted = true;
	conn_begin(c, "", "");
	if (!c->output && c->phase == CONN_SERVING)
		conn_poll(c, UV_READABLE);
}

void conn_tell_refusal(struct conn *c)
{
	static const struct nak nak = {.reason = NAK_TOO_MANY_CONNECTIONS};
	struct session_io *io = conn_io(c);
	char line[NAK_LINE_MAX];

	c->refusing = true;
	counter_add(c->listener->counters, COUNTER_NAKS + nak.reason, 1);
	if (c->listener->settings->policy.nak) {
		/* the buffer of a new socket has room for a line unless the peer is gone */
		out_set(&io->out, line, nak_format(&nak, line));
		conn_socket_send(c, io);
		session_io_clear(io);
	}
	conn_finish(c, CONN_REFUSED);
}

void conn_refuse(struct listener *listener, int fd, const struct address *address)
{
	struct conn *c = conn_create(listener, fd, address);

	if (c)
		conn_tell_refusal(c);
	else
		limits_refusal_end(listener->reactor->limits);
}
