/* Answers the input that connections have received in one loop iteration. */

#include "ackd/conn/internal.h"

/*
 * Answers @n bytes and sends the answer immediately. Used while draining, while older output is
 * pending, and for input after a PROXY header.
 */
static void answer_apart(struct conn *c, const uint8_t *data, size_t n)
{
	struct session_io *io = conn_io(c);

	if (c->draining)
		c->drain_left -= (uint32_t)n;
	if (c->output) {
		const struct iovec input = {(void *)(uintptr_t)data, n};
		int r = session_defer(&c->session, io, &input, 1, false);

		if (r < 0)
			conn_fail_memory(c, r);
	} else {
		conn_answer(c, io, session_feed(&c->session, io, data, n));
	}
	if (c->draining && c->drain_left == 0 && c->phase == CONN_SERVING && !c->output)
		conn_drained(c);
}

static void count_received(struct conn *c, size_t n)
{
	counter_add(c->listener->counters, COUNTER_RECEIVED_BYTES, n);
}

void conn_take_other(struct conn *c, const uint8_t *data, size_t n)
{
	size_t header;

	if (c->phase != CONN_PROXY_HEADER) {
		count_received(c, n);
		return;
	}
	header = conn_proxy_read(c, data, n);
	if (c->draining)
		c->drain_left -= (uint32_t)header;
	if (header == n) {
		if (c->draining && c->drain_left == 0 && c->phase <= CONN_SERVING && !c->output)
			conn_drained(c);
		return;
	}
	count_received(c, n - header);
	if (c->phase == CONN_SERVING)
		answer_apart(c, data + header, n - header);
}

/* Sends an answer that was set aside. */
static inline void send_answer(struct conn *c, struct session_io *io, const struct iovec *bytes)
{
	int sent;

	out_set(&io->out, bytes->iov_base, bytes->iov_len);
	sent = conn_socket_send(c, io);
	if (sent != 0)
		conn_answer_more(c, io, SESSION_IDLE, sent);
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
	int state;

	c->unanswered = false;
	read->bytes.iov_len = 0;
	if (c->phase != CONN_SERVING) {
		conn_take_other(c, data, n);
		return;
	}
	count_received(c, n);
	conn_touch(c, now_ms);
	if (c->draining || c->output) {
		answer_apart(c, data, n);
		return;
	}
	io->on_nak_data = c;
	state = session_feed(&c->session, io, data, n);
	if (state == SESSION_IDLE && session_io_set_aside(io, &read->bytes))
		conn_count_messages(c, io);
	else
		conn_answer(c, io, state);
}

void conn_answer_turn(struct reactor *reactor)
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
	session_io_take_back(io);
	session_io_clear(io);
}
