/*
 * tls_record: two ends of a connection, under a program that the input contains. The client sends
 * data, padding, KeyUpdates, alerts and anything else in authentic records. The network cuts,
 * changes, repeats and inserts bytes. The server is saved and restored, and replies. The server
 * must receive exactly the data that were sent, and after the first damage no byte more.
 */

#include "../unit/tls_fixture.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define WIRE_MAX ((size_t)1 << 17)

enum operation {
	SEND,
	SEND_PADDED,
	SEND_EMPTY,
	SEND_MESSAGE, /* a KeyUpdate, or the ClientHello of a renegotiation */
	SEND_WARNING,
	SEND_ANYTHING,
	CLOSE,
	DELIVER,
	DELIVER_ALL,
	FLIP,
	REMOVE,
	REPEAT,
	INSERT,
	RESTORE,
	REPLY,
	OPERATIONS,
};

struct run {
	struct tls_crypto *crypto;
	struct tls_receiver client;
	struct tls_receiver server;
	size_t n_wire;	  /* bytes sent, not delivered */
	size_t n_sent;	  /* data of the client */
	size_t n_replied; /* data of the server */
	size_t n_checked; /* data that the server received, and that were compared */
	unsigned idle;	  /* records without data in a row */
	bool is_damaged;  /* the network has changed something */
	bool is_wild;	  /* the client has sent anything, or too many records without data */
	bool has_closed;
	const uint8_t *p; /* the rest of the program */
	size_t n;
	uint8_t wire[WIRE_MAX + 2 * TLS_RECORD_MAX];
	uint8_t sent[WIRE_MAX];
};

static uint8_t next(struct run *run)
{
	if (run->n == 0)
		return 0;
	run->n--;
	return *run->p++;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 255);
}

/* ---- the client ---- */

static void forge(struct run *run, uint8_t type, const void *content, size_t n, size_t padding)
{
	run->n_wire += tls_fixture_forge(&run->client.channel, type, content, n, padding,
					 run->wire + run->n_wire);
}

static void send(struct run *run, size_t n, size_t padding)
{
	uint8_t *data = run->sent + run->n_sent;

	for (size_t i = 0; i < n; i++)
		data[i] = pattern(run->n_sent + i);
	forge(run, 23, data, n, padding);
	run->n_sent += n;
	run->idle = n > 0 ? 0 : run->idle + 1;
}

static void send_message(struct run *run, uint8_t request)
{
	const uint8_t key_update[] = {24, 0, 0, 1, request & 1}, hello[] = {1, 0, 0, 1, request};
	struct tls_channel *client = &run->client.channel;

	forge(run, 22, client->suite->is_13 ? key_update : hello, 5, 0);
	if (client->suite->is_13)
		tls_keys_update(&client->write, run->crypto, client->suite);
	run->idle++;
}

static void send_anything(struct run *run)
{
	uint8_t type = next(run), content[16];
	size_t n = next(run) % sizeof(content);

	for (size_t i = 0; i < n; i++)
		content[i] = next(run);
	/* A type of 0 would be padding, and the byte before it the type. */
	forge(run, type == 23 || type == 0 ? 22 : type, content, n, 0);
	run->is_wild = true;
}

/* ---- the network ---- */

/* The server has received what was sent: all of it, unless there is a reason to have stopped. */
static void check_server(struct run *run)
{
	const struct tls_receiver *server = &run->server;

	assert(server->n_data <= run->n_sent);
	for (; run->n_checked < server->n_data; run->n_checked++)
		assert(server->data[run->n_checked] == pattern(run->n_checked));
	if (run->is_damaged || run->is_wild)
		return;
	assert(server->channel.status == TLS_OPEN || run->has_closed);
	assert(server->channel.status < TLS_PEER_ERROR);
}

static void deliver(struct run *run, size_t n)
{
	if (n > run->n_wire)
		n = run->n_wire;
	run->is_wild |= run->idle > TLS_IDLE_RECORDS_MAX;
	tls_receiver_take(&run->server, run->crypto, run->wire, n);
	run->n_wire -= n;
	memmove(run->wire, run->wire + n, run->n_wire);
	check_server(run);
}

/* Changes the bytes under way at a place that the program chooses. */
static void damage(struct run *run, enum operation operation)
{
	size_t at = run->n_wire > 0 ? (size_t)next(run) * 7 % run->n_wire : 0;
	size_t n = 1 + next(run) % 64, left = run->n_wire - at;

	if (n > left)
		n = left;
	if (n == 0 && operation != INSERT)
		return;
	run->is_damaged = true;
	switch (operation) {
	case FLIP:
		run->wire[at] ^= (uint8_t)(1 << n % 8);
		break;
	case REMOVE:
		memmove(run->wire + at, run->wire + at + n, left - n);
		run->n_wire -= n;
		break;
	case REPEAT:
		memmove(run->wire + at + n, run->wire + at, left);
		run->n_wire += n;
		break;
	default:
		memmove(run->wire + at + 1, run->wire + at, left);
		run->wire[at] = next(run);
		run->n_wire++;
		break;
	}
}

