/*
 * A connection's socket on the loop. uv_poll_t reports readiness; this file reads and writes. A
 * uv_tcp_t would take 88 bytes more, and its path from epoll to the callback and back to write(2)
 * some 150 instructions per message.
 *
 * One event is polled at a time, that of the connection's state.
 */

#include "ackd/conn/internal.h"
#include "base/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- out ---- */

/*
 * Copies the output of @io after its first @sent bytes, which the socket did not accept. Returns 1
 * or an error.
 */
__attribute__((noinline, cold)) static int keep_output(struct conn *c, const struct session_io *io,
						       size_t sent)
{
	int r = conn_pending_reserve(c, io->out.n_bytes - sent);
	struct conn_pending *pending = c->pending;

	if (r < 0)
		return r;
	for (unsigned i = 0; i < io->out.n_spans; i++) {
		const struct iovec *span = &io->out.spans[i];
		size_t skip = sent < span->iov_len ? sent : span->iov_len;

		memcpy(pending->bytes + pending->length, (const uint8_t *)span->iov_base + skip,
		       span->iov_len - skip);
		pending->length += (uint32_t)(span->iov_len - skip);
		sent -= skip;
	}
	return 1;
}

/* Returns the libuv error for @error, an errno. UV_ENOBUFS is reserved for an exceeded budget. */
static int socket_error(int error)
{
	return error == ENOBUFS ? UV_ENOMEM : uv_translate_sys_error(error);
}

/* Returns whether the call that failed with @error may succeed in a later loop iteration. */
static inline bool is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Out of line: an echo needs no room for a struct msghdr. */
__attribute__((noinline)) static ssize_t send_many(int fd, const struct iovec *spans, unsigned n)
{
	const struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)spans,
		.msg_iovlen = n,
	};

	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Returns how many bytes the socket accepted, 0 when it is full, or an error. */
static inline ssize_t send_spans(const struct conn *c, const struct iovec *spans, unsigned n)
{
	ssize_t sent = n == 1 ? send(c->fd, spans->iov_base, spans->iov_len, MSG_NOSIGNAL)
			      : send_many(c->fd, spans, n);

	if (sent >= 0)
		return sent;
	return is_transient(errno) ? 0 : socket_error(errno);
}

/* Continues after a send() of @span, which had another result than its length. */
__attribute__((noinline, cold)) static int sent_less(struct conn *c, struct session_io *io,
						     const struct iovec *span, ssize_t sent)
{
	if (sent < 0 && !is_transient(errno))
		return socket_error(errno);
	if (sent < 0)
		sent = 0;
	out_set(&io->out, span->iov_base, span->iov_len);
	conn_count_sent(c, (size_t)sent);
	return keep_output(c, io, (size_t)sent);
}

__attribute__((hot)) int conn_socket_send_span(struct conn *c, struct session_io *io,
					       const struct iovec *span)
{
	ssize_t sent = send(c->fd, span->iov_base, span->iov_len, MSG_NOSIGNAL);

	if (sent != (ssize_t)span->iov_len)
		return sent_less(c, io, span, sent);
	conn_count_sent(c, (size_t)sent);
	return 0;
}

int conn_socket_send(struct conn *c, const struct session_io *io)
{
	ssize_t sent = send_spans(c, io->out.spans, io->out.n_spans);

	if (sent < 0)
		return (int)sent;
	conn_count_sent(c, (size_t)sent);
	return (size_t)sent == io->out.n_bytes ? 0 : keep_output(c, io, (size_t)sent);
}

int conn_socket_send_records(struct conn *c, const struct session_io *io)
{
	ssize_t sent = send_spans(c, io->out.spans, io->out.n_spans);

	if (sent < 0)
		return (int)sent;
	return (size_t)sent == io->out.n_bytes ? 0 : keep_output(c, io, (size_t)sent);
}

bool conn_socket_end_output(const struct conn *c)
{
	return shutdown(c->fd, SHUT_WR) == 0;
}

/* Sends pending output. Returns whether nothing is pending any more. */
static bool send_output(struct conn *c)
{
	struct conn_pending *pending = c->pending;
	struct iovec rest;
	ssize_t sent;

	if (!pending)
		return true;
	rest = (struct iovec){pending->bytes + pending->sent, pending->length - pending->sent};
	sent = send_spans(c, &rest, 1);
	if (sent < 0) {
		conn_fail(c, (int)sent);
		return false;
	}
	if (!c->counted)
		conn_count_sent(c, (size_t)sent);
	pending->sent += (uint32_t)sent;
	if (pending->sent == pending->length) {
		conn_pending_free(c);
		return true;
	}
	if (sent > 0 && c->state == CONN_SENDING) { /* a slow reader that accepts data from time to
						       time is not idle */
		c->unsent = sock_unsent(c->fd);
		conn_touch(c, uv_now(&conn_reactor(c)->loop));
	}
	return false;
}

