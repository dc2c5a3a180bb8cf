#pragma once

/* What the files of a connection share. */

#include "ackd/conn/conn.h"
#include "ackd/conn/listener.h"
#include "ackd/conn/reactor.h"
#include "core/wire/proxy.h"

/* Copied output that the socket has not taken yet. */
struct conn_output {
	size_t size;   /* charged to the budget */
	size_t length; /* of bytes */
	size_t sent;   /* of those */
	int ahead;     /* bytes before these that the kernel held at the last look; -1: unknown */
	uint8_t bytes[];
};

static inline struct reactor *conn_reactor(const struct conn *c)
{
	return c->listener->reactor;
}

/* Returns the thread's working memory, set to report about @c. */
static inline struct session_io *conn_io(struct conn *c)
{
	struct session_io *io = &conn_reactor(c)->io;

	io->on_nak_data = c;
	return io;
}

/* Begins to wait in @queue, instead of where @c waits now. */
void conn_wait(struct conn *c, struct conn_queue *queue);

/* Returns how exactly the activity of the connections in @queue is noted. */
static inline uint64_t conn_queue_step_ms(const struct conn_queue *queue)
{
	return queue->timeout_ms / 64;
}

/* @c is the last in its queue again. */
void conn_wait_again(struct conn *c);

/* Returns the time of the loop. */
static inline uint64_t conn_now_ms(const struct conn *c)
{
	return uv_now(&conn_reactor(c)->loop);
}

/* Bytes went in or out, now: of a connection that is served, and so waits in a queue. */
static inline void conn_touch(struct conn *c, uint64_t now_ms)
{
	if (now_ms - c->active_ms > conn_queue_step_ms(c->queue))
		conn_wait_again(c);
}

/* Waits no more. */
void conn_unwait(struct conn *c);

/*
 * conn_socket.c: the socket. An error is a libuv error.
 */

/* Puts the socket @fd on the loop; it is the connection's from here on, unless this fails. */
int conn_socket_open(struct conn *c, int fd);

/* Takes it off the loop and closes it; then comes conn_on_closed(). */
void conn_socket_close(struct conn *c);

/* Waits for @event: UV_READABLE, UV_WRITABLE, or 0 for none. */
void conn_poll(struct conn *c, int event);

/*
 * Sends io->out. What the socket does not take is copied, and waits in c->output; meanwhile nothing
 * is read. Returns 0 when the socket took everything, 1 when a rest waits, or an error.
 */
int conn_socket_send(struct conn *c, const struct session_io *io);

/*
 * Waits for room in the socket, although it took all of io->out: the connection goes on in a later
 * turn of the loop, as if the last byte had been waiting. Returns 1 or an error.
 */
int conn_socket_pause(struct conn *c, const struct session_io *io);

/*
 * Whether the peer has taken something since the last look, although output waits: a socket has
 * room only when it has sent a good part of what it holds, which may be megabytes.
 */
bool conn_socket_moves(struct conn *c);

/* Drops what waits. */
void conn_output_free(struct conn *c);

/* Makes io->out the @n bytes at @p. */
static inline void conn_say(struct session_io *io, const void *p, size_t n)
{
	io->spans[0] = (struct iovec){(void *)(uintptr_t)p, n};
	io->n_spans = 1;
	io->n_bytes = n;
}

/* Counts the messages that @io has answered. */
static inline void conn_count_messages(struct conn *c, struct session_io *io)
{
	counter_add(c->listener->counters, COUNTER_MESSAGES, io->n_messages);
	io->n_messages = 0;
}

/*
 * Goes on after io->out, made by a session call that returned @state, was sent with the outcome
 * @sent of conn_socket_send().
 */
void conn_answer_more(struct conn *c, struct session_io *io, int state, int sent);

