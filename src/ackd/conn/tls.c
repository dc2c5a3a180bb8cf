/*
 * A connection with TLS. OpenSSL makes the handshake (ackd/tls/handshake.h); then the record layer
 * opens what is received and seals what is sent.
 *
 * The normal sequence is conn_tls_begin(), conn_tls_take() for each read, and within it
 * conn_serve() after the handshake, conn_take_input() for the data of each read, conn_tls_send()
 * for replies; at the end conn_tls_end_output() with close_notify, and conn_tls_close().
 *
 * Exceptions:
 * - The socket does not take a whole flight of the handshake: CONN_FLIGHT, until it has.
 * - limits.max_handshakes are under way: CONN_WAITING, until there is a place. The thread looks for
 *   one every WAIT_MS. It serves the connections of all its listeners in their order.
 * - The handshake fails: the client gets OpenSSL's alert, and is refused with its reason.
 * - An error in a record: data before it are answered, then the alert is sent.
 * - A restart: conn_tls_save() and, in the next process, conn_tls_restore(). A connection that
 *   still is in its handshake is closed, and one that lingers needs no keys. The client's
 * certificate is checked again before the next data of the client are answered, or CHECKS of them
 * every TICK_MS, so that many do not delay other connections. A client that is not accepted any
 * more is drained.
 * - close_notify is the end of input. The end of the TCP connection without it is a truncation: an
 *   unfinished message is not answered.
 */

#include "ackd/conn/internal.h"

#include "ackd/handover/handover.h"
#include "ackd/tls/client.h"
#include "ackd/tls/handshake.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/*
 * How often a thread looks for places, and checks certificates. Places are shared by all threads,
 * and none wakes another.
 */
#define TICK_MS 10

/* How many certificates a thread checks at a time. Each takes about 0.1 ms. */
#define CHECKS 16

/* The working memory of a thread. */
struct conn_tls_memory {
	struct list waiting; /* struct conn_tls in CONN_WAITING, in the order of their beginning */
	struct list unchecked; /* struct conn_tls whose certificates have to be checked again */
	struct tls_crypto crypto;
	uint8_t data[SESSION_READ_MAX + TLS_RECORD_MAX];   /* of one read */
	uint8_t sealed[TLS_SEALED_MAX(SESSION_REPLY_MAX)]; /* to be sent immediately */
	size_t n_answers;
	struct answer {
		struct conn *conn;
		struct iovec bytes; /* in @sealed_answers */
	} answers[TURN_READS_MAX];  /* to be sent at the end of the turn */
	size_t n_sealed;
	uint8_t sealed_answers[2 * TURN_BYTES_MAX];
};

struct conn_tls {
	struct list node;		 /* in one of these lists, or empty */
	struct tls_handshake *handshake; /* NULL before and after it */
	struct tls_channel channel;
	const struct tls_suite *suite; /* also after the channel's end */
	bool has_place;		       /* of limits.max_handshakes */
	bool is_established;	       /* CONN_FLIGHT: after it the handshake is complete */
	uint8_t *kept;		       /* the beginning of a record */
	uint32_t n_kept;
	uint32_t kept_capacity; /* charged to the budget */
	uint32_t n_certificates;
	uint8_t *certificates; /* of the client, see tls/client.h; charged to the budget; or NULL */
};

const size_t conn_tls_bytes = sizeof(struct conn_tls);

static struct conn_tls *tls_of(const struct conn *c)
{
	return (struct conn_tls *)(uintptr_t)(c + 1);
}

static struct conn_tls_memory *memory_of(const struct conn *c)
{
	return conn_reactor(c)->tls;
}

struct conn_tls_terms conn_tls_terms(const struct conn *c)
{
	const struct tls_suite *suite = tls_of(c)->suite;

	if (!suite)
		return (struct conn_tls_terms){0};
	return (struct conn_tls_terms){suite->is_13 ? "1.3" : "1.2", suite->name};
}

const char *conn_tls_alert_name(uint8_t alert)
{
	return tls_alert_name(alert);
}

const char *conn_tls_verdict(int verdict)
{
	return tls_client_verdict(verdict);
}

/* ---- life ---- */

