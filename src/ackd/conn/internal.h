#pragma once

/* Declarations shared by the files that implement connections. */

#include "ackd/conn/conn.h"
#include "ackd/conn/listener.h"
#include "ackd/conn/reactor.h"
#include "core/wire/proxy.h"

/* Copied output that the socket has not accepted yet. */
struct conn_output {
	size_t size;   /* charged to the budget */
	size_t length; /* of @bytes */
	size_t sent;   /* bytes of @bytes that were sent */
	int ahead;     /* bytes that the kernel held before these at the last check; -1: unknown */
	uint8_t bytes[];
};

static inline struct reactor *conn_reactor(const struct conn *c)
{
	return c->listener->reactor;
}

/* Returns the thread's session_io, set up to report NAKs for @c. */
static inline struct session_io *conn_io(struct conn *c)
{
	struct session_io *io = &conn_reactor(c)->io;

	io->on_nak_data = c;
	return io;
}

/* Moves @c from its present queue, if any, to the end of @queue. */
void conn_wait(struct conn *c, struct conn_queue *queue);

/* Returns the granularity of recorded activity in @queue. */
static inline uint64_t conn_queue_step_ms(const struct conn_queue *queue)
{
	return queue->timeout_ms / 64;
}

/* Records activity: moves @c to the end of its queue. */
void conn_wait_again(struct conn *c);

/* Returns the time of the loop. */
static inline uint64_t conn_now_ms(const struct conn *c)
{
	return uv_now(&conn_reactor(c)->loop);
}

/* Records activity of @c, which is in a queue. */
static inline void conn_touch(struct conn *c, uint64_t now_ms)
{
	if (now_ms - c->active_ms > conn_queue_step_ms(c->queue))
		conn_wait_again(c);
}

/* Removes @c from its queue. */
void conn_unwait(struct conn *c);

/* socket.c: the socket. Errors are libuv errors. */

/* Adds the socket @fd to the loop. Takes @fd unless this fails. */
int conn_socket_open(struct conn *c, int fd);

/* Removes the socket from the loop and closes it; conn_on_closed() is called later. */
void conn_socket_close(struct conn *c);

/* Polls for @event: UV_READABLE, UV_WRITABLE or 0 for none. */
void conn_poll(struct conn *c, int event);

/*
 * Sends the spans of @io. The part that the socket does not accept is copied to c->output, and
 * reading stops until it is sent. Returns 0 when everything was sent, 1 when output is pending, or
 * an error.
 */
int conn_socket_send(struct conn *c, const struct session_io *io);

/*
 * Waits until the socket is writable although everything was sent, so the connection continues in a
 * later loop iteration. Returns 1 or an error.
 */
int conn_socket_pause(struct conn *c, const struct session_io *io);

/*
 * Returns whether the peer has acknowledged data since the last check while output is pending.
 * Polling cannot detect this: a socket becomes writable only after sending a good part of its
 * buffer, which may be megabytes.
 */
bool conn_socket_moves(struct conn *c);

/* Drops pending output. */
void conn_output_free(struct conn *c);

/* Counts the messages that @io has answered. */
static inline void conn_count_messages(struct conn *c, struct session_io *io)
{
	counter_add(c->listener->counters, COUNTER_MESSAGES, io->n_messages);
	io->n_messages = 0;
}

/*
 * Continues after the output of a session call was sent. @state is the result of that call, @sent
 * the result of conn_socket_send().
 */
void conn_answer_more(struct conn *c, struct session_io *io, int state, int sent);

/*
 * Sends the output of a session call that returned @state, and continues until the input is
 * consumed.
 */
static inline void conn_answer(struct conn *c, struct session_io *io, int state)
{
	int sent = io->out.n_bytes > 0 ? conn_socket_send(c, io) : 0;

	if (sent != 0 || state != SESSION_IDLE) {
		conn_answer_more(c, io, state, sent);
		return;
	}
	conn_count_messages(c, io); /* nearly always */
	session_io_clear(io);
}

