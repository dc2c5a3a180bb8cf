#pragma once

/* Declarations shared by the files that implement connections. */

#include "ackd/conn/conn.h"
#include "ackd/conn/listener.h"
#include "ackd/conn/reactor.h"
#include "base/states.h"
#include "core/wire/proxy.h"

/* ---- names.c ---- */

/*
 * The texts from a PROXY header and from the client's certificate, as printable ASCII; "" for those
 * that they lack.
 */
struct conn_names {
	const char *proxy_id;
	const char *authority;
	const char *local; /* the address that the client connected to */
	const char *tls_subject;
};

/* The names of a connection with neither. */
extern const struct conn_names conn_no_names;

/*
 * Creates session.names if needed. It contains the addresses as text if a template of the policy
 * uses them, and copies of the other texts, which are charged to the budget. Replaces earlier
 * names, of which @from may be a part. Returns 0, or -ENOBUFS or -ENOMEM with nothing changed.
 */
int conn_name(struct conn *c, const struct conn_names *from);

/* Returns the names of @c that conn_name() cannot make itself, as parts of session.names. */
struct conn_names conn_names_of(const struct conn *c);

/* Frees session.names. */
void conn_names_free(struct conn *c);

/* Returns the bytes of @names that are charged to the budget. */
size_t conn_names_charge(const char *names);

/* Writes @address, zeroed after its end, for ${local}: a UNIX socket is its path, escaped. */
void conn_local_text(const struct sockaddr *address, char out[TEMPLATE_LOCAL_MAX + 1]);

/* ---- conn.c ---- */

static inline struct reactor *conn_reactor(const struct conn *c)
{
	return conn_listener(c)->reactor;
}

/* Returns the thread's session_io, set up to report NAKs for @c. */
static inline struct session_io *conn_io(struct conn *c)
{
	struct session_io *io = &conn_reactor(c)->io;

	io->event_data = c;
	return io;
}

/*
 * Changes the state of @c, which must not be CONN_CLOSING. The polled event and the queue follow
 * from the state. Afterwards @c may be in CONN_CLOSING, if polling has failed.
 */
void conn_move(struct conn *c, enum conn_state state);

/* Returns the event that the state of @c waits for: UV_READABLE, UV_WRITABLE or 0. */
int conn_event(const struct conn *c);

/* Moves @c to the end of its queue. */
void conn_wait_again(struct conn *c, uint64_t now_ms);

/* Records activity of @c, which is in CONN_SERVING or CONN_SENDING. */
static inline void conn_touch(struct conn *c, uint64_t now_ms)
{
	if (now_ms - c->active_ms > conn_queue_step_ms(&conn_listener(c)->queues[QUEUE_IDLE]))
		conn_wait_again(c, now_ms);
}

/*
 * Creates a connection with its handle on @fd, with or without TLS. Takes @fd and @place. On
 * failure both are released, and, unless @place is PLACE_REFUSAL, a refusal for lack of memory, or
 * of TLS, is counted. Then returns NULL.
 */
struct conn *conn_create(struct listener *listener, int fd, const struct address *address,
			 enum conn_place place, bool has_tls);

/*
 * Changes what @c occupies. The caller has reserved @place, or passed the old place on; a place
 * that is not passed on must be released with conn_release_place().
 */
void conn_set_place(struct conn *c, enum conn_place place);
void conn_release_place(struct conn *c);

/*
 * Begins @c, which has been admitted: with the TLS handshake, or immediately with conn_serve(). See
 * conn_name() for @names.
 */
void conn_begin(struct conn *c, const struct conn_names *names);

/*
 * Begins to serve @c: assigns its number and sends the greeting. If @error is negative, it ends for
 * lack of memory instead: -ENOBUFS (budget), or anything else.
 */
void conn_serve(struct conn *c, int error);

/* Ends @c after all output has been sent, in an orderly way. */
void conn_finish(struct conn *c, enum conn_reason reason);

/* Sends the "too many connections" NAK to @c, which has PLACE_REFUSAL, then closes it. */
void conn_tell_refusal(struct conn *c, const struct conn_names *names);

