/*
 * Connections with TLS: the handshake over small buffers, backpressure, pieces of records, errors
 * amid output, timeouts and memory. test_tls.py has more clients.
 */

#include "conn_tls_fixture.h"

#include "core/wire/tls_record.h"

#include <openssl/err.h>
#include <signal.h>
#include <stddef.h>

/* Checks that all handshakes so far, @n of them, ended in this way. */
static void check_handshakes(struct fixture *f, enum tls_version version, enum tls_result result,
			     unsigned n)
{
	uint64_t all = 0, durations = 0;

	for (unsigned i = 0; i < TLS_VERSION_COUNT * TLS_RESULT_COUNT; i++)
		all += count_of(f, COUNTER_HANDSHAKES + i);
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		durations += count_of(f, COUNTER_HANDSHAKE_BUCKETS + i);
	assert_int_equal(all, n);
	assert_int_equal(count_of(f, stats_handshake(version, result)), n);
	assert_int_equal(durations, result == TLS_RESULT_SUCCESS ? n : 0);
}

static void test_long_flight(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++) {
		struct fixture f;
		struct client client;
		bool has_waited = false;

		begin_tls(&f, "long.pem", "reply = \"echo\";");
		client = client_of(connect_small(&f));
		if (only_12)
			SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
		for (int i = 0; i < STEPS_MAX && !SSL_is_init_finished(client.ssl); i++) {
			SSL_do_handshake(client.ssl);
			step(&f);
			has_waited |= queue_length(&f, QUEUE_HANDSHAKE) > 0 &&
				      last_conn(&f, QUEUE_HANDSHAKE)->state == CONN_FLIGHT;
		}
		assert_true(has_waited);
		check_echo(&f, &client);
		check_counts(&f, 5);
		assert_int_equal(count_of(&f, COUNTER_RECEIVED_BYTES), 5);
		assert_int_equal(count_of(&f, COUNTER_SENT_BYTES), 5);
		check_handshakes(&f, only_12 ? TLS_VERSION_1_2 : TLS_VERSION_1_3,
				 TLS_RESULT_SUCCESS, 1);
		client_close(&client);
		end(&f);
	}
}

/* A client that does not read its flight is refused in time. */
static void test_handshake_timeouts(void **state)
{
	for (int has_begun = 0; has_begun < 2; has_begun++) {
		struct fixture f;
		struct client client;

		begin_tls(&f, "long.pem", "");
		client = client_of(connect_small(&f));
		if (has_begun)
			SSL_do_handshake(client.ssl);
		step(&f);
		advance(&f, HANDSHAKE_MS);
		assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 1);
		advance(&f, HANDSHAKE_MS / 32);
		assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 0);
		assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 1);
		check_handshakes(&f, has_begun ? TLS_VERSION_1_3 : TLS_VERSION_NONE,
				 TLS_RESULT_TIMEOUT, 1);
		client_close(&client);
		end(&f);
		assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 0);
		assert_int_equal(count_of(&f, COUNTER_CLOSED), 0);
	}
}

/* Sends a ClientHello, and lets the server take its step. */
static void hello(struct fixture *f, struct client *client)
{
	SSL_do_handshake(client->ssl);
	step(f);
	step(f);
}

/* A client beyond limits.max_handshakes waits until another has ended its handshake. */
static void test_wait_for_a_place(void **state)
{
	for (int is_first_gone = 0; is_first_gone < 2; is_first_gone++) {
		struct fixture f;
		struct client first, second, third;

		begin_tls(&f, "short.pem", "reply = \"echo\"; limits = { max_handshakes = 1; };");
		first = client_of(connect_client(&f));
		second = client_of(connect_client(&f));
		third = client_of(connect_client(&f));
		hello(&f, &first);
		hello(&f, &second);
		hello(&f, &third);
		advance(&f, 1000);
		assert_int_equal(count_in(&f, CONN_WAITING), 2);
		assert_int_equal(SSL_do_handshake(second.ssl), -1);
		if (is_first_gone)
			client_close(&first);
		else
			handshake(&f, &first);
		step(&f);
		advance(&f, 100);
		step(&f);
		assert_int_equal(count_in(&f, CONN_WAITING), 1);
		handshake(&f, &second);
		advance(&f, 100);
		handshake(&f, &third);
		check_echo(&f, &third);
		check_echo(&f, &second);
		if (!is_first_gone)
			client_close(&first);
		client_close(&second);
		client_close(&third);
		end(&f);
	}
}

