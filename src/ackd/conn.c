#include "ackd/conn.h"

#include "ackd/conn_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most that is still read of a connection that is drained. */
#define DRAIN_READ_MAX ((int)1024 * 1024)

/* Returns the thread's working memory, set to report about @c. */
static struct session_io *conn_io(struct conn *c)
{
	struct session_io *io = &conn_worker(c)->io;

	io->on_nak_data = c;
	return io;
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct listener *listener = c->listener;
	struct worker *worker = listener->worker;

	session_finish(&c->session, &worker->io);
	conn_proxy_finish(c);
	if (c->admitted) {
		conn_log_disconnect(c);
		limits_release(worker->limits, &c->address);
		if (c->reason != CONN_HANDED_OVER) /* then it is open in the next process */
			counter_add(&listener->counters->closed, 1);
	}
	if (c->refusing)
		limits_refusal_end(worker->limits);
	free(c->peer);
	free(c);
	listener_unref(listener);
	worker_conn_closed(worker);
}

void conn_close(struct conn *c, enum conn_reason reason)
{
	if (c->reason == CONN_OPEN)
		c->reason = (uint8_t)reason;
	if (c->phase == CONN_CLOSING)
		return;
	c->phase = CONN_CLOSING;
	conn_unwait(c);
	uv_close(&c->io.handle, on_closed);
}

static void conn_fail(struct conn *c, int error)
{
	if (c->reason == CONN_OPEN)
		c->error = (int16_t)error;
	conn_close(c, CONN_RESET);
}

/* Everything is sent that ever will be. */
static void conn_finish(struct conn *c, enum conn_reason reason)
{
	uv_os_fd_t fd;

	if (c->ended) {
		conn_close(c, reason); /* nothing is unread, so this is no reset */
		return;
	}
	if (c->reason == CONN_OPEN)
		c->reason = (uint8_t)reason;
	c->phase = CONN_LINGERING;
	if (uv_fileno(&c->io.handle, &fd) < 0 || shutdown(fd, SHUT_WR) < 0) {
		conn_close(c, reason);
		return;
	}
	conn_wait(c, &conn_worker(c)->lingering);
	conn_read(c);
}

/* ---- out ---- */

static void conn_output_free(struct conn *c)
{
	budget_give(&conn_worker(c)->limits->budget, c->output->size);
	free(c->output);
	c->output = NULL;
}

static void conn_count_sent(struct conn *c, size_t n)
{
	c->sent += n;
	counter_add(&c->listener->counters->sent_bytes, n);
}

static void conn_go_on(struct conn *c);

static void on_written(uv_write_t *request, int status)
{
	struct conn *c = request->data;

	if (status == 0)
		conn_count_sent(c, c->output->size - sizeof(*c->output));
	conn_output_free(c);
	if (c->phase == CONN_CLOSING)
		return;
	if (status < 0) {
		conn_fail(c, status);
		return;
	}
	conn_touch(c);
	conn_go_on(c);
}

/* Copies what comes after the first @sent bytes of @bufs, and queues it. Returns 0 or an error. */
static int conn_queue_output(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t sent,
			     size_t total)
{
	size_t size = sizeof(struct conn_output) + total - sent;
	struct budget *budget = &conn_worker(c)->limits->budget;
	struct conn_output *output;
	size_t length = 0;
	uv_buf_t all;

	if (!budget_take(budget, size))
		return UV_ENOBUFS;
	output = malloc(size);
	if (!output) {
		budget_give(budget, size);
		return UV_ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		size_t skip = sent < bufs[i].len ? sent : bufs[i].len;

		memcpy(output->bytes + length, bufs[i].base + skip, bufs[i].len - skip);
		length += bufs[i].len - skip;
		sent -= skip;
	}
	output->size = size;
	output->unsent = length;
	output->request.data = c;
	all = uv_buf_init((char *)output->bytes, (unsigned)length);
	c->output = output;
	int r = uv_write(&output->request, &c->io.stream, &all, 1, on_written);
	if (r < 0)
		conn_output_free(c);
	return r;
}

/*
 * Sends io->out. Returns 0 when the socket took all of it, 1 when the rest is queued, or a libuv
 * error.
 */