/* Refuses a client for which no connection was made, with that NAK if due. Takes @fd. */
void conn_refuse(struct listener *listener, int fd, const struct address *address,
		 enum refusal refusal);

/*
 * Sends the output of a session call that returned @result, and continues until the input is
 * consumed or the socket has no room. Then @c waits for what its new state needs, or ends.
 */
void conn_pump(struct conn *c, struct session_io *io, int result);

/* The same after conn_socket_send() has returned @sent for that output. */
void conn_pump_sent(struct conn *c, struct session_io *io, int result, int sent);

/*
 * Takes any input: it continues the PROXY header, is answered, is held until pending output has
 * been sent, or is dropped, according to the state.
 */
void conn_take(struct conn *c, const uint8_t *data, size_t n);

/* Takes input that follows the PROXY header, and the end of input if c->ended. @n may be 0. */
void conn_take_input(struct conn *c, const uint8_t *data, size_t n);

/* The most input that is read from a connection after draining began. */
#define DRAIN_READ_MAX ((size_t)1024 * 1024)

/* conn_drain() for @reason, after @n_read bytes have been read that conn_take() gets next. */
void conn_drain_for(struct conn *c, enum conn_reason reason, size_t n_read);

/* Handles the end of input. */
void conn_on_end(struct conn *c);

/* Closes @c because of a libuv error, or -ENOBUFS (the budget is exceeded). */
void conn_fail(struct conn *c, int error);

/* Closes @c for lack of memory: @error is -ENOBUFS (budget), or anything else. */
void conn_fail_memory(struct conn *c, int error);

/* Called when the handle is closed; frees. */
void conn_on_closed(struct conn *c);

/* Counts the messages that @io has answered. */
static inline void conn_count_messages(struct conn *c, struct session_io *io)
{
	counter_add(conn_listener(c)->counters, COUNTER_MESSAGES, io->n_messages);
	io->n_messages = 0;
}

/*
 * Count bytes of messages and replies. With TLS these are counted when records are opened and
 * sealed: what TLS adds to them does not count.
 */
static inline void conn_count_received(struct conn *c, size_t n)
{
	counter_add(conn_listener(c)->counters, COUNTER_RECEIVED_BYTES, n);
}

static inline void conn_count_sent(struct conn *c, size_t n)
{
	c->sent += n;
	counter_add(conn_listener(c)->counters, COUNTER_SENT_BYTES, n);
}

struct conn_pending {
	uint32_t capacity;
	uint32_t length;
	uint32_t sent; /* output: bytes of @bytes that were sent */
	uint8_t bytes[];
};

/*
 * Makes room for @capacity pending bytes, which are charged to the budget. Returns 0, -ENOBUFS or
 * -ENOMEM with nothing changed.
 */
int conn_pending_reserve(struct conn *c, size_t capacity);

/* Returns the bytes held by pending bytes, as charged to the budget. */
size_t conn_pending_held_bytes(const struct conn *c);

/* Drops the pending bytes, if any. */
void conn_pending_free(struct conn *c);

/* ---- socket.c: errors are libuv errors ---- */

/* Adds the socket @fd to the loop. Takes @fd unless this fails. */
int conn_socket_open(struct conn *c, int fd);

/* Removes the socket from the loop and closes it; conn_on_closed() is called later. */
void conn_socket_close(struct conn *c);

/* Polls for @event: UV_READABLE, UV_WRITABLE or 0 for none. */
void conn_poll(struct conn *c, int event);

/*
 * Sends the spans of @io and counts them. The part that the socket does not accept is copied to
 * c->pending and counted when it is sent. Returns 0 when everything was sent, 1 when output is
 * pending, or an error.
 */
int conn_socket_send(struct conn *c, const struct session_io *io);

/* The same for the bytes @span, with less work. Does not use the output of @io, which is empty. */
int conn_socket_send_span(struct conn *c, struct session_io *io, const struct iovec *span);