/* Sends what is pending, then continues with the input that is held. */
static void on_writable(struct conn *c)
{
	struct session_io *io = conn_io(c);

	if (!send_output(c))
		return;
	if (c->state == CONN_FLIGHT) {
		conn_tls_flight_sent(c);
	} else {
		conn_touch(c, uv_now(&conn_reactor(c)->loop));
		conn_pump(c, io, session_resume(&c->session, io));
	}
}

/* ---- in ---- */

__attribute__((noinline)) static size_t special_read_size(const struct conn *c)
{
	size_t n = c->has_tls ? conn_tls_read_size(c) : SESSION_READ_MAX;

	return c->draining && c->drain_left < n ? c->drain_left : n;
}

/* Returns the largest permitted size of the next read. */
static inline size_t read_size(const struct conn *c)
{
	return c->draining || c->has_tls ? special_read_size(c) : SESSION_READ_MAX;
}

/*
 * Adds the @n bytes that @c has received at the end of the turn's buffer. Returns whether the turn
 * must be answered now.
 */
static inline bool turn_add(struct turn *turn, struct conn *c, size_t n)
{
	turn->reads[turn->n_reads++] = (struct turn_read){c, {turn->buffer + turn->n_bytes, n}};
	turn->n_bytes += (n + TURN_ALIGNMENT - 1) & ~(TURN_ALIGNMENT - 1);
	return turn->n_reads == TURN_READS_MAX || turn->n_bytes >= TURN_BYTES_MAX;
}

/* Returns false when there was nothing to read. */
static inline __attribute__((always_inline)) bool receive(struct conn *c)
{
	struct reactor *reactor = conn_reactor(c);
	struct turn *turn = &reactor->turn;
	ssize_t n = recv(c->fd, turn->buffer + turn->n_bytes, read_size(c), 0);

	if (n > 0) {
		c->unanswered = true;
		if (turn_add(turn, c, (size_t)n))
			reactor_answer(reactor);
	} else if (n == 0) {
		conn_on_end(c);
	} else if (is_transient(errno)) {
		return false;
	} else {
		conn_fail(c, socket_error(errno));
	}
	return true;
}

bool conn_socket_at_end(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

size_t conn_socket_arrived(const struct conn *c)
{
	int n = 0;

	ioctl(c->fd, FIONREAD, &n);
	return (size_t)n;
}

/* ---- the handle ---- */

/*
 * Handles a socket error, after which libuv has stopped polling. Input that arrived earlier is
 * still read; the error follows it.
 */
__attribute__((cold)) static void on_error(struct conn *c)
{
	c->polled = 0;
	conn_poll(c, conn_event(c));
	if (conn_event(c) == UV_WRITABLE) {
		on_writable(c);
		if (conn_event(c) == UV_WRITABLE)
			conn_fail(c, UV_ECONNRESET);
	} else if (c->state != CONN_CLOSING && !receive(c)) {
		conn_fail(c, UV_ECONNRESET);
	}
	conn_check_invariant(c);
}

__attribute__((hot)) static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct conn *c = list_entry(poll, struct conn, poll);

	conn_reactor(c)->n_events++;
	if (c->unanswered) { /* libuv may report a descriptor twice per iteration if more than 1,024
				events are pending */
		reactor_answer(conn_reactor(c));
		if (c->polled != UV_READABLE)
			return;
	}
	if (status < 0) {
		on_error(c);
	} else if (c->polled == UV_READABLE) {
		receive(c);
	} else {
		on_writable(c);
		conn_check_invariant(c);
	}
}

void conn_poll(struct conn *c, int event)
{
	int r;

	if (c->polled == event)
		return;
	c->polled = (uint8_t)event;
	r = event ? uv_poll_start(&c->poll, event, on_ready) : uv_poll_stop(&c->poll);
	if (r < 0)
		conn_fail(c, r);
}

/*
 * Keeps urgent data in the stream. Set on the connection, not on the listening socket: connections
 * also come from another process, and the kernel may accept some before a passed socket reaches
 * ackd. The kernel decides about an urgent byte when it is read, so the option covers bytes that
 * arrived earlier.
 */
static void keep_urgent_data(int fd)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

int conn_socket_open(struct conn *c, int fd)
{
	int r = uv_poll_init_socket(&conn_reactor(c)->loop, &c->poll, fd);

	if (r < 0)
		return r;
	keep_urgent_data(fd);
	c->fd = fd;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = list_entry(handle, struct conn, poll);

	close(c->fd);
	conn_on_closed(c);
}

void conn_socket_close(struct conn *c)
{
	c->polled = 0;
	uv_close((uv_handle_t *)&c->poll, on_closed);
}