static int conn_send(struct conn *c, struct session_io *io)
{
	uv_buf_t bufs[SESSION_SPANS_MAX];
	int sent;

	if (io->n_bytes == 0)
		return 0;
	for (unsigned i = 0; i < io->n_spans; i++)
		bufs[i] = uv_buf_init(io->spans[i].iov_base, (unsigned)io->spans[i].iov_len);
	sent = uv_try_write(&c->io.stream, bufs, io->n_spans);
	if (sent == UV_EAGAIN)
		sent = 0;
	if (sent < 0)
		return sent;
	conn_count_sent(c, (size_t)sent);
	if ((size_t)sent == io->n_bytes)
		return 0;
	uv_read_stop(&c->io.stream);
	int r = conn_queue_output(c, bufs, io->n_spans, (size_t)sent, io->n_bytes);
	return r < 0 ? r : 1;
}

static void conn_fail_memory(struct conn *c, int error)
{
	conn_close(c, error == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY);
}

static enum conn_reason conn_end_reason(const struct conn *c)
{
	return c->draining ? CONN_DRAIN : c->ended ? CONN_END : CONN_NAK;
}

/* Sends what a session call that returned @state has made, and goes on until it is consumed. */
static void conn_answer(struct conn *c, struct session_io *io, int state)
{
	for (;;) {
		int sent = conn_send(c, io);
		int held = sent > 0 && state == SESSION_FULL ? session_hold(&c->session, io) : 0;

		counter_add(&c->listener->counters->messages, io->n_messages);
		io->n_messages = 0;
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
	}
	if (state == SESSION_DONE)
		conn_finish(c, conn_end_reason(c));
}

/* ---- in ---- */

/* All that had arrived when draining began is answered: nothing more is read. */
static void conn_drained(struct conn *c)
{
	uv_os_fd_t fd;
	char byte;

	if (uv_fileno(&c->io.handle, &fd) == 0 &&
	    recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		struct session_io *io = conn_io(c);

		c->ended = true; /* the peer is waiting for the answer to its end of input */
		conn_answer(c, io, session_end(&c->session, io));
		return;
	}
	uv_read_stop(&c->io.stream);
	c->phase = CONN_DELIVERING;
	if (!c->output)
		conn_finish(c, CONN_DRAIN);
}

/* Output has been sent: goes on with held input, then with reading. */
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
		conn_read(c);
}

void conn_send_first(struct conn *c, const uint8_t *p, size_t n)
{
	struct session_io *io = conn_io(c);
	int sent;

	io->spans[0] = (struct iovec){(void *)(uintptr_t)p, n};
	io->n_spans = 1;
	io->n_bytes = n;
	sent = conn_send(c, io);
	session_io_clear(io);
	if (sent == UV_ENOBUFS || sent == UV_ENOMEM)
		conn_fail_memory(c, sent);
	else if (sent < 0)
		conn_fail(c, sent);
	else if (sent == 0)
		conn_go_on(c);
}

/* Holds what came with the PROXY header while the greeting is unsent. */
static void conn_defer(struct conn *c, struct session_io *io, const uint8_t *data, size_t n)
{
	const struct iovec input = {(void *)(uintptr_t)data, n};
	int r = session_defer(&c->session, io, &input, 1, false);

	if (r < 0)
		conn_fail_memory(c, r);
}

void conn_on_bytes(struct conn *c, const uint8_t *data, size_t n)
{
	struct session_io *io = conn_io(c);

	if (c->phase == CONN_PROXY_HEADER) {
		size_t header = conn_proxy_read(c, data, n);

		data += header;
		n -= header;
		if (n == 0)
			return;
	}
	counter_add(&c->listener->counters->received_bytes, n);
	if (c->phase != CONN_SERVING)
		return; /* lingering: dropped */
	conn_touch(c);
	if (c->draining)
		c->drain_left -= (uint32_t)n;
	if (c->output)
		conn_defer(c, io, data, n);
	else
		conn_answer(c, io, session_feed(&c->session, io, data, n));
	if (c->draining && c->drain_left == 0 && c->phase == CONN_SERVING && !c->output)
		conn_drained(c);
}