/* The time in which a client waits is part of its time for the handshake. */
static void test_timeout_of_a_wait(void **state)
{
	for (int has_memory = 0; has_memory < 2; has_memory++) {
		struct fixture f;
		struct client client;

		begin_tls(&f, "short.pem", "");
		take_memory(&f, 50000);
		client = client_of(connect_client(&f));
		hello(&f, &client);
		advance(&f, HANDSHAKE_MS - 1000);
		assert_int_equal(count_in(&f, CONN_WAITING), 1);
		if (has_memory)
			give_memory(&f);
		advance(&f, 500);
		step(&f);
		assert_int_equal(count_in(&f, CONN_WAITING), !has_memory);
		advance(&f, 500);
		assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 1);
		advance(&f, HANDSHAKE_MS / 32);
		assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 0);
		assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 1);
		if (!has_memory)
			give_memory(&f);
		client_close(&client);
		end(&f);
	}
}

/* Clients whose first record is incomplete take no place. */
static void test_silent_clients(void **state)
{
	struct fixture f;
	struct client client;
	int silent[50];

	begin_tls(&f, "short.pem", "reply = \"echo\"; limits = { max_handshakes = 1; };");
	for (int i = 0; i < 50; i++) {
		silent[i] = connect_client(&f);
		if (i % 2)
			say(silent[i], "\x16\3\1");
	}
	step(&f);
	client = served_client(&f, connect_client(&f));
	check_echo(&f, &client);
	assert_int_equal(count_in(&f, CONN_HANDSHAKE), 50);
	assert_true(budget_used(&f.limits.budget) < 25 * 600);
	for (int i = 0; i < 50; i++)
		close(silent[i]);
	client_close(&client);
	end(&f);
}

/* While others wait, a client that does not continue loses its place, but not before its time. */
static void test_slow_clients(void **state)
{
	struct fixture f;
	struct client slow, other;

	begin_tls(&f, "short.pem", "reply = \"echo\"; limits = { max_handshakes = 1; };");
	slow = client_of(connect_client(&f));
	hello(&f, &slow);
	advance(&f, 5000); /* nobody waits */
	other = client_of(connect_client(&f));
	assert_int_equal(count_in(&f, CONN_HANDSHAKE), 2);
	client_close(&slow);
	step(&f);
	slow = client_of(connect_client(&f));
	hello(&f, &slow);
	hello(&f, &other);
	advance(&f, 1999);
	assert_int_equal(count_in(&f, CONN_WAITING), 1);
	advance(&f, 11); /* the thread looks every 10 ms */
	step(&f);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 2);
	assert_int_equal(count_in(&f, CONN_WAITING), 0);
	handshake(&f, &other);
	check_echo(&f, &other);
	client_close(&slow);
	client_close(&other);
	end(&f);
}

/* Many ClientHellos in one turn delay another connection by one of them at most. */
static void test_one_step_in_an_iteration(void **state)
{
	struct fixture f;
	struct client served, clients[10];
	uint8_t byte;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	served = served_client(&f, connect_client(&f));
	for (int i = 0; i < 10; i++) {
		clients[i] = client_of(connect_client(&f));
		SSL_do_handshake(clients[i].ssl);
	}
	say_tls(&served, "x", 1);
	for (int k = 0; k <= 10; k++) {
		int n = 0;

		step(&f);
		for (int i = 0; i < 10; i++)
			n += recv(clients[i].fd, &byte, 1, MSG_PEEK) == 1;
		assert_int_equal(n, k);
		if (k == 0)
			assert_int_equal(SSL_read(served.ssl, &byte, 1), 1);
	}
	for (int i = 0; i < 10; i++)
		client_close(&clients[i]);
	client_close(&served);
	end(&f);
}

/* Input that was read with the PROXY header waits, too. */
static void test_wait_behind_a_proxy(void **state)
{
	static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
	struct client client, first;
	struct fixture f;
	size_t place;

	begin_tls(&f, "short.pem",
		  "reply = \"echo\"; limits = { max_handshakes = 1; }; proxies = [\"unix\"];");
	first = client_of(connect_client(&f));
	say(first.fd, header);
	hello(&f, &first);
	place = budget_used(&f.limits.budget);
	assert_true(place > 0);
	client = client_of(connect_client(&f));
	say(client.fd, header);
	hello(&f, &client);
	assert_int_equal(count_in(&f, CONN_WAITING), 1);
	assert_true(budget_used(&f.limits.budget) > place);
	client_close(&first);
	step(&f);
	advance(&f, 100);
	handshake(&f, &client);
	assert_int_equal(budget_used(&f.limits.budget), 0);
	check_echo(&f, &client);
	client_close(&client);
	end(&f);
}