/* The same for records of TLS, whose content has been counted. */
int conn_socket_send_records(struct conn *c, const struct session_io *io);

/* Tells the peer that no output follows. Returns whether the socket is still connected. */
bool conn_socket_end_output(const struct conn *c);

/* Returns whether all input has been read and the peer has closed its sending side. */
bool conn_socket_at_end(const struct conn *c);

/* Returns how many bytes of input have arrived and not been read, 0 if unknown. */
size_t conn_socket_arrived(const struct conn *c);

/* ---- log.c ---- */

/* Log the events of a connection. */
void conn_log_connect(const struct conn *c);
void conn_log_disconnect(const struct conn *c);
void conn_log_health_check(const struct conn *c);

/* Callback of session_io: logs the message @message of the connection @data. */
void conn_on_message(void *data, const struct session_message *message);

/* Callback of session_io: counts and logs the NAK @nak of the connection @data. */
void conn_on_nak(void *data, const struct nak *nak);

/* Callback of session_io: counts @n more of @what on the connection @data. */
void conn_on_count(void *data, enum session_count what, int64_t n);

/* ---- proxy.c ---- */

/* Room for the beginning of a PROXY header. A longer header, which is rare, gets the maximum. */
#define PROXY_PENDING_MIN 512

/*
 * Begins a connection whose peer must be a proxy; any other peer is refused. Takes @fd. Returns
 * NULL if no connection was made.
 */
struct conn *conn_proxy_open(struct listener *listener, int fd, const struct address *address);

/*
 * Continues the header of @c with the next @n bytes at @p. Returns how many of them belong to it.
 * When the header is complete, the client has been admitted or refused, or the connection closed.
 */
size_t conn_proxy_read(struct conn *c, const uint8_t *p, size_t n);

/* Refuses @c because its header is invalid or late. */
void conn_proxy_fail(struct conn *c, const char *reason);

/*
 * Handles the end of a connection whose header is incomplete. Without any input it was a health
 * check, which is counted and logged at level debug. Otherwise @c is refused for @reason.
 */
void conn_proxy_end(struct conn *c, const char *reason);

/* ---- tls.c ---- */

/* Returns whether @c is in its TLS handshake, or waits for it. */
static inline bool conn_is_handshaking(const struct conn *c)
{
	return states_in(c->state, STATES_BIT(CONN_WAITING) | STATES_BIT(CONN_HANDSHAKE) |
					   STATES_BIT(CONN_FLIGHT));
}

/* The bytes that a connection with TLS takes after its struct conn, and that a thread takes. */
extern const size_t conn_tls_bytes, conn_tls_thread_bytes;

/* The reason why conn_tls_init() returns -ENOTSUP, in words. */
extern const char conn_tls_lack[];

/* Initializes them. Returns 0, -ENOTSUP or -ENOMEM. */
int conn_tls_init(struct conn *c);

/* Begins to read the client's first record. */
void conn_tls_begin(struct conn *c);

/*
 * Returns the largest size of the next read of @c, at most TURN_READ_MAX. With what is kept of a
 * record it is as long as the longest records that have SESSION_READ_MAX bytes of content. A peer
 * that fills its records thus has none cut by a read.
 */
size_t conn_tls_read_size(const struct conn *c);

/*
 * Gives places to handshakes that have waited for one, if necessary those of clients that do not
 * continue, and checks some of the certificates that were taken over. Returns the milliseconds
 * until the next call, or UINT64_MAX if none is needed.
 */
uint64_t conn_tls_tick(struct reactor *reactor);

/*
 * Continues one handshake for which input has arrived. A computation may take milliseconds, so
 * there is one in a loop iteration. Returns whether there are others.
 */
bool conn_tls_work(struct reactor *reactor);

/* Continues after the output of CONN_FLIGHT has been sent. */
void conn_tls_flight_sent(struct conn *c);

/* Refuses @c in its handshake, or before it, for @reason, and counts @result. */
void conn_tls_refuse(struct conn *c, enum tls_result result, const char *reason);