static void conn_on_end(struct conn *c)
{
	struct session_io *io = conn_io(c);

	c->ended = true;
	uv_read_stop(&c->io.stream);
	if (c->phase == CONN_SERVING)
		conn_answer(c, io, session_end(&c->session, io));
	else if (c->phase == CONN_PROXY_HEADER)
		conn_proxy_fail(c, "closed before the PROXY header was complete");
	else
		conn_close(c, CONN_END);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct conn *c = handle->data;
	size_t size = SESSION_READ_MAX;

	if (c->draining && c->phase == CONN_SERVING && c->drain_left < size)
		size = c->drain_left;
	*ret_buf = uv_buf_init((char *)conn_worker(c)->read_buffer, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	conn_worker(c)->n_events++;
	if (n > 0)
		conn_on_bytes(c, (const uint8_t *)buf->base, (size_t)n);
	else if (n == UV_EOF)
		conn_on_end(c);
	else if (n < 0)
		conn_fail(c, (int)n);
}

void conn_read(struct conn *c)
{
	int r = uv_read_start(&c->io.stream, on_alloc, on_read);

	if (r < 0 && r != UV_EALREADY)
		conn_fail(c, r);
}

void conn_drain(struct conn *c)
{
	uv_os_fd_t fd;
	int arrived = 0;

	if (c->phase == CONN_PROXY_HEADER)
		conn_close(c, CONN_DRAIN);
	if (c->draining || c->phase != CONN_SERVING)
		return; /* it ends by itself */
	c->draining = true;
	if (uv_fileno(&c->io.handle, &fd) == 0)
		ioctl(fd, FIONREAD, &arrived);
	c->drain_left = (uint32_t)(arrived < DRAIN_READ_MAX ? arrived : DRAIN_READ_MAX);
	if (!c->output && c->drain_left == 0)
		conn_drained(c);
}

/* ---- the beginning ---- */

struct conn *conn_create(struct listener *listener, int fd, const struct address *address)
{
	struct worker *worker = listener->worker;
	bool is_unix = address->family == AF_UNIX;
	size_t size = offsetof(struct conn, io) + (is_unix ? sizeof(uv_pipe_t) : sizeof(uv_tcp_t));
	struct conn *c = malloc(size);
	int r;

	if (!c) {
		close(fd);
		return NULL;
	}
	memset(c, 0, offsetof(struct conn, io));
	if (is_unix)
		r = uv_pipe_init(&worker->loop, &c->io.pipe, 0);
	else
		r = uv_tcp_init(&worker->loop, &c->io.tcp);
	if (r < 0) {
		close(fd);
		free(c);
		return NULL;
	}
	c->io.handle.data = c;
	c->listener = listener;
	listener_ref(listener);
	worker_conn_opened(worker);
	c->address = *address;
	c->opened_ms = uv_now(&worker->loop);
	session_init(&c->session, &listener->settings->policy, NULL, 0);
	r = is_unix ? uv_pipe_open(&c->io.pipe, fd) : uv_tcp_open(&c->io.tcp, fd);
	if (r < 0) {
		close(fd);
		conn_fail(c, r);
		return NULL;
	}
	return c;
}

int conn_name_peer(struct conn *c)
{
	const struct policy *policy = c->session.policy;
	unsigned variables = template_variables(policy->greeting) |
			     template_variables(policy->ack_prefix) |
			     template_variables(policy->ack_suffix);
	char text[ADDRESS_TEXT_MAX];

	if (!(variables & TEMPLATE_PEER))
		return 0;
	c->peer = strdup(address_format(&c->address, text));
	c->session.peer = c->peer;
	return c->peer ? 0 : -ENOMEM;
}

void conn_begin(struct conn *c)
{
	struct session_io *io = conn_io(c);

	c->phase = CONN_SERVING;
	c->session.connection = limits_number(conn_worker(c)->limits);
	counter_add(&c->listener->counters->connections, 1);
	conn_log_connect(c);
	if (conn_name_peer(c) < 0) {
		conn_close(c, CONN_MEMORY);
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
		counter_add(&listener->counters->refused[REFUSAL_MEMORY], 1);
		limits_release(listener->worker->limits, address);
		return;
	}
	c->admitted = true;
	conn_begin(c);
	if (!c->output && c->phase == CONN_SERVING)
		conn_read(c);
}

void conn_tell_refusal(struct conn *c)
{
	static const struct nak nak = {.reason = NAK_TOO_MANY_CONNECTIONS};
	struct counters *counters = c->listener->counters;
	char line[NAK_LINE_MAX];
	uv_buf_t buf;

	c->refusing = true;
	if (c->listener->settings->policy.nak) {
		buf = uv_buf_init(line, (unsigned)nak_format(&nak, line));
		counter_add(&counters->naks[nak.reason], 1);
		/* a new socket's buffer takes a line; if not, the peer is gone */
		if (uv_try_write(&c->io.stream, &buf, 1) > 0)
			counter_add(&counters->sent_bytes, buf.len);
	}
	conn_finish(c, CONN_REFUSED);
}

void conn_refuse(struct listener *listener, int fd, const struct address *address)
{
	struct conn *c = conn_create(listener, fd, address);

	if (c)
		conn_tell_refusal(c);
	else
		limits_refusal_end(listener->worker->limits);
}