/* The rest of a PROXY header that arrives while draining ends the connection. */
static void test_draining_in_a_proxy_header(void **state)
{
	static const char header[] = "PROXY UNKNOWN\r\n";
	struct fixture f;
	int fd;

	begin_tls(&f, "short.pem", "proxies = [\"unix\"];");
	fd = connect_client(&f);
	say(fd, "PROXY");
	step(&f);
	say(fd, header + 5);
	reactor_for_each(&f.reactor, conn_drain);
	expect_end(&f, fd);
	close(fd);
	end(&f);
}

/* Replies that the socket does not take wait, and arrive whole and in order. */
static void test_backpressure(void **state)
{
	static const char text[] = "0123456789abcdef";
	struct fixture f;
	struct client client;
	size_t sent;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = served_client(&f, connect_small(&f));
	sent = fill_socket(&f, &client, text, 200000);
	assert_true(sent > 16384);
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
	receive(&f, &client, text, sent);
	check_counts(&f, sent);
	assert_int_equal(count_of(&f, COUNTER_RECEIVED_BYTES), sent);
	assert_int_equal(count_of(&f, COUNTER_SENT_BYTES), sent);
	client_close(&client);
	end(&f);
}

/* Half a record waits, and counts towards the budget. */
static void test_half_a_record(void **state)
{
	struct fixture f;
	struct client client;
	BIO *out = BIO_new(BIO_s_mem());
	uint8_t *p;
	long n;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = served_client(&f, connect_client(&f));
	SSL_set0_wbio(client.ssl, out);
	say_tls(&client, "0123456789", 10);
	n = BIO_get_mem_data(out, &p);
	for (long i = 0; i < n; i++) {
		send_bytes(&client, p + i, 1);
		step(&f);
		assert_int_equal(budget_used(&f.limits.budget) > 0, i + 1 < n);
	}
	receive(&f, &client, "0123456789", 10);
	/* the connection ends amid another record */
	send_bytes(&client, p, 20);
	step(&f);
	assert_true(budget_used(&f.limits.budget) > 0);
	client_close(&client);
	end(&f);
}

/* Expects that @n bytes of a message, all that have arrived, are answered by whole records. */
static void check_whole(struct fixture *f, struct client *client, const char *text, size_t n)
{
	step(f);
	check_counts(f, n);
	assert_int_equal(budget_used(&f->limits.budget), 0);
	receive(f, client, text, SESSION_READ_MAX);
}

/* A read ends with a record if the peer fills its records, wherever the first read has ended. */
static void test_reads_of_whole_records(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	static const char text[] = "0123456789abcdef";
	static char data[2 * SESSION_READ_MAX];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = text[i % 16];
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		BIO *out = BIO_new(BIO_s_mem());
		struct fixture f;
		struct client client;
		uint8_t *p;
		long n;

		begin_tls(&f, "short.pem", "reply = \"echo\";");
		client = client_of(connect_client(&f));
		SSL_set_max_proto_version(client.ssl, versions[i]);
		handshake(&f, &client);
		SSL_set0_wbio(client.ssl, out);
		say_tls(&client, data, sizeof(data));
		n = BIO_get_mem_data(out, &p);
		send_bytes(&client, p, 1000);
		step(&f);
		assert_true(budget_used(&f.limits.budget) > 0);
		send_bytes(&client, p + 1000, (size_t)n / 2);
		check_whole(&f, &client, text, SESSION_READ_MAX);
		step(&f);
		assert_true(budget_used(&f.limits.budget) > 0);
		p += 1000 + n / 2;
		send_bytes(&client, p, (size_t)n / 2 - 1000);
		check_whole(&f, &client, text, 2 * SESSION_READ_MAX);
		client_close(&client);
		end(&f);
	}
}

static void test_draining(void **state)
{
	struct fixture f;
	struct client client, late;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = client_of(connect_client(&f));
	late = client_of(connect_client(&f));
	handshake(&f, &client);
	say_tls(&client, "last", 4);
	reactor_for_each(&f.reactor, conn_drain);
	step(&f);
	receive(&f, &client, "last", 4);
	expect_close_notify(&client);
	client_close(&client);
	client_close(&late);
	end(&f);
}