/* ---- the server ---- */

static void restore(struct run *run)
{
	struct tls_channel *server = &run->server.channel;
	struct tls_state state;

	if (server->status > TLS_ENDED)
		return;
	tls_channel_save(server, &state);
	tls_channel_finish(server, run->crypto);
	if (tls_channel_init(server, run->crypto, &state) != 0)
		abort();
}

static void reply(struct run *run, size_t n)
{
	uint8_t *data = malloc(n + 1), *out = malloc(TLS_SEALED_MAX(n));
	struct iovec spans[2] = {{data, n / 2}, {data + n / 2, n - n / 2}};
	ssize_t sealed;

	if (!data || !out)
		abort();
	for (size_t i = 0; i < n; i++)
		data[i] = pattern(run->n_replied + i);
	sealed = tls_channel_seal(&run->server.channel, run->crypto, spans, 2, out);
	if (run->server.channel.status == TLS_PEER_ERROR) {
		assert(sealed < 0);
	} else if (sealed >= 0) {
		run->n_replied += n;
		assert((size_t)sealed <= TLS_SEALED_MAX(n));
		assert(tls_receiver_take(&run->client, run->crypto, out, (size_t)sealed) ==
		       TLS_OPEN);
		assert(run->client.n_data == run->n_replied);
		assert(run->client.n_kept == 0);
		run->client.channel.idle_records = 0;
	} else {
		assert(!run->server.channel.suite->is_13);
	}
	free(data);
	free(out);
}

static void check_replies(const struct run *run)
{
	for (size_t i = 0; i < run->client.n_data; i++)
		assert(run->client.data[i] == pattern(i));
}

/* ---- the program ---- */

/* Makes an operation of the client. Nothing follows its close_notify. */
static void send_operation(struct run *run, enum operation operation, uint8_t argument)
{
	size_t n = (size_t)argument * argument / 4;

	if (run->has_closed || run->n_wire > WIRE_MAX / 2 || run->n_sent + n + 8 > WIRE_MAX)
		return;
	switch (operation) {
	case SEND:
		send(run, n, 0);
		break;
	case SEND_PADDED:
		send(run, argument, next(run));
		break;
	case SEND_EMPTY:
		send(run, 0, argument);
		break;
	case SEND_MESSAGE:
		send_message(run, argument);
		break;
	case SEND_WARNING:
		forge(run, 21, "\1\x5a", 2, argument);
		run->idle++;
		break;
	case SEND_ANYTHING:
		send_anything(run);
		break;
	default:
		forge(run, 21, "\1", 2, 0);
		run->has_closed = true;
		break;
	}
	run->is_wild |= run->idle > TLS_IDLE_RECORDS_MAX;
}

static void operate(struct run *run)
{
	enum operation operation = next(run) % OPERATIONS;
	uint8_t argument;

	switch (operation) {
	case DELIVER:
		deliver(run, next(run));
		break;
	case DELIVER_ALL:
		deliver(run, run->n_wire);
		break;
	case FLIP:
	case REMOVE:
	case REPEAT:
	case INSERT:
		damage(run, operation);
		break;
	case RESTORE:
		restore(run);
		break;
	case REPLY:
		argument = next(run);
		reply(run, (size_t)argument * argument);
		break;
	default:
		send_operation(run, operation, next(run));
		break;
	}
}

/* The whole input is what an attacker without keys sends, in parts of @size bytes. */
static void attack(struct run *run, size_t size)
{
	while (run->n > 0) {
		size_t n = run->n < size ? run->n : size;

		tls_receiver_take(&run->server, run->crypto, run->p, n);
		run->p += n;
		run->n -= n;
	}
	run->is_damaged = true;
	assert(run->server.n_data == 0 && run->server.channel.status != TLS_ENDED);
	assert(run->server.channel.status != TLS_PEER_ERROR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	static struct tls_crypto crypto;
	struct tls_state state, peer;
	uint8_t choice;

	if (size < 2 || size > 4096)
		return 0;
	if (!crypto.expand && tls_crypto_init(&crypto) != 0)
		abort();
	memset(&run, 0, offsetof(struct run, wire));
	run.crypto = &crypto;
	run.p = data;
	run.n = size;
	choice = next(&run);
	crypto.records_max = 32 + next(&run);
	state = tls_fixture_state(tls_suites[choice % TLS_SUITES], choice);
	peer = tls_fixture_peer(&state);
	run.server.channel = tls_fixture_channel(&crypto, &state);
	run.client.channel = tls_fixture_channel(&crypto, &peer);
	if (choice / TLS_SUITES % 4 == 0)
		attack(&run, 1 + crypto.records_max % 64);
	while (run.n > 0)
		operate(&run);
	deliver(&run, run.n_wire);
	if (!run.is_damaged && !run.is_wild)
		assert(run.server.n_data == run.n_sent);
	check_replies(&run);
	tls_receiver_reset(&run.server);
	tls_receiver_reset(&run.client);
	tls_channel_finish(&run.server.channel, &crypto);
	tls_channel_finish(&run.client.channel, &crypto);
	return 0;
}