int conn_tls_init(struct conn *c)
{
	struct reactor *reactor = conn_reactor(c);
	struct conn_tls *tls = tls_of(c);
	struct conn_tls_memory *memory;
	int r;

	*tls = (struct conn_tls){0};
	list_init(&tls->node);
	if (reactor->tls)
		return 0;
	memory = malloc(sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	r = tls_crypto_init(&memory->crypto);
	if (r < 0) {
		free(memory);
		return r;
	}
	list_init(&memory->waiting);
	list_init(&memory->unchecked);
	memory->n_answers = memory->n_sealed = 0;
	reactor->tls = memory;
	return 0;
}

void conn_tls_release(struct reactor *reactor)
{
	if (!reactor->tls)
		return;
	tls_crypto_finish(&reactor->tls->crypto);
	free(reactor->tls);
	reactor->tls = NULL;
}

static void forget_kept(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);

	budget_give(&conn_reactor(c)->limits->budget, tls->kept_capacity);
	free(tls->kept);
	tls->kept = NULL;
	tls->n_kept = tls->kept_capacity = 0;
}

/* Takes the client's @n bytes of certificates. Returns 0, or -ENOBUFS after freeing them. */
static int keep_certificates(struct conn *c, uint8_t *certificates, size_t n)
{
	struct conn_tls *tls = tls_of(c);

	if (!budget_take(&conn_reactor(c)->limits->budget, n)) {
		free(certificates);
		return -ENOBUFS;
	}
	tls->certificates = certificates;
	tls->n_certificates = (uint32_t)n;
	return 0;
}

static void forget_certificates(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);

	budget_give(&conn_reactor(c)->limits->budget, tls->n_certificates);
	free(tls->certificates);
	tls->certificates = NULL;
	tls->n_certificates = 0;
}

/* Ends the handshake of @c, or the wait for it, and releases its place. */
static void end_handshake(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);

	list_remove(&tls->node);
	tls_handshake_destroy(tls->handshake);
	tls->handshake = NULL;
	if (tls->has_place)
		limits_handshake_end(conn_reactor(c)->limits);
	tls->has_place = false;
}

void conn_tls_close(struct conn *c)
{
	if (!c->pending && c->reason != CONN_HANDED_OVER)
		conn_tls_end_output(c);
	end_handshake(c);
	tls_channel_finish(&tls_of(c)->channel, &memory_of(c)->crypto);
	forget_kept(c);
	forget_certificates(c);
}

/* ---- the handshake ---- */

/* Begins the handshake, for which @c has a place, with the bytes that have waited, if any. */
static void begin_handshake(struct conn *c)
{
	struct conn_pending *waited = c->pending;
	struct conn_tls *tls = tls_of(c);

	tls->has_place = true;
	tls->handshake = tls_handshake_create(conn_listener(c)->settings->tls_context);
	if (!tls->handshake) {
		conn_tls_refuse(c, conn_reason_name(CONN_MEMORY));
		return;
	}
	c->pending = NULL; /* output may take its place */
	conn_move(c, CONN_HANDSHAKE);
	if (!waited)
		return;
	conn_tls_take(c, waited->bytes, waited->length);
	budget_give(&conn_reactor(c)->limits->budget, sizeof(*waited) + waited->capacity);
	free(waited);
}

void conn_tls_begin(struct conn *c)
{
	struct reactor *reactor = conn_reactor(c);

	if (c->draining) { /* its PROXY header was late */
		conn_close(c, CONN_DRAIN);
	} else if (list_is_empty(&reactor->tls->waiting) &&
		   limits_handshake_begin(reactor->limits)) {
		begin_handshake(c);
	} else {
		list_append(&reactor->tls->waiting, &tls_of(c)->node);
		conn_move(c, CONN_WAITING);
		reactor_wake_in(reactor, TICK_MS);
	}
}

/* Begins handshakes that have waited for a place. */
static void admit_waiting(struct reactor *reactor)
{
	struct list *waiting = &reactor->tls->waiting;

	while (!list_is_empty(waiting) && limits_handshake_begin(reactor->limits)) {
		struct conn_tls *tls = list_entry(waiting->next, struct conn_tls, node);
		struct conn *c = (struct conn *)(void *)tls - 1;

		list_remove(&tls->node);
		begin_handshake(c);
		conn_check_invariant(c);
	}
}