/* The last input of a draining connection may have no data: half a record, or a KeyUpdate. */
static void test_draining_without_data(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct fixture f;
		struct client client;

		begin_tls(&f, "short.pem", "reply = \"echo\";");
		client = served_client(&f, connect_client(&f));
		if (i == 0) {
			send_bytes(&client, "\x17\x03\x03", 3);
		} else {
			SSL_key_update(client.ssl, i == 1 ? SSL_KEY_UPDATE_NOT_REQUESTED
							  : SSL_KEY_UPDATE_REQUESTED);
			SSL_do_handshake(client.ssl);
		}
		reactor_for_each(&f.reactor, conn_drain);
		step(&f);
		expect_close_notify(&client);
		client_close(&client);
		end(&f);
	}
}

/* ---- errors ---- */

/* The budget has no room for the beginning of a record. */
static void test_no_memory_for_half_a_record(void **state)
{
	static const uint8_t begin_of_record[] = {23, 3, 3, 0x40, 0, 1}, more[600] = {0};
	struct fixture f;
	struct client client;

	begin_tls(&f, "short.pem", "");
	client = served_client(&f, connect_client(&f));
	send_bytes(&client, begin_of_record, 6);
	step(&f);
	/* a long record was announced, but the memory grows with what arrives */
	assert_int_equal(budget_used(&f.limits.budget), 512);
	take_memory(&f, 100);
	send_bytes(&client, more, sizeof(more));
	expect_alert(&f, &client, SSL_R_TLSV1_ALERT_INTERNAL_ERROR);
	give_memory(&f);
	client_close(&client);
	end(&f);
}

enum attack { REPLAYED, SWAPPED, DROPPED, CUT, CHANGED, TYPE, TOO_LONG, FLOOD, ATTACKS };

/* Records of the client, of which there are two of @length bytes, are attacked. */
static void attack(int only_12, enum attack attack)
{
	static const int reasons[] = {
		[FLOOD] = SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE,
		[TYPE] = SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE,
		[TOO_LONG] = SSL_R_TLSV1_ALERT_RECORD_OVERFLOW,
		[ATTACKS] = 0,
	};
	BIO *out = BIO_new(BIO_s_mem());
	struct client client;
	struct fixture f;
	uint8_t *p;
	size_t n;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = served_client_12(&f, connect_client(&f), only_12);
	SSL_set0_wbio(client.ssl, out);
	for (int i = 0; i < 2; i++)
		say_tls(&client, i ? "2" : "1", 1);
	for (int i = 0; attack == FLOOD && i < 40; i++) {
		SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(client.ssl);
	}
	n = (size_t)BIO_get_mem_data(out, &p);
	if (attack == FLOOD) {
		send_bytes(&client, p, n);
		receive(&f, &client, "12", 2);
	} else {
		n /= 2;
		if (attack == CHANGED)
			p[n - 1] ^= 1;
		if (attack == TYPE)
			p[0] = 24;
		if (attack == TOO_LONG)
			p[3] = 0x48;
		if (attack == CUT) {
			p[4]--;
			n--;
		}
		if (attack == REPLAYED)
			send_bytes(&client, p, n);
		send_bytes(&client, attack == SWAPPED || attack == DROPPED ? p + n : p, n);
		if (attack == REPLAYED)
			receive(&f, &client, "1", 1);
	}
	expect_alert(&f, &client,
		     reasons[attack] ? reasons[attack] : SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	client_close(&client);
	end(&f);
}

static void test_attacks(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++)
		for (enum attack i = 0; i < ATTACKS; i++)
			if (i != FLOOD || !only_12)
				attack(only_12, i);
}

/* A client that wants to renegotiate gets the alert no_renegotiation. */
static void test_renegotiation(void **state)
{
	struct client client;
	struct fixture f;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = served_client_12(&f, connect_client(&f), true);
	check_echo(&f, &client);
	assert_int_equal(SSL_renegotiate(client.ssl), 1);
	SSL_do_handshake(client.ssl);
	step(&f);
	assert_int_equal(SSL_do_handshake(client.ssl), -1);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
	client_close(&client);
	end(&f);
}

