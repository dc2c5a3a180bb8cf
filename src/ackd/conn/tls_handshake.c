/*
 * The handshake of a connection with TLS: its input waits for a place and for its step. See tls.c
 * for the whole sequence.
 */

#include "ackd/conn/internal.h"
#include "ackd/conn/tls.h"
#include "base/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How long a handshake may wait for its client while others wait for its place. */
#define PATIENCE_MS 2000

/* Returns the memory that the handshake of @c takes. */
static size_t place_bytes(const struct conn *c)
{
	return tls_context_handshake_bytes(conn_listener(c)->settings->tls_context);
}

void conn_tls_end_handshake(struct conn *c, enum tls_result result)
{
	struct conn_tls *tls = tls_of(c);
	enum tls_version version = TLS_VERSION_NONE;

	list_remove(&tls->node);
	if (tls->begun_ns == 0)
		return;
	if (tls->handshake)
		version = tls_handshake_version(tls->handshake);
	listener_count_handshake(conn_listener(c), version, result, uv_hrtime() - tls->begun_ns);
	tls->begun_ns = 0;
	tls_handshake_destroy(tls->handshake);
	tls->handshake = NULL;
	if (tls->has_place)
		limits_handshake_end(conn_reactor(c)->limits, place_bytes(c));
	tls->has_place = false;
}

static struct conn *conn_of(struct list *node)
{
	return (struct conn *)(void *)list_entry(node, struct conn_tls, node) - 1;
}

void conn_tls_begin(struct conn *c)
{
	if (c->draining) { /* its PROXY header was late */
		conn_close(c, CONN_DRAIN);
		return;
	}
	tls_of(c)->begun_ns = uv_hrtime();
	conn_move(c, CONN_HANDSHAKE);
}

static void refuse(struct conn *c, enum refusal refusal, enum tls_result result, const char *reason)
{
	listener_count_refusal(conn_listener(c), &c->address, refusal, reason);
	conn_tls_end_handshake(c, result);
	conn_pending_free(c);
	conn_finish(c, CONN_REFUSED);
}

void conn_tls_refuse(struct conn *c, enum tls_result result, const char *reason)
{
	refuse(c, REFUSAL_TLS, result, reason);
}

void conn_tls_refuse_memory(struct conn *c, int error)
{
	refuse(c, REFUSAL_MEMORY, TLS_RESULT_SERVER_ERROR,
	       conn_reason_name(error == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY));
}

/* Refuses @c, which has no keys yet, with an alert. */
static void refuse_plainly(struct conn *c, const struct tls_rejection *rejection)
{
	const uint8_t record[] = {21, 3, 3, 0, 2, 2, (uint8_t)rejection->alert};

	(void)!send(c->fd, record, sizeof(record), MSG_NOSIGNAL);
	conn_tls_refuse(c, rejection->result, rejection->reason);
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
	conn_tls_refuse(c, TLS_RESULT_TIMEOUT, "TLS handshake too slow while others wait");
	conn_check_invariant(c);
	return true;
}

bool conn_tls_admit_waiting(struct reactor *reactor)
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

void conn_tls_collect(struct conn *c, const uint8_t *data, size_t n)
{
	struct conn_tls_memory *memory = conn_reactor(c)->tls;
	struct conn_tls *tls = tls_of(c);
	struct tls_rejection rejection;
	size_t length = 0;
	int r = append_pending(c, data, n);

	if (r < 0) {
		conn_tls_refuse_memory(c, r);
		return;
	}
	if (!tls->has_place) {
		length = tls_first_record(c->pending->bytes, c->pending->length, &rejection);
		if (length == 0)
			refuse_plainly(c, &rejection);
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
	sock_acknowledge(c->fd);
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
	r = conn_tls_keep_certificates(c, certificates, n);
	return r < 0 ? r : name_client(c);
}

/* Replaces the handshake by the record layer. */
static void establish(struct conn *c)
{
	struct conn_tls *tls = tls_of(c);
	struct tls_crypto *crypto = &conn_reactor(c)->tls->crypto;
	struct tls_state state = {0};
	int kept;
	int r = tls_handshake_finish(tls->handshake, crypto, &state);

	acknowledge(c);
	if (r == 0)
		r = tls_channel_init(&tls->channel, crypto, &state);
	tls->suite = tls->channel.suite;
	tls_state_wipe(&state);
	if (r < 0) {
		conn_tls_refuse(c, TLS_RESULT_SERVER_ERROR, "libcrypto failed");
		return;
	}
	kept = keep_client(c);
	conn_tls_end_handshake(c, TLS_RESULT_SUCCESS);
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
		conn_tls_refuse(c, tls_handshake_result(handshake), reason);
	} else if (sent < 0) {
		conn_fail(c, sent);
	} else if (sent == 0 && progress == TLS_ESTABLISHED) {
		establish(c);
	} else if (sent > 0 && used < n) {
		conn_tls_refuse(c, TLS_RESULT_PROTOCOL_ERROR,
				"data before the end of the TLS handshake");
	} else if (sent > 0) {
		tls_of(c)->is_established = progress == TLS_ESTABLISHED;
		conn_move(c, CONN_FLIGHT);
	}
	return used;
}

/* Makes a step of the handshake of @c with the input that has waited. */
static void work(struct conn *c)
{
	struct conn_tls_memory *memory = conn_reactor(c)->tls;
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