void conn_tls_refuse(struct conn *c, const char *reason)
{
	listener_count_refusal(conn_listener(c), &c->address, REFUSAL_TLS, reason);
	end_handshake(c);
	conn_pending_free(c);
	conn_finish(c, CONN_REFUSED);
}

/* Sends a flight of the handshake. Returns as conn_socket_send() does. */
static int send_flight(struct conn *c, struct tls_handshake *handshake)
{
	struct session_io *io = conn_io(c);
	size_t n;
	const uint8_t *p = tls_handshake_output(handshake, &n);
	int r;

	if (n == 0)
		return 0;
	out_set(&io->out, p, n);
	r = conn_socket_send_records(c, io);
	session_io_clear(io);
	return r;
}

/*
 * Makes the kernel acknowledge the end of the handshake now. In TLS 1.3 no answer does: a client
 * without TCP_NODELAY would hold its first message back until a delayed acknowledgement.
 */
static void acknowledge(const struct conn *c)
{
	const int on = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* Adds the subject of the client's certificate to the names. Returns as conn_name() does. */
static int name_client(struct conn *c)
{
	struct conn_names names = conn_names_of(c);
	char subject[TEMPLATE_TLS_SUBJECT_MAX + 1];
	int r = tls_handshake_subject(tls_of(c)->handshake, subject, sizeof(subject));

	if (r < 0 || !*subject)
		return r;
	names.tls_subject = subject;
	return conn_name(c, &names);
}

/* Keeps what the client has presented. Returns 0, -ENOBUFS or -ENOMEM. */
static int keep_client(struct conn *c)
{
	size_t n;
	uint8_t *certificates = tls_handshake_certificates(tls_of(c)->handshake, &n);
	int r;

	if (n == 0)
		return 0;
	if (!certificates)
		return -ENOMEM;
	r = keep_certificates(c, certificates, n);
	return r < 0 ? r : name_client(c);
}

/* Replaces the handshake by the record layer. */
static void establish(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);
	struct tls_crypto *crypto = &memory_of(c)->crypto;
	struct tls_state state = {0};
	int kept;
	int r = tls_handshake_finish(tls->handshake, crypto, &state);

	acknowledge(c);
	if (r == 0)
		r = tls_channel_init(&tls->channel, crypto, &state);
	tls->suite = tls->channel.suite;
	tls_state_wipe(&state);
	kept = keep_client(c);
	end_handshake(c);
	if (r < 0)
		conn_tls_refuse(c, "libcrypto failed");
	else
		conn_serve(c, kept);
}

void conn_tls_flight_sent(struct conn *c)
{
	conn_move(c, CONN_HANDSHAKE);
	if (tls_of(c)->is_established && c->state == CONN_HANDSHAKE)
		establish(c);
}

/* Continues the handshake. Returns how many of the @n bytes belong to it. */
static size_t take_handshake(struct conn *c, const uint8_t *data, size_t n)
{
	struct tls_handshake *handshake = tls_of(c)->handshake;
	const char *reason = NULL;
	size_t used = 0;
	enum tls_progress progress = tls_handshake_take(handshake, data, n, &used, &reason);
	int sent = send_flight(c, handshake);

	if (progress == TLS_REFUSED) {
		conn_tls_refuse(c, reason);
	} else if (sent < 0) {
		conn_fail(c, sent);
	} else if (sent == 0 && progress == TLS_ESTABLISHED) {
		establish(c);
	} else if (sent > 0 && used < n) {
		conn_tls_refuse(c, "data before the end of the TLS handshake");
	} else if (sent > 0) {
		tls_of(c)->is_established = progress == TLS_ESTABLISHED;
		conn_move(c, CONN_FLIGHT);
	}
	return used;
}

/* ---- input ---- */

/*
 * Keeps the @n bytes at the end of the input, which begin a record of @length bytes. Returns 0,
 * -ENOBUFS or -ENOMEM.
 */
