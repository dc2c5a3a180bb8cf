/*
 * A connection with TLS. OpenSSL makes the handshake (ackd/tls/handshake.h); then the record layer
 * opens what is received and seals what is sent.
 *
 * The normal sequence is conn_tls_begin(), conn_tls_take() for each read, conn_tls_work() for each
 * step of the handshake, and within the last step conn_serve(). Then conn_take_input() for the data
 * of each read, conn_tls_send() for replies; at the end conn_tls_end_output() with close_notify,
 * and conn_tls_close().
 *
 * A step of the handshake is a computation that takes long. Its input waits in CONN_WAITING, and
 * the thread makes one step in each loop iteration, so that a flood of handshakes delays other
 * connections by one step.
 *
 * Exceptions:
 * - The socket does not take a whole flight of the handshake: CONN_FLIGHT, until it has.
 * - limits.max_handshakes are under way, or there is no memory for another: CONN_WAITING, until
 *   there is a place. A client needs none before its first record is complete. The thread looks for
 *   places every TICK_MS. It serves the connections of all its listeners in their order.
 * - A client does not continue its handshake for PATIENCE_MS while others wait for a place: it is
 *   refused.
 * - The handshake fails: the client gets OpenSSL's alert, and is refused with its reason.
 * - An error in a record: data before it are answered, then the alert is sent.
 * - A restart: conn_tls_save() and, in the next process, conn_tls_restore(). A connection that
 *   still is in its handshake is closed, and one that lingers needs no keys. The client's
 *   certificate is checked again before the next data of the client are answered, or CHECKS of them
 *   every TICK_MS, so that many do not delay other connections. A client that is not accepted any
 *   more is drained.
 * - A restart of a connection that ends: conn_tls_save_end(). The next process gets no keys.
 * - close_notify is the end of input. The end of the TCP connection without it is a truncation: an
 *   unfinished message is not answered.
 */

#include "ackd/conn/tls.h"
#include "ackd/conn/internal.h"

#include "ackd/handover/handover.h"
#include "ackd/tls/client.h"
#include "ackd/tls/secret.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How many certificates a thread checks at a time. Each takes about 0.1 ms. */
#define CHECKS 16

const size_t conn_tls_bytes = sizeof(struct conn_tls);
const size_t conn_tls_thread_bytes =
	sizeof(struct conn_tls_memory) + (size_t)TLS_AEADS * TLS_CONTEXTS * TLS_CONTEXT_BYTES;
const char conn_tls_lack[] = "libcrypto lacks an algorithm of TLS";

/* The number of the longest records that a read can take. */
#define READ_RECORDS (SESSION_READ_MAX / TLS_CONTENT_MAX)

static_assert(READ_RECORDS * TLS_RECORD_MAX <= TURN_READ_MAX, "a read does not fit");

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
	secret_forbid_dumps(); /* the listener may have no tls group any more */
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
	list_init(&memory->ready);
	list_init(&memory->asking);
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

int conn_tls_keep_certificates(struct conn *c, uint8_t *certificates, size_t n)
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

void conn_tls_close(struct conn *c)
{
	if (!c->pending && c->reason != CONN_HANDED_OVER)
		conn_tls_end_output(c);
	conn_tls_end_handshake(c, TLS_RESULT_SHUTDOWN);
	tls_channel_finish(&tls_of(c)->channel, &memory_of(c)->crypto);
	forget_kept(c);
	forget_certificates(c);
}

/* ---- input ---- */

size_t conn_tls_read_size(const struct conn *c)
{
	const struct conn_tls *tls = tls_of(c);

	if (!tls->channel.suite)
		return SESSION_READ_MAX;
	return READ_RECORDS * tls_record_max(tls->channel.suite) - tls->n_kept;
}

/*
 * Keeps the @n bytes at the end of the input, which begin a record of @length bytes, more than @n.
 * Returns 0, -ENOBUFS or -ENOMEM.
 */