/* Refuses it for lack of memory: @error is -ENOBUFS (budget), or anything else. */
void conn_tls_refuse_memory(struct conn *c, int error);

/*
 * Takes @n bytes that were received, in any state: they continue the handshake, or are opened and
 * passed to conn_take_input().
 */
void conn_tls_take(struct conn *c, const uint8_t *data, size_t n);

/* Answers the @n bytes at @data, a read of the turn. A sealed answer may remain to be sent. */
void conn_tls_answer(struct conn *c, const uint8_t *data, size_t n, uint64_t now_ms);

/* Sends the answers of the turn. */
void conn_tls_turn_end(struct reactor *reactor);

/* Seals the output of @io and sends it. Returns as conn_socket_send() does. */
int conn_tls_send(struct conn *c, struct session_io *io);

/* Notes that sending has failed, perhaps amid a record: no other record can follow. */
void conn_tls_cut_output(struct conn *c);

/* Returns whether the keys of @c may not seal many more records, and cannot be replaced. */
bool conn_tls_must_close(const struct conn *c);

/*
 * Returns whether there was an error in the peer's records. The data before it are answered, then
 * conn_tls_fail() ends the connection with the alert.
 */
bool conn_tls_has_failed(const struct conn *c);
void conn_tls_fail(struct conn *c);

/*
 * Sends the last record, if there was none: close_notify, the alert of an error, or internal_error
 * if a reply is lost. No output is pending. Returns whether some is now; if there is no memory for
 * that, the record is lost.
 */
bool conn_tls_end_output(struct conn *c);

struct handover;

/* For a hand-over: seals the output of @io and adds it to the record. Returns as handover_put(). */
int conn_tls_save_output(struct conn *c, struct session_io *io, struct handover *handover);

/*
 * Returns whether @c ends in this process: after an error in the peer's records, after its last
 * record, or because its keys must not be handed over.
 */
bool conn_tls_is_ending(const struct conn *c);

/*
 * Answers the input that is held, and then what has arrived: at most DRAIN_READ_MAX, as long as the
 * keys may seal the replies, and nothing if the client's certificate was not checked again. Adds
 * the replies and the last alert to the record. The connection then is one without TLS, whose
 * session has ended: the next process only delivers that output. Returns 0 or a negative errno,
 * which is -ECONNRESET if the peer has sent an alert, and -ENOBUFS if the record has more than
 * @most bytes; then no more replies are made.
 */
int conn_tls_save_end(struct conn *c, struct session_io *io, struct handover *handover,
		      size_t most);

/* Adds the part of TLS to the record, after all output. Returns 0 or a negative errno. */
int conn_tls_save(struct conn *c, struct handover *handover);

/*
 * Bytes of conn_tls_save() and conn_tls_save_end() that are not charged to the budget, because each
 * connection with TLS has them, also before and after a restart.
 */
extern const size_t conn_tls_saved_bytes;

/* Returns the bytes of an unfinished record, as charged to the budget. */
size_t conn_tls_held_bytes(const struct conn *c);

/*
 * Continues with the @n bytes at @p that conn_tls_save() has added. If the listener demands
 * certificates now, that of the client will be checked again. Returns 0, -EPROTO (damaged),
 * -ENOBUFS (budget) or -ENOMEM.
 */
int conn_tls_restore(struct conn *c, const uint8_t *p, size_t n);

/* Returns whether the listener accepts the version of TLS. */
bool conn_tls_suffices(const struct conn *c);

/* Sends the last record if that is possible, and wipes the secrets. */
void conn_tls_close(struct conn *c);

/* The result of the handshake, in words for the log. Static; NULL before. */
struct conn_tls_terms {
	const char *version;
	const char *cipher; /* IANA's name of the suite */
};
struct conn_tls_terms conn_tls_terms(const struct conn *c);

/* Returns the name of an alert, or why a client's certificate is not accepted any more. Static. */
const char *conn_tls_alert_name(uint8_t alert);
const char *conn_tls_verdict(int verdict);

/* Releases what connections with TLS have used in @reactor. */
void conn_tls_release(struct reactor *reactor);