static int keep(struct conn *c, const struct tls_input *input, size_t n, size_t length)
{
	struct budget *budget = &conn_reactor(c)->limits->budget;
	struct conn_tls *tls = tls_of(c);
	uint8_t *grown;

	if (n == 0) {
		forget_kept(c);
		return 0;
	}
	if (n != input->n_kept + input->n_bytes)
		tls->n_kept = 0; /* they ended with the first record */
	if (length > tls->kept_capacity) {
		if (!budget_take(budget, length - tls->kept_capacity))
			return -ENOBUFS;
		grown = realloc(tls->kept, length);
		if (!grown) {
			budget_give(budget, length - tls->kept_capacity);
			return -ENOMEM;
		}
		tls->kept = grown;
		tls->kept_capacity = (uint32_t)length;
	}
	memcpy(tls->kept + tls->n_kept, input->bytes + input->n_bytes - (n - tls->n_kept),
	       n - tls->n_kept);
	tls->n_kept = (uint32_t)n;
	return 0;
}

bool conn_tls_has_failed(const struct conn *c)
{
	return tls_of(c)->channel.status == TLS_ERROR;
}

void conn_tls_fail(struct conn *c)
{
	c->error = tls_of(c)->channel.alert;
	conn_finish(c, CONN_TLS_ERROR);
}

/* Answers the peer's request for a KeyUpdate, or a renegotiation, unless a reply has done so. */
static void send_answer(struct conn *c)
{
	struct session_io *io = conn_io(c);

	if (c->state != CONN_SERVING || !tls_channel_is_answer_due(&tls_of(c)->channel))
		return;
	conn_pump_sent(c, io, SESSION_IDLE, conn_tls_send(c, io));
}

/* Opens @n bytes that were received, and keeps the beginning of a record. */
static struct tls_opened open_records(struct conn *c, const uint8_t *data, size_t n)
{
	struct conn_tls *tls = tls_of(c);
	struct conn_tls_memory *memory = memory_of(c);
	struct tls_input input = {tls->kept, tls->n_kept, data, n};
	struct tls_opened opened =
		tls_channel_open(&tls->channel, &memory->crypto, &input, memory->data);
	int r = 0;

	if (opened.n_rest > 0 || tls->kept)
		r = keep(c, &input, opened.n_rest, opened.record_length);
	if (r < 0)
		conn_fail_memory(c, r);
	return opened;
}

/* Continues after the data of a read have been answered. */
static void after_records(struct conn *c, enum tls_status status)
{
	const struct tls_channel *channel = &tls_of(c)->channel;

	if (c->state == CONN_CLOSING || c->state == CONN_LINGERING)
		return;
	if (status == TLS_ERROR && c->state == CONN_SERVING)
		conn_tls_fail(c); /* otherwise when the output has been sent */
	else if (tls_channel_must_close(channel, &memory_of(c)->crypto) && c->state == CONN_SERVING)
		conn_finish(c, CONN_DRAIN);
	else
		send_answer(c);
}

/* Answers the data of a read, then handles what came after them. */
static void take_opened(struct conn *c, const struct tls_opened *opened)
{
	if (opened->status == TLS_PEER_ERROR) {
		c->error = tls_of(c)->channel.alert;
		conn_close(c, CONN_TLS_ALERT);
		return;
	}
	c->ended |= opened->status == TLS_ENDED;
	conn_count_received(c, opened->n);
	if (opened->n > 0 || c->ended || c->draining) /* which may have its last input */
		conn_take_input(c, memory_of(c)->data, opened->n);
	after_records(c, opened->status);
}

static void take_records(struct conn *c, const uint8_t *data, size_t n)
{
	struct tls_opened opened = open_records(c, data, n);

	if (c->state != CONN_CLOSING)
		take_opened(c, &opened);
}

/* Keeps the @n bytes that were read together with the PROXY header. */
static void wait_with(struct conn *c, const uint8_t *data, size_t n)
{
	if (conn_pending_reserve(c, n) < 0) {
		conn_tls_refuse(c, conn_reason_name(CONN_MEMORY));
		return;
	}
	memcpy(c->pending->bytes, data, n);
	c->pending->length = (uint32_t)n;
}

void conn_tls_take(struct conn *c, const uint8_t *data, size_t n)
{
	size_t used;

	if (c->state == CONN_WAITING && n > 0) {
		wait_with(c, data, n);
	} else if (c->state == CONN_HANDSHAKE) {
		used = take_handshake(c, data, n);
		data += used;
		n -= used;
	}
	if (n > 0 && (c->state == CONN_SERVING || c->state == CONN_SENDING))
		take_records(c, data, n);
}

/* ---- clients of the previous process ---- */