static int keep(struct conn *c, const struct tls_input *input, size_t n, size_t length)
{
	struct budget *budget = &conn_reactor(c)->limits->budget;
	struct conn_tls *tls = tls_of(c);
	size_t capacity = KEPT_MIN;
	uint8_t *grown;

	if (n == 0) {
		forget_kept(c);
		return 0;
	}
	if (n != input->n_kept + input->n_bytes)
		tls->n_kept = 0; /* they ended with the first record */
	if (n > tls->kept_capacity) {
		/* not the whole record: few bytes can announce a long one */
		while (capacity < n)
			capacity *= 2;
		if (capacity > length)
			capacity = length;
		if (!budget_take(budget, capacity - tls->kept_capacity))
			return -ENOBUFS;
		grown = realloc(tls->kept, capacity);
		if (!grown) {
			budget_give(budget, capacity - tls->kept_capacity);
			return -ENOMEM;
		}
		tls->kept = grown;
		tls->kept_capacity = (uint32_t)capacity;
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
	if (c->state == CONN_CLOSING || c->state == CONN_LINGERING)
		return;
	if (status == TLS_ERROR && c->state == CONN_SERVING)
		conn_tls_fail(c); /* otherwise when the output has been sent */
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
	/* a drain ends with the last bytes, even if they have no data */
	if (opened->n > 0 || c->ended || (c->draining && c->drain_left == 0))
		conn_take_input(c, memory_of(c)->data, opened->n);
	after_records(c, opened->status);
}

static void take_records(struct conn *c, const uint8_t *data, size_t n)
{
	struct tls_opened opened = open_records(c, data, n);

	if (c->state != CONN_CLOSING)
		take_opened(c, &opened);
}

void conn_tls_take(struct conn *c, const uint8_t *data, size_t n)
{
	if (n == 0)
		return;
	if (c->state == CONN_HANDSHAKE)
		conn_tls_collect(c, data, n);
	else if (c->state == CONN_SERVING || c->state == CONN_SENDING)
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
	conn_drain_for(c, CONN_UNTRUSTED, n_read);
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
	bool is_done = conn_tls_admit_waiting(reactor);

	check_clients(reactor);
	return is_done && list_is_empty(&reactor->tls->unchecked) ? UINT64_MAX : TICK_MS;
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
	    conn_tls_must_close(c))
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
	/* at most SESSION_READ_MAX: more records have less content than READ_RECORDS */
	result = session_feed(&c->session, io, memory_of(c)->data, opened.n);
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
	int r;

	if (n < 0)
		return UV_EPROTO;
	conn_count_sent(c, io->out.n_bytes);
	out_set(&io->out, memory->sealed, (size_t)n);
	r = conn_socket_send_records(c, io);
	if (r < 0)
		conn_tls_cut_output(c);
	return r;
}

void conn_tls_cut_output(struct conn *c)
{
	tls_of(c)->is_cut = true;
}

bool conn_tls_must_close(const struct conn *c)
{
	return tls_channel_must_close(&tls_of(c)->channel, &memory_of(c)->crypto);
}

/* Returns the last alert: close_notify only if everything was answered. */
static uint8_t last_alert(const struct conn *c)
{
	const struct tls_channel *channel = &tls_of(c)->channel;

	if (channel->status == TLS_ERROR)
		return channel->alert;
	if (c->reason == CONN_MEMORY || c->reason == CONN_MEMORY_BUDGET ||
	    c->reason == CONN_RESET || session_is_held(&c->session))
		return TLS_INTERNAL_ERROR;
	return TLS_CLOSE_NOTIFY;
}

bool conn_tls_end_output(struct conn *c)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	uint8_t out[TLS_ALERT_MAX];
	ssize_t sent;
	size_t n;

	if (!channel->suite || tls_of(c)->is_cut)
		return false;
	n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, last_alert(c), out);
	if (n == 0)
		return false;
	sent = send(c->fd, out, n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return false; /* no output is possible any more */
	if (sent < 0)
		sent = 0;
	n -= (size_t)sent;
	if (n == 0 || conn_pending_reserve(c, n) < 0)
		return false;
	memcpy(c->pending->bytes, out + sent, n);
	c->pending->length = (uint32_t)n;
	return true;
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
	conn_tls_cut_output(c); /* the next process sends it */
	return handover_put(handover, memory->sealed, (size_t)n);
}

