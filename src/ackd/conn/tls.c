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

/* How long a handshake may wait for its client while others wait for its place. */
#define PATIENCE_MS 2000

/* The least memory for the beginning of a record. */
#define KEPT_MIN 512

/* The working memory of a thread. */
struct conn_tls_memory {
	/* the handshakes, as struct conn_tls, in the order in which they came there */
	struct list waiting;   /* for a place, in CONN_WAITING */
	struct list ready;     /* for their step, in CONN_WAITING */
	struct list asking;    /* for input of their client, or for room in the socket */
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
	uint64_t asked_ms;		 /* when the handshake began to wait for its client */
	struct tls_channel channel;
	const struct tls_suite *suite; /* also after the channel's end */
	bool has_place;		       /* of limits.max_handshakes */
	bool is_established;	       /* CONN_FLIGHT: after it the handshake is complete */
	bool is_cut;		       /* nothing more can be sent; see conn_tls_cut_output() */
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

/* Returns the memory that the handshake of @c takes. */
static size_t place_bytes(const struct conn *c)
{
	return tls_context_handshake_bytes(conn_listener(c)->settings->tls_context);
}

/* Ends the handshake of @c, or the wait for it, and releases its place. */
static void end_handshake(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);

	list_remove(&tls->node);
	tls_handshake_destroy(tls->handshake);
	tls->handshake = NULL;
	if (tls->has_place)
		limits_handshake_end(conn_reactor(c)->limits, place_bytes(c));
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

static struct conn *conn_of(struct list *node)
{
	return (struct conn *)(void *)list_entry(node, struct conn_tls, node) - 1;
}

void conn_tls_begin(struct conn *c)
{
	if (c->draining) /* its PROXY header was late */
		conn_close(c, CONN_DRAIN);
	else
		conn_move(c, CONN_HANDSHAKE);
}

static void refuse(struct conn *c, enum refusal refusal, const char *reason)
{
	listener_count_refusal(conn_listener(c), &c->address, refusal, reason);
	end_handshake(c);
	conn_pending_free(c);
	conn_finish(c, CONN_REFUSED);
}

void conn_tls_refuse(struct conn *c, const char *reason)
{
	refuse(c, REFUSAL_TLS, reason);
}

void conn_tls_refuse_memory(struct conn *c, int error)
{
	refuse(c, REFUSAL_MEMORY,
	       conn_reason_name(error == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY));
}

/* Refuses @c, which has no keys yet, with an alert. */
static void refuse_plainly(struct conn *c, enum tls_alert alert, const char *reason)
{
	const uint8_t record[] = {21, 3, 3, 0, 2, 2, (uint8_t)alert};

	(void)!send(c->fd, record, sizeof(record), MSG_NOSIGNAL);
	conn_tls_refuse(c, reason);
}

/* Gives places to those that wait for one, as long as there are any. Returns whether none waits. */
static bool admit(struct reactor *reactor)
{
	struct conn_tls_memory *memory = reactor->tls;

	while (!list_is_empty(&memory->waiting)) {
		struct conn *c = conn_of(memory->waiting.next);
		struct conn_tls *tls = tls_of(c);

		if (!limits_handshake_begin(reactor->limits, place_bytes(c)))
			break;
		tls->has_place = true;
		list_remove(&tls->node);
		list_append(&memory->ready, &tls->node);
	}
	if (!list_is_empty(&memory->ready))
		reactor_work(reactor);
	return list_is_empty(&memory->waiting);
}

/*
 * Takes the place of the client that has not continued for the longest time. Returns whether there
 * was one that is too slow. No input of it may be unanswered.
 */
static bool evict(struct reactor *reactor)
{
	struct list *asking = &reactor->tls->asking;
	struct conn *c;

	if (list_is_empty(asking))
		return false;
	c = conn_of(asking->next);
	if (uv_now(&reactor->loop) - tls_of(c)->asked_ms < PATIENCE_MS)
		return false;
	conn_tls_refuse(c, "TLS handshake too slow while others wait");
	conn_check_invariant(c);
	return true;
}

/* Gives places, if necessary those of slow clients. Returns whether none waits. */
static bool admit_waiting(struct reactor *reactor)
{
	bool is_done = admit(reactor);

	while (!is_done && evict(reactor))
		is_done = admit(reactor);
	return is_done;
}

/* Adds @n bytes to those that wait. Returns 0, -ENOBUFS or -ENOMEM. */
static int append_pending(struct conn *c, const uint8_t *data, size_t n)
{
	size_t length = c->pending ? c->pending->length : 0, capacity = KEPT_MIN;
	int r;

	while (capacity < length + n)
		capacity *= 2;
	if (!c->pending || capacity > c->pending->capacity) {
		r = conn_pending_reserve(c, capacity);
		if (r < 0)
			return r;
	}
	memcpy(c->pending->bytes + length, data, n);
	c->pending->length += (uint32_t)n;
	return 0;
}

/* Takes input of the handshake. If there is enough for a step, it waits for that. */
static void collect(struct conn *c, const uint8_t *data, size_t n)
{
	struct conn_tls_memory *memory = memory_of(c);
	struct conn_tls *tls = tls_of(c);
	enum tls_alert alert;
	const char *reason;
	size_t length = 0;
	int r = append_pending(c, data, n);

	if (r < 0) {
		conn_tls_refuse_memory(c, r);
		return;
	}
	if (!tls->has_place) {
		length = tls_first_record(c->pending->bytes, c->pending->length, &alert, &reason);
		if (length == 0)
			refuse_plainly(c, alert, reason);
		if (length == 0 || c->pending->length < length)
			return;
	}
	conn_move(c, CONN_WAITING);
	list_remove(&tls->node);
	list_append(tls->has_place ? &memory->ready : &memory->waiting, &tls->node);
	if (!admit(conn_reactor(c)))
		reactor_wake_in(conn_reactor(c), TICK_MS);
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

/* Makes a step of the handshake of @c with the input that has waited. */
static void work(struct conn *c)
{
	struct conn_tls_memory *memory = memory_of(c);
	struct conn_pending *input = c->pending;
	struct conn_tls *tls = tls_of(c);
	size_t used;

	c->pending = NULL; /* output may take its place */
	list_append(&memory->asking, &tls->node);
	tls->asked_ms = uv_now(&conn_reactor(c)->loop);
	if (!tls->handshake)
		tls->handshake = tls_handshake_create(conn_listener(c)->settings->tls_context);
	if (tls->handshake)
		conn_move(c, CONN_HANDSHAKE);
	else
		conn_tls_refuse_memory(c, -ENOMEM);
	if (c->state == CONN_HANDSHAKE) {
		used = take_handshake(c, input->bytes, input->length);
		conn_tls_take(c, input->bytes + used, input->length - used);
	}
	budget_give(&conn_reactor(c)->limits->budget, sizeof(*input) + input->capacity);
	free(input);
	conn_check_invariant(c);
}

bool conn_tls_work(struct reactor *reactor)
{
	struct list *ready = &reactor->tls->ready;
	struct conn *c;

	if (!list_is_empty(ready)) {
		c = conn_of(ready->next);
		list_remove(&tls_of(c)->node);
		work(c);
		if (!admit(reactor))
			reactor_wake_in(reactor, TICK_MS);
	}
	return !list_is_empty(ready);
}

/* ---- input ---- */

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
		collect(c, data, n);
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
	bool is_done = admit_waiting(reactor);

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

void conn_tls_end_output(struct conn *c)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	uint8_t out[TLS_ALERT_MAX];
	size_t n;

	if (!channel->suite || tls_of(c)->is_cut)
		return;
	n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, last_alert(c), out);
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
	conn_tls_cut_output(c); /* the next process sends it */
	return handover_put(handover, memory->sealed, (size_t)n);
}

int conn_tls_save_alert(struct conn *c, struct handover *handover)
{
	struct tls_channel *channel = &tls_of(c)->channel;
	uint8_t out[TLS_ALERT_MAX];
	size_t n = tls_channel_seal_alert(channel, &memory_of(c)->crypto, channel->alert, out);

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
	if (r < 0)
		conn_tls_cut_output(c); /* there may be output of the last process */
	if (r == 0 && tls_context_demands_certificate(conn_listener(c)->settings->tls_context)) {
		list_append(&conn_reactor(c)->tls->unchecked, &tls->node);
		reactor_wake_in(conn_reactor(c), TICK_MS);
	}
	return r;
}