/* Sends what a session call that returned @state has made, and goes on until it is consumed. */
static inline void conn_answer(struct conn *c, struct session_io *io, int state)
{
	int sent = io->n_bytes > 0 ? conn_socket_send(c, io) : 0;

	if (sent != 0 || state != SESSION_IDLE) {
		conn_answer_more(c, io, state, sent);
		return;
	}
	conn_count_messages(c, io); /* nearly always */
	session_io_clear(io);
}

/*
 * Takes @n bytes of a connection that is not served: they go on with its PROXY header, and may go
 * beyond it; or it lingers, and they are dropped.
 */
void conn_take_other(struct conn *c, const uint8_t *data, size_t n);

/* There is no memory for what @c has to hold: @error is -ENOBUFS or -ENOMEM. */
void conn_fail_memory(struct conn *c, int error);

/* All that had arrived when draining began is answered: nothing more is read. */
void conn_drained(struct conn *c);

/* What conn_socket.c calls: the peer has closed its side, the output that waited has been sent, the
 * connection is lost, the handle is closed. */
void conn_on_end(struct conn *c);
void conn_on_sent(struct conn *c);
void conn_fail(struct conn *c, int error);
void conn_on_closed(struct conn *c);

/* Returns the most bytes that may be read at once. */
static inline size_t conn_read_size(const struct conn *c)
{
	if (c->draining && c->phase <= CONN_SERVING && c->drain_left < SESSION_READ_MAX)
		return c->drain_left;
	return SESSION_READ_MAX;
}

/* The events of a connection. */
void conn_log_connect(const struct conn *c);
void conn_log_disconnect(const struct conn *c);
void conn_log_health_check(const struct conn *c);

/* For session_io: counts and logs the fault @nak of the connection @data. */
void conn_on_nak(void *data, const struct nak *nak);

/* The beginning of a PROXY header. Nearly all are shorter than the smaller capacity. */
#define PROXY_READER_MIN 512
struct proxy_reader {
	uint16_t length;
	uint16_t capacity; /* PROXY_READER_MIN or PROXY_HEADER_MAX */
	uint8_t bytes[];
};

/*
 * Goes on with the header of @c, given the next @n bytes at @p. Returns how many bytes at @p belong
 * to it; when the header is complete, the client has been admitted, or the connection closed.
 */
size_t conn_proxy_read(struct conn *c, const uint8_t *p, size_t n);

/* Refuses @c, whose header is not valid or too late. */
void conn_proxy_fail(struct conn *c, const char *reason);

/*
 * The connection has ended before the header was complete. If nothing was received, it was a health
 * check: counted as such, and logged at level debug. Otherwise @c is refused because of @reason.
 */
void conn_proxy_end(struct conn *c, const char *reason);

/* Returns what the reader of @c, which has one, holds in bytes, as charged to the budget. */
size_t conn_proxy_held_bytes(const struct conn *c);

/* Releases the reader, if there is one. */
void conn_proxy_finish(struct conn *c);

/* Makes the connection's object and handle on @fd, which is closed when that fails. */
struct conn *conn_create(struct listener *listener, int fd, const struct address *address);

/*
 * Begins to serve @c, which has been admitted: numbers it and greets. For @proxy_id and @authority
 * see conn_name().
 */
void conn_begin(struct conn *c, const char *proxy_id, const char *authority);

/* Tells @c, which has a place for refusals, that there are too many connections; then closes. */
void conn_tell_refusal(struct conn *c);

/*
 * Makes session.names if there is any: the peer's address as text if a template of the policy asks
 * for it, and copies of @proxy_id and @authority, which are charged to the budget. "" is none.
 * Returns 0, -ENOBUFS or -ENOMEM.
 */
int conn_name(struct conn *c, const char *proxy_id, const char *authority);

/* Returns how many bytes of @names came in a PROXY header: those are charged to the budget. */
size_t conn_names_charge(const char *names);

/*
 * Goes on with a connection of the process before, whose earlier output has been sent: answers the
 * @n bytes of input at @p, and the end of input if that came, and reads on.
 */
void conn_take_input(struct conn *c, const uint8_t *p, size_t n);
