/*
 * A connection's socket on the loop. uv_poll_t reports readiness; this file reads and writes. A
 * uv_tcp_t would take 88 bytes more, and its path from epoll to the callback and back to write(2)
 * some 150 instructions per message.
 *
 * One event is polled at a time: UV_WRITABLE while output is pending, otherwise UV_READABLE.
 */

#include "ackd/conn/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- out ---- */

static void count_sent(struct conn *c, size_t n)
{
	c->sent += n;
	counter_add(c->listener->counters, COUNTER_SENT_BYTES, n);
}

void conn_output_free(struct conn *c)
{
	budget_give(&conn_reactor(c)->limits->budget, c->output->size);
	free(c->output);
	c->output = NULL;
}

/* Returns how many bytes the kernel has not delivered yet, or -1 if unknown. */
static int held_by_kernel(const struct conn *c)
{
	int n;

	return ioctl(c->fd, TIOCOUTQ, &n) == 0 ? n : -1;
}

bool conn_socket_moves(struct conn *c)
{
	int before, now;

	if (!c->output)
		return false;
	before = c->output->ahead;
	now = c->output->ahead = held_by_kernel(c);
	return now >= 0 && now < before;
}

/* Copies the output of @io after its first @sent bytes. Returns 0 or an error. */
static int keep_output(struct conn *c, const struct session_io *io, size_t sent)
{
	size_t size = sizeof(struct conn_output) + io->out.n_bytes - sent;
	struct budget *budget = &conn_reactor(c)->limits->budget;
	struct conn_output *output;

	if (!budget_take(budget, size))
		return UV_ENOBUFS;
	output = malloc(size);
	if (!output) {
		budget_give(budget, size);
		return UV_ENOMEM;
	}
	output->size = size;
	output->length = 0;
	output->sent = 0;
	output->ahead = held_by_kernel(c);
	for (unsigned i = 0; i < io->out.n_spans; i++) {
		const struct iovec *span = &io->out.spans[i];
		size_t skip = sent < span->iov_len ? sent : span->iov_len;

		memcpy(output->bytes + output->length, (const uint8_t *)span->iov_base + skip,
		       span->iov_len - skip);
		output->length += span->iov_len - skip;
		sent -= skip;
	}
	c->output = output;
	return 0;
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
	/* EINTR is not an error either; a retry waits for the next loop iteration */
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	/* UV_ENOBUFS is reserved for an exceeded budget */
	return errno == ENOBUFS ? UV_ENOMEM : uv_translate_sys_error(errno);
}

/* Copies the output of @io that the socket did not accept, and waits for room. */
__attribute__((noinline, cold)) static int wait_for_room(struct conn *c,
							 const struct session_io *io, size_t sent)
{
	int r = keep_output(c, io, sent);

	if (r < 0)
		return r;
	conn_poll(c, UV_WRITABLE);
	return 1;
}

int conn_socket_send(struct conn *c, const struct session_io *io)
{
	ssize_t sent = send_spans(c, io->out.spans, io->out.n_spans);

	if (sent < 0)
		return (int)sent;
	count_sent(c, (size_t)sent);
	return (size_t)sent == io->out.n_bytes ? 0 : wait_for_room(c, io, (size_t)sent);
}

int conn_socket_pause(struct conn *c, const struct session_io *io)
{
	return wait_for_room(c, io, io->out.n_bytes);
}

static void send_output(struct conn *c)
{
	struct conn_output *output = c->output;
	const struct iovec rest = {output->bytes + output->sent, output->length - output->sent};
	/* empty after conn_socket_pause() */
	ssize_t sent = rest.iov_len > 0 ? send_spans(c, &rest, 1) : 0;

	if (sent < 0) {
		conn_fail(c, (int)sent);
		return;
	}
	if (sent == 0 && rest.iov_len > 0)
		return;
	count_sent(c, (size_t)sent);
	output->sent += (size_t)sent;
	if (output->sent < output->length) {
		output->ahead = held_by_kernel(c);
		conn_touch(c, conn_now_ms(c)); /* a slow reader that accepts data from time to time
						  is not idle */
		return;
	}
	conn_output_free(c);
	conn_on_sent(c);
}

/* ---- in ---- */

/* Returns false when there was nothing to read. */
static inline __attribute__((always_inline)) bool receive(struct conn *c)
{
	struct reactor *reactor = conn_reactor(c);
	ssize_t n = recv(c->fd, turn_room(&reactor->turn), conn_read_size(c), 0);

	if (n > 0) {
		c->unanswered = true;
		if (turn_add(&reactor->turn, c, (size_t)n))
			conn_answer_turn(reactor);
	} else if (n == 0) {
		conn_on_end(c);
	} else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
		return false;
	} else {
		conn_fail(c, uv_translate_sys_error(errno));
	}
	return true;
}

/* ---- the handle ---- */

/*
 * Handles a socket error, after which libuv has stopped polling. Input that arrived earlier is
 * still read; the error follows it.
 */
__attribute__((cold)) static void on_error(struct conn *c)
{
	int event = c->polled;

	c->polled = 0;
	if (event == UV_WRITABLE) {
		send_output(c);
		if (c->output && c->phase != CONN_CLOSING)
			conn_fail(c, UV_ECONNRESET);
	} else if (!receive(c)) {
		conn_fail(c, UV_ECONNRESET);
	}
	if (c->phase != CONN_CLOSING && !c->ended && !c->output && c->polled == 0)
		conn_poll(c, UV_READABLE);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	conn_reactor(c)->n_events++;
	if (c->unanswered) { /* libuv may report a descriptor twice per iteration if more than 1,024
				events are pending */
		conn_answer_turn(conn_reactor(c));
		if (c->polled != UV_READABLE)
			return;
	}
	if (status < 0)
		on_error(c);
	else if (c->polled == UV_READABLE)
		receive(c);
	else
		send_output(c);
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
	c->poll.data = c;
	c->fd = fd;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	close(c->fd);
	conn_on_closed(c);
}

void conn_socket_close(struct conn *c)
{
	c->polled = 0;
	uv_close((uv_handle_t *)&c->poll, on_closed);
}