/* Returns whether the certificate of @c, which is established, has to be checked again. */
static bool is_unchecked(const struct conn *c)
{
	return !list_is_empty(&tls_of(c)->node) && !conn_is_handshaking(c);
}

/* Checks it. @n_read bytes have been read, but not answered. */
static void check_client(struct conn *c, size_t n_read)
{
	struct conn_tls *tls = tls_of(c);
	int verdict = tls_client_check(conn_listener(c)->settings->tls_context, tls->certificates,
				       tls->n_certificates);

	list_remove(&tls->node);
	if (verdict == 0)
		return;
	if (verdict < 0) {
		conn_fail(c, verdict);
		return;
	}
	c->error = (int16_t)verdict;
	conn_drain_after(c, n_read);
}

static void check_clients(struct reactor *reactor)
{
	struct list *unchecked = &reactor->tls->unchecked;

	for (unsigned i = 0; i < CHECKS && !list_is_empty(unchecked); i++) {
		struct conn_tls *tls = list_entry(unchecked->next, struct conn_tls, node);

		check_client((struct conn *)(void *)tls - 1, 0);
	}
}

uint64_t conn_tls_tick(struct reactor *reactor)
{
	admit_waiting(reactor);
	check_clients(reactor);
	return list_is_empty(&reactor->tls->waiting) && list_is_empty(&reactor->tls->unchecked)
		       ? UINT64_MAX
		       : TICK_MS;
}

/* ---- the turn ---- */

/*
 * Seals the output of @io among the answers of the turn. Returns false, and does nothing, if there
 * is no room.
 */
static bool set_aside(struct conn *c, struct session_io *io)
{
	struct conn_tls_memory *memory = memory_of(c);
	uint8_t *out = memory->sealed_answers + memory->n_sealed;
	ssize_t n;

	if (TLS_SEALED_MAX(io->out.n_bytes) > sizeof(memory->sealed_answers) - memory->n_sealed ||
	    tls_channel_must_close(&tls_of(c)->channel, &memory->crypto))
		return false;
	n = tls_channel_seal(&tls_of(c)->channel, &memory->crypto, io->out.spans, io->out.n_spans,
			     out);
	if (n < 0) {
		conn_fail(c, UV_EPROTO);
		return true;
	}
	conn_count_sent(c, io->out.n_bytes);
	memory->answers[memory->n_answers++] = (struct answer){c, {out, (size_t)n}};
	memory->n_sealed += (size_t)n;
	return true;
}

void conn_tls_answer(struct conn *c, const uint8_t *data, size_t n, uint64_t now_ms)
{
	struct session_io *io = conn_io(c);
	struct tls_opened opened;
	int result;

	if (is_unchecked(c))
		check_client(c, n);
	if (c->state != CONN_SERVING || c->draining) {
		conn_take(c, data, n);
		return;
	}
	opened = open_records(c, data, n);
	if (c->state == CONN_CLOSING)
		return;
	conn_touch(c, now_ms);
	if (opened.status != TLS_OPEN || opened.n == 0) {
		take_opened(c, &opened);
		return;
	}
	conn_count_received(c, opened.n);
	result = session_feed_all(&c->session, io, memory_of(c)->data, opened.n, false);
	if (result == SESSION_IDLE && set_aside(c, io)) {
		conn_count_messages(c, io);
		session_io_clear(io);
	} else {
		conn_pump(c, io, result);
		after_records(c, TLS_OPEN);
	}
}

void conn_tls_turn_end(struct reactor *reactor)
{
	struct conn_tls_memory *memory = reactor->tls;
	struct session_io *io = &reactor->io;

	for (size_t i = 0; i < memory->n_answers; i++) {
		const struct answer *answer = &memory->answers[i];
		int sent;

		out_set(&io->out, answer->bytes.iov_base, answer->bytes.iov_len);
		sent = conn_socket_send_records(answer->conn, io);
		if (sent != 0)
			conn_pump_sent(answer->conn, conn_io(answer->conn), SESSION_IDLE, sent);
	}
	memory->n_answers = memory->n_sealed = 0;
}

/* ---- output ---- */