/*
 * Handles @n bytes of input of a connection that is not in CONN_SERVING. They continue its PROXY
 * header and may extend beyond it. If the connection lingers, they are dropped.
 */
void conn_take_other(struct conn *c, const uint8_t *data, size_t n);

/* Closes @c for lack of memory: @error is -ENOBUFS (budget) or -ENOMEM. */
void conn_fail_memory(struct conn *c, int error);

/* Ends @c: all input that had arrived when draining began is answered. */
void conn_drained(struct conn *c);

/*
 * Called by socket.c: the peer has closed its side; pending output has been sent; the connection
 * has failed; the handle is closed.
 */
void conn_on_end(struct conn *c);
void conn_on_sent(struct conn *c);
void conn_fail(struct conn *c, int error);
void conn_on_closed(struct conn *c);

/* Returns the largest permitted size of the next read. */
static inline size_t conn_read_size(const struct conn *c)
{
	if (c->draining && c->phase <= CONN_SERVING && c->drain_left < SESSION_READ_MAX)
		return c->drain_left;
	return SESSION_READ_MAX;
}

/* Log the events of a connection. */
void conn_log_connect(const struct conn *c);
void conn_log_disconnect(const struct conn *c);
void conn_log_health_check(const struct conn *c);

/* Callback of session_io: counts and logs the NAK @nak of the connection @data. */
void conn_on_nak(void *data, const struct nak *nak);

/* The beginning of a PROXY header. Nearly all are shorter than the smaller capacity. */
#define PROXY_READER_MIN 512
struct proxy_reader {
	uint16_t length;
	uint16_t capacity; /* PROXY_READER_MIN or PROXY_HEADER_MAX */
	uint8_t bytes[];
};

/*
 * Continues the header of @c with the next @n bytes at @p. Returns how many of them belong to it.
 * When the header is complete, the client has been admitted or the connection closed.
 */
size_t conn_proxy_read(struct conn *c, const uint8_t *p, size_t n);

/* Refuses @c because its header is invalid or late. */
void conn_proxy_fail(struct conn *c, const char *reason);

/*
 * Handles the end of a connection whose header is incomplete. Without any input it was a health
 * check, which is counted and logged at level debug. Otherwise @c is refused for @reason.
 */
void conn_proxy_end(struct conn *c, const char *reason);

/* Returns the bytes held by the reader of @c, which must exist, as charged to the budget. */
size_t conn_proxy_held_bytes(const struct conn *c);

/* Releases the reader, if there is one. */
void conn_proxy_finish(struct conn *c);

/* Creates the connection and its handle on @fd. Closes @fd and returns NULL on failure. */
struct conn *conn_create(struct listener *listener, int fd, const struct address *address);

/*
 * Begins to serve @c, which has been admitted: assigns its number and sends the greeting. See
 * conn_name() for @proxy_id and @authority.
 */
void conn_begin(struct conn *c, const char *proxy_id, const char *authority);

/*
 * Sends the "too many connections" NAK to @c, which counts towards LIMITS_REFUSALS_MAX, then closes
 * it.
 */
void conn_tell_refusal(struct conn *c);

/*
 * Creates session.names if needed. It contains the peer's address as text if a template of the
 * policy uses it, and copies of @proxy_id and @authority ("" for none). The copies are charged to
 * the budget. Returns 0, -ENOBUFS or -ENOMEM.
 */
int conn_name(struct conn *c, const char *proxy_id, const char *authority);

/* Returns the bytes of @names that came in a PROXY header, which are charged to the budget. */
size_t conn_names_charge(const char *names);

/*
 * Continues a restored connection after its earlier output has been sent. Answers the @n bytes of
 * input at @p, and the end of input if it has arrived, then resumes reading.
 */
void conn_take_input(struct conn *c, const uint8_t *p, size_t n);
