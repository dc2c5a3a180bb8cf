/* Answers the input that connections have received in one loop iteration. */

#include "ackd/conn/turn.h"

#include "ackd/conn/internal.h"

/* Sends an answer that was set aside. */
static inline void send_answer(struct conn *c, struct session_io *io, const struct iovec *bytes)
{
	int sent;

	out_set(&io->out, bytes->iov_base, bytes->iov_len);
	sent = conn_socket_send(c, io);
	if (sent != 0)
		conn_pump_sent(c, io, SESSION_IDLE, sent);
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
	int result;

	c->unanswered = false;
	read->bytes.iov_len = 0;
	if (c->state != CONN_SERVING || c->draining) {
		conn_take(c, data, n);
		return;
	}
	conn_count_received(c, n);
	conn_touch(c, now_ms);
	io->on_nak_data = c;
	result = session_feed(&c->session, io, data, n);
	if (result == SESSION_IDLE && session_io_set_aside(io, &read->bytes))
		conn_count_messages(c, io);
	else
		conn_pump(c, io, result);
}

void turn_answer(struct reactor *reactor)
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