/* Records are not longer than the client permits. */
static void test_max_fragment_length(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++) {
		struct client client;
		struct fixture f;
		static char data[3000];

		memset(data, 'x', sizeof(data));
		begin_tls(&f, "short.pem", "reply = \"echo\";");
		client = client_of(connect_client(&f));
		SSL_set_tlsext_max_fragment_length(client.ssl, TLSEXT_max_fragment_length_512);
		if (only_12)
			SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
		handshake(&f, &client);
		for (int i = 0; i < 2; i++) {
			say_tls(&client, data, sizeof(data));
			step(&f);
			receive(&f, &client, "x", sizeof(data));
			change_process(&f, "short.pem", "reply = \"echo\";");
		}
		client_close(&client);
		end(&f);
	}
}

/* ---- the limit of records in TLS 1.2 ---- */

/* All that was read is answered, also in many records, then comes close_notify. */
static void test_end_at_the_limit(void **state)
{
	static char lines[20000];
	struct client client;
	struct fixture f;
	int n = 0;

	records_max = 400;
	memset(lines, '\n', sizeof(lines));
	begin_tls(&f, "short.pem", "reply = \"echo\"; framing = \"line\";");
	client = served_client_12(&f, connect_client(&f), true);
	while (n < 199) {
		say_tls(&client, "\n", 1);
		step(&f);
		receive(&f, &client, "\n", 1);
		n++;
	}
	/* the handshake took a record: half of them are used */
	say_tls(&client, lines, sizeof(lines));
	step(&f);
	receive(&f, &client, "\n", sizeof(lines));
	expect_close_notify(&client);
	client_close(&client);
	end(&f);
	records_max = TLS_RECORDS_MAX;
}

/* If the records do not suffice for a reply, the end is an error. */
static void test_lost_reply_at_the_limit(void **state)
{
	static char data[16384], got[16384];
	struct client client;
	struct fixture f;
	size_t sum = 0;
	int n;

	records_max = 32;
	memset(data, '\x80', sizeof(data));
	begin_tls(&f, "short.pem",
		  "reply = \"echo\"; framing = \"line\"; encoding = { charset = \"windows-1252\"; "
		  "reply_charset = \"ascii\"; reply_errors = \"backslashreplace\"; }; "
		  "limits = { max_message = 500000; };");
	client = served_client_12(&f, connect_client(&f), true);
	for (int i = 0; i < 8; i++) {
		say_tls(&client, data, sizeof(data));
		step(&f);
	}
	say_tls(&client, "\n", 1);
	for (int i = 0; i < STEPS_MAX && f.reactor.connections > 0; i++) {
		step(&f);
		while ((n = SSL_read(client.ssl, got, sizeof(got))) > 0)
			sum += (size_t)n;
		if (SSL_get_error(client.ssl, n) != SSL_ERROR_WANT_READ)
			break;
	}
	assert_true(sum > 0 && sum < 8 * sizeof(data) * 6);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_INTERNAL_ERROR);
	client_close(&client);
	end(&f);
	records_max = TLS_RECORDS_MAX;
}

/* ---- the memory of a handshake ---- */

static struct {
	bool is_on;
	size_t used, peak;
} memory;

/* Before each block of OpenSSL's. */
union block {
	struct {
		size_t n; /* if allocated by the server, otherwise 0 */
		size_t capacity;
	};
	max_align_t alignment;
};

static void *get(size_t n, const char *file, int line)
{
	union block *block = malloc(sizeof(*block) + n);

	if (!block)
		return NULL;
	block->capacity = n;
	block->n = memory.is_on ? n + 16 : 0; /* and what malloc() itself takes */
	memory.used += block->n;
	if (memory.used > memory.peak)
		memory.peak = memory.used;
	return block + 1;
}

static void put(void *p, const char *file, int line)
{
	union block *block = p ? (union block *)p - 1 : NULL;

	if (!block)
		return;
	memory.used -= block->n;
	free(block);
}

static void *get_again(void *p, size_t n, const char *file, int line)
{
	const union block *block = p ? (union block *)p - 1 : NULL;
	void *new = get(n, file, line);

	if (block && new) {
		memcpy(new, p, block->capacity < n ? block->capacity : n);
		put(p, file, line);
	}
	return new;
}

/*
 * Makes a handshake of a client with @n_chain certificates besides its own, or with none if -1.
 * Returns whether it took less memory than was charged.
 */