bool conn_tls_is_ending(const struct conn *c)
{
	return conn_tls_has_failed(c) || tls_of(c)->channel.has_closed ||
	       !conn_listener(c)->settings->tls.keep_connections;
}

/* Returns whether @c, which ends, may answer what has arrived. */
static bool may_answer(const struct conn *c)
{
	return !conn_tls_has_failed(c) && !tls_of(c)->channel.has_closed &&
	       !conn_tls_must_close(c) && !is_unchecked(c);
}

/*
 * Answers the next input that has arrived, at most *@left bytes. Returns as session_feed() does,
 * SESSION_DONE if there is none, or -ECONNRESET for an alert of the peer.
 */
static int feed_arrived(struct conn *c, struct session_io *io, size_t *left)
{
	uint8_t *buffer = conn_reactor(c)->turn.buffer;
	size_t most = *left < SESSION_READ_MAX ? *left : SESSION_READ_MAX;
	struct tls_opened opened;
	ssize_t n = 0;

	if (most > 0 && may_answer(c))
		n = recv(c->fd, buffer, most, MSG_DONTWAIT);
	if (n <= 0)
		return SESSION_DONE;
	*left -= (size_t)n;
	opened = open_records(c, buffer, (size_t)n);
	if (c->state == CONN_CLOSING)
		return -ENOBUFS;
	if (opened.status == TLS_PEER_ERROR) {
		c->error = tls_of(c)->channel.alert;
		return -ECONNRESET;
	}
	conn_count_received(c, opened.n);
	return session_feed_all(&c->session, io, memory_of(c)->data, opened.n,
				opened.status == TLS_ENDED);
}

int conn_tls_save_end(struct conn *c, struct session_io *io, struct handover *handover, size_t most)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	size_t left = DRAIN_READ_MAX, n;
	uint8_t out[TLS_ALERT_MAX];
	int r, result = session_resume(&c->session, io);

	for (;;) {
		r = conn_tls_save_output(c, io, handover);
		conn_count_messages(c, io);
		session_io_clear(io);
		if (r < 0 || result < 0)
			return r < 0 ? r : result;
		if (handover->put_bytes > most)
			return -ENOBUFS;
		if (result == SESSION_DONE)
			break;
		result = result == SESSION_FULL ? session_resume(&c->session, io)
						: feed_arrived(c, io, &left);
	}
	if (conn_tls_has_failed(c)) {
		c->error = channel->alert;
		c->end_reason = CONN_TLS_ERROR;
	} else if (c->end_reason == CONN_OPEN) {
		c->end_reason = CONN_DRAIN;
	}
	n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, last_alert(c), out);
	return handover_put(handover, out, n);
}

int conn_tls_save(struct conn *c, struct handover *handover)
{
	const struct conn_tls *tls = tls_of(c);
	struct saved saved = {.n_certificates = tls->n_certificates};
	int r;

	conn_tls_cut_output(c);
	tls_channel_save(&tls->channel, &saved.state);
	r = handover_put(handover, &saved, sizeof(saved));
	tls_state_wipe(&saved.state);
	if (r == 0 && tls->n_certificates > 0)
		r = handover_put(handover, tls->certificates, tls->n_certificates);
	return r == 0 && tls->n_kept > 0 ? handover_put(handover, tls->kept, tls->n_kept) : r;
}

const size_t conn_tls_saved_bytes = sizeof(struct saved);
static_assert(sizeof(struct saved) >= TLS_ALERT_MAX, "a last alert is charged");

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
	return conn_tls_keep_certificates(c, copy, n);
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
	if (r < 0)
		conn_tls_cut_output(c); /* there may be output of the last process */
	if (r == 0 && tls_context_demands_certificate(conn_listener(c)->settings->tls_context)) {
		list_append(&conn_reactor(c)->tls->unchecked, &tls->node);
		reactor_wake_in(conn_reactor(c), TICK_MS);
	}
	return r;
}

bool conn_tls_suffices(const struct conn *c)
{
	const struct tls_suite *suite = tls_of(c)->suite;
	const struct tls_settings *settings = &conn_listener(c)->settings->tls;

	return settings->min_version == TLS_MIN_1_2 || (suite && suite->is_13);
}