int conn_tls_send(struct conn *c, struct session_io *io)
{
	struct conn_tls_memory *memory = memory_of(c);
	ssize_t n = tls_channel_seal(&tls_of(c)->channel, &memory->crypto, io->out.spans,
				     io->out.n_spans, memory->sealed);

	if (n < 0)
		return UV_EPROTO;
	conn_count_sent(c, io->out.n_bytes);
	out_set(&io->out, memory->sealed, (size_t)n);
	return conn_socket_send_records(c, io);
}

void conn_tls_end_output(struct conn *c)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	uint8_t alert = channel->status == TLS_ERROR ? channel->alert : TLS_CLOSE_NOTIFY;
	uint8_t out[TLS_ALERT_MAX];
	size_t n;

	if (!channel->suite)
		return;
	n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, alert, out);
	/* a socket that does not take it belongs to a peer that does not read */
	if (n > 0)
		(void)!send(c->fd, out, n, MSG_NOSIGNAL);
}

/* ---- restart ---- */

/* The part of TLS in a state. The client's certificates and the beginning of a record follow it. */
struct saved {
	struct tls_state state;
	uint64_t n_certificates; /* bytes */
};

int conn_tls_save_output(struct conn *c, struct session_io *io, struct handover *handover)
{
	struct conn_tls_memory *memory = memory_of(c);
	ssize_t n;

	if (io->out.n_bytes == 0)
		return 0;
	n = tls_channel_seal(&tls_of(c)->channel, &memory->crypto, io->out.spans, io->out.n_spans,
			     memory->sealed);
	if (n < 0)
		return (int)n;
	conn_count_sent(c, io->out.n_bytes);
	return handover_put(handover, memory->sealed, (size_t)n);
}

int conn_tls_save_alert(struct conn *c, struct handover *handover)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	uint8_t out[TLS_ALERT_MAX];
	size_t n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, channel->alert, out);

	return handover_put(handover, out, n);
}

int conn_tls_save(const struct conn *c, struct handover *handover)
{
	const struct conn_tls *tls = tls_of(c);
	struct saved saved = {.n_certificates = tls->n_certificates};
	int r;

	tls_channel_save(&tls->channel, &saved.state);
	r = handover_put(handover, &saved, sizeof(saved));
	tls_state_wipe(&saved.state);
	if (r == 0 && tls->n_certificates > 0)
		r = handover_put(handover, tls->certificates, tls->n_certificates);
	return r == 0 && tls->n_kept > 0 ? handover_put(handover, tls->kept, tls->n_kept) : r;
}

size_t conn_tls_held_bytes(const struct conn *c)
{
	return tls_of(c)->kept_capacity + tls_of(c)->n_certificates;
}

/* Keeps a copy of the @n bytes of certificates at @p. Returns 0, -ENOBUFS or -ENOMEM. */
static int restore_certificates(struct conn *c, const uint8_t *p, size_t n)
{
	uint8_t *copy;

	if (n == 0)
		return 0;
	copy = malloc(n);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, p, n);
	return keep_certificates(c, copy, n);
}

int conn_tls_restore(struct conn *c, const uint8_t *p, size_t n)
{
	struct conn_tls *tls = tls_of(c);
	struct tls_input kept = {0};
	struct saved saved;
	int r;

	if (n < sizeof(saved))
		return -EPROTO;
	memcpy(&saved, p, sizeof(saved));
	p += sizeof(saved);
	n -= sizeof(saved);
	r = tls_channel_init(&tls->channel, &memory_of(c)->crypto, &saved.state);
	tls_state_wipe(&saved.state);
	if (r < 0)
		return -EPROTO;
	tls->suite = tls->channel.suite;
	if (saved.n_certificates > TLS_CERTIFICATES_MAX || saved.n_certificates > n ||
	    n - saved.n_certificates > TLS_RECORD_MAX)
		return -EPROTO;
	r = restore_certificates(c, p, saved.n_certificates);
	kept.bytes = p + saved.n_certificates;
	kept.n_bytes = n - saved.n_certificates;
	if (r == 0)
		r = keep(c, &kept, kept.n_bytes, kept.n_bytes);
	if (r == 0 && tls_context_demands_certificate(conn_listener(c)->settings->tls_context)) {
		list_append(&conn_reactor(c)->tls->unchecked, &tls->node);
		reactor_wake_in(conn_reactor(c), TICK_MS);
	}
	return r;
}