static bool make_handshake(struct fixture *f, int version, int n_chain, const char *path)
{
	struct client client = client_of(connect_client(f));
	size_t charged = 0;

	SSL_set_max_proto_version(client.ssl, version);
	if (n_chain >= 0) {
		assert_int_equal(SSL_use_certificate_file(client.ssl, path, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_use_PrivateKey_file(client.ssl, path, SSL_FILETYPE_PEM), 1);
	}
	for (int k = 0; k < n_chain; k++)
		SSL_add1_chain_cert(client.ssl, SSL_get_certificate(client.ssl));
	memory.used = memory.peak = 0;
	for (int k = 0; k < 10; k++) {
		SSL_do_handshake(client.ssl);
		memory.is_on = true;
		step(f);
		memory.is_on = false;
		if (budget_used(&f->limits.budget) > charged)
			charged = budget_used(&f->limits.budget);
	}
	ERR_clear_error();
	client_close(&client);
	assert_true(memory.peak > 50000);
	return memory.peak < charged;
}

/*
 * A handshake never takes more than is charged for it. The first one also allocates what belongs to
 * the thread.
 */
static void test_memory_of_handshakes(void **state)
{
	static const int certificates[] = {-1, 0, 3, 30};
	char path[100], group[200];

	in_directory(path, "short.pem");
	for (unsigned i = 0; i < 2 * sizeof(certificates) / sizeof(*certificates); i++) {
		int n = certificates[i / 2], version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
		struct fixture f;

		snprintf(group, sizeof(group), "%s%s%s", n < 0 ? "" : "client_ca = \"",
			 n < 0 ? "" : path, n < 0 ? "" : "\";");
		begin_tls_group(&f, group);
		make_handshake(&f, version, n, path);
		assert_true(make_handshake(&f, version, n, path));
		end(&f);
		assert_int_equal(budget_used(&f.limits.budget), 0);
	}
}

/* ---- counters of handshakes ---- */

/* The end of the daemon counts once for each handshake, also for those that wait. */
static void test_draining_in_a_handshake(void **state)
{
	struct fixture f;
	int first, second;

	begin_tls(&f, "short.pem", "limits = { max_handshakes = 1; };");
	first = connect_client(&f);
	second = connect_client(&f);
	reactor_for_each(&f.reactor, conn_drain);
	expect_end(&f, first);
	expect_end(&f, second);
	check_handshakes(&f, TLS_VERSION_NONE, TLS_RESULT_SHUTDOWN, 2);
	close(first);
	close(second);
	end(&f);
}

/* Only a lack of memory is refused as one. */
static void test_libcrypto_without_tls(void **state)
{
	struct fixture f;
	int fd;

	begin_tls(&f, "short.pem", "");
	crypto_error = -ENOTSUP;
	fd = connect_client(&f);
	expect_end(&f, fd);
	close(fd);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 1);
	crypto_error = -ENOMEM;
	fd = connect_client(&f);
	expect_end(&f, fd);
	close(fd);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_MEMORY), 1);
	crypto_error = 0;
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_flight),
		cmocka_unit_test(test_handshake_timeouts),
		cmocka_unit_test(test_wait_for_a_place),
		cmocka_unit_test(test_timeout_of_a_wait),
		cmocka_unit_test(test_silent_clients),
		cmocka_unit_test(test_slow_clients),
		cmocka_unit_test(test_one_step_in_an_iteration),
		cmocka_unit_test(test_wait_behind_a_proxy),
		cmocka_unit_test(test_draining_in_a_proxy_header),
		cmocka_unit_test(test_draining_in_a_handshake),
		cmocka_unit_test(test_libcrypto_without_tls),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_half_a_record),
		cmocka_unit_test(test_no_memory_for_half_a_record),
		cmocka_unit_test(test_reads_of_whole_records),
		cmocka_unit_test(test_draining),
		cmocka_unit_test(test_draining_without_data),
		cmocka_unit_test(test_attacks),
		cmocka_unit_test(test_renegotiation),
		cmocka_unit_test(test_max_fragment_length),
		cmocka_unit_test(test_end_at_the_limit),
		cmocka_unit_test(test_lost_reply_at_the_limit),
		cmocka_unit_test(test_memory_of_handshakes),
	};

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets that the server has closed */
	if (CRYPTO_set_mem_functions(get, get_again, put) != 1)
		return 1;
	return cmocka_run_group_tests(tests, conn_tls_set_up, conn_tls_tear_down);
}
