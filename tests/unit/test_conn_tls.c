/*
 * Connections with TLS: the handshake over small buffers, backpressure, pieces of records, errors
 * amid output, timeouts, memory and restarts. test_tls.py has more clients.
 */

#include "conn_tls_fixture.h"

#include <openssl/err.h>

/* Checks the bytes of the only connection, which echoes @n. */
static void check_counts(const struct fixture *f, size_t n)
{
	assert_int_equal(last_conn(f, QUEUE_IDLE)->session.place.received, n);
	assert_int_equal(last_conn(f, QUEUE_IDLE)->sent, n);
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
		client_close(&client);
		end(&f);
		assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 0);
		assert_int_equal(count_of(&f, COUNTER_CLOSED), 0);
	}
}

/* A client beyond limits.max_handshakes is not read until another has ended its handshake. */
static void test_wait_for_a_place(void **state)
{
	for (int is_first_gone = 0; is_first_gone < 2; is_first_gone++) {
		struct fixture f;
		struct client first, second, third;

		begin_tls(&f, "short.pem", "reply = \"echo\"; limits = { max_handshakes = 1; };");
		first = client_of(connect_client(&f));
		second = client_of(connect_client(&f));
		third = client_of(connect_client(&f));
		SSL_do_handshake(third.ssl);
		SSL_do_handshake(second.ssl);
		advance(&f, 1000);
		assert_int_equal(last_conn(&f, QUEUE_HANDSHAKE)->state, CONN_WAITING);
		assert_int_equal(SSL_do_handshake(second.ssl), -1);
		if (is_first_gone)
			client_close(&first);
		else
			handshake(&f, &first);
		step(&f);
		advance(&f, 100);
		assert_int_equal(last_conn(&f, QUEUE_HANDSHAKE)->state, CONN_WAITING);
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
	struct fixture f;
	int first, second, third;

	begin_tls(&f, "short.pem", "limits = { max_handshakes = 1; };");
	first = connect_client(&f);
	advance(&f, 1000);
	second = connect_client(&f);
	third = connect_client(&f);
	advance(&f, 1000);
	close(first);
	step(&f);
	advance(&f, 100);
	assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 2);
	assert_int_equal(last_conn(&f, QUEUE_HANDSHAKE)->state, CONN_WAITING);
	advance(&f, HANDSHAKE_MS - 1100);
	assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 2);
	advance(&f, HANDSHAKE_MS / 32);
	assert_int_equal(queue_length(&f, QUEUE_HANDSHAKE), 0);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 3);
	close(second);
	close(third);
	end(&f);
}

/* Input that was read with the PROXY header waits, too. */
static void test_wait_behind_a_proxy(void **state)
{
	static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
	struct client client;
	struct fixture f;
	int first;

	begin_tls(&f, "short.pem",
		  "reply = \"echo\"; limits = { max_handshakes = 1; }; proxies = [\"unix\"];");
	first = connect_client(&f);
	say(first, header);
	step(&f);
	client = client_of(connect_client(&f));
	say(client.fd, header);
	SSL_do_handshake(client.ssl);
	step(&f);
	assert_int_equal(last_conn(&f, QUEUE_HANDSHAKE)->state, CONN_WAITING);
	assert_true(budget_used(&f.limits.budget) > 0);
	close(first);
	step(&f);
	advance(&f, 100);
	assert_int_equal(budget_used(&f.limits.budget), 0);
	handshake(&f, &client);
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
	static char data[200000];
	struct fixture f;
	struct client client;
	size_t sent = 0;
	int n = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = text[i % 16];
	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = client_of(connect_small(&f));
	handshake(&f, &client);
	SSL_set_mode(client.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
	while (n > 0) {
		/* in records of 16 KiB, but for the last */
		n = SSL_write(client.ssl, data + sent, (int)(sizeof(data) - sent) & ~15);
		sent += n > 0 ? (size_t)n : 0;
		step(&f);
	}
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
	client = client_of(connect_client(&f));
	handshake(&f, &client);
	SSL_set0_wbio(client.ssl, out);
	assert_int_equal(SSL_write(client.ssl, "0123456789", 10), 10);
	n = BIO_get_mem_data(out, &p);
	for (long i = 0; i < n; i++) {
		assert_int_equal(write(client.fd, p + i, 1), 1);
		step(&f);
		assert_int_equal(budget_used(&f.limits.budget) > 0, i + 1 < n);
	}
	receive(&f, &client, "0123456789", 10);
	/* the connection ends amid another record */
	assert_int_equal(write(client.fd, p, 20), 20);
	step(&f);
	assert_true(budget_used(&f.limits.budget) > 0);
	client_close(&client);
	end(&f);
}

/* The budget has no room for the beginning of a record. */
static void test_no_memory_for_half_a_record(void **state)
{
	static const uint8_t begin_of_record[] = {23, 3, 3, 0x40, 0, 1};
	struct fixture f;
	struct client client;

	begin_tls(&f, "short.pem", "");
	client = client_of(connect_client(&f));
	handshake(&f, &client);
	take_memory(&f, 100);
	assert_int_equal(write(client.fd, begin_of_record, 6), 6);
	step(&f);
	assert_int_equal(f.reactor.connections, 0);
	give_memory(&f);
	client_close(&client);
	end(&f);
}

static void test_draining(void **state)
{
	struct fixture f;
	struct client client, late;
	char byte;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = client_of(connect_client(&f));
	late = client_of(connect_client(&f));
	handshake(&f, &client);
	assert_int_equal(SSL_write(client.ssl, "last", 4), 4);
	reactor_for_each(&f.reactor, conn_drain);
	step(&f);
	receive(&f, &client, "last", 4);
	assert_int_equal(SSL_read(client.ssl, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(client.ssl), SSL_RECEIVED_SHUTDOWN);
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
		char byte;

		begin_tls(&f, "short.pem", "reply = \"echo\";");
		client = client_of(connect_client(&f));
		handshake(&f, &client);
		if (i == 0) {
			assert_int_equal(write(client.fd, "\x17\x03\x03", 3), 3);
		} else {
			SSL_key_update(client.ssl, i == 1 ? SSL_KEY_UPDATE_NOT_REQUESTED
							  : SSL_KEY_UPDATE_REQUESTED);
			SSL_do_handshake(client.ssl);
		}
		reactor_for_each(&f.reactor, conn_drain);
		step(&f);
		assert_int_equal(SSL_read(client.ssl, &byte, 1), 0);
		assert_int_equal(SSL_get_shutdown(client.ssl), SSL_RECEIVED_SHUTDOWN);
		client_close(&client);
		end(&f);
	}
}

/* ---- restart ---- */

static const char line_echo[] = "reply = \"echo\"; framing = \"line\";";

/* A restart at every byte of a record that ends amid a line. */
static void test_restart_amid_a_record(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++) {
		struct fixture f;
		struct client client;
		long n = 1;

		begin_tls(&f, "short.pem", line_echo);
		client = client_of(connect_client(&f));
		if (only_12)
			SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
		handshake(&f, &client);
		for (long cut = 0; cut < n; cut++) {
			BIO *out = BIO_new(BIO_s_mem());
			uint8_t *p;

			SSL_set0_wbio(client.ssl, out);
			assert_int_equal(SSL_write(client.ssl, "567\n01234", 9), 9);
			n = BIO_get_mem_data(out, &p);
			assert_int_equal(write(client.fd, p, (size_t)cut), cut);
			step(&f);
			change_process(&f, "short.pem", line_echo);
			assert_int_equal(write(client.fd, p + cut, (size_t)(n - cut)), n - cut);
			step(&f);
			if (cut == 0)
				receive(&f, &client, "567\n", 4);
			else
				receive(&f, &client, "01234567\n", 9);
		}
		assert_true(n > 20);
		client_close(&client);
		end(&f);
	}
}

/* The data before an error are answered before the alert, also through a restart. */
static void test_error_amid_output(void **state)
{
	for (int restarts = 0; restarts < 3; restarts++) {
		BIO *out = BIO_new(BIO_s_mem());
		static char data[8192];
		struct client client;
		struct fixture f;
		uint8_t *p;
		char byte;
		long n;

		memset(data, 'x', sizeof(data));
		begin_tls(&f, "short.pem", "reply = \"echo\";");
		client = client_of(connect_small(&f));
		handshake(&f, &client);
		SSL_set0_wbio(client.ssl, out);
		for (int i = 0; i < 2; i++)
			assert_int_equal(SSL_write(client.ssl, data, sizeof(data)), sizeof(data));
		n = BIO_get_mem_data(out, &p);
		p[n - 1] ^= 1;
		assert_int_equal(write(client.fd, p, (size_t)n), n);
		step(&f);
		assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
		for (int i = 0; i < restarts; i++)
			change_process(&f, "short.pem", "reply = \"echo\";");
		receive(&f, &client, "x", sizeof(data));
		step(&f);
		assert_true(SSL_read(client.ssl, &byte, 1) <= 0);
		assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
				 SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
		client_close(&client);
		end(&f);
	}
}

/* Output that the socket has not taken, and the rest of a long reply, continue. */
static void test_restart_amid_output(void **state)
{
	static const char text[] = "0123456789abcdef";
	static char data[64 * 1024];
	struct fixture f;
	struct client client;
	size_t sent = 0;
	int n = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = text[i % 16];
	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = client_of(connect_small(&f));
	handshake(&f, &client);
	SSL_set_mode(client.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
	while (n > 0) {
		n = SSL_write(client.ssl, data + sent, (int)(sizeof(data) - sent) & ~15);
		sent += n > 0 ? (size_t)n : 0;
		step(&f);
	}
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
	change_process(&f, "short.pem", "reply = \"echo\";");
	receive(&f, &client, text, sent / 2);
	change_process(&f, "short.pem", "reply = \"echo\";");
	/* the first half need not end with the text */
	receive(&f, &client, text, sent / 2 / 16 * 16);
	check_counts(&f, sent);
	client_close(&client);
	end(&f);
}

/* Which connections a restart ends. */
static void test_restart_ends(void **state)
{
	for (int keeps = 0; keeps < 2; keeps++) {
		struct client client, late;
		struct fixture f;
		char byte;

		begin_tls_group(&f, keeps ? "" : "keep_connections = false;");
		client = client_of(connect_client(&f));
		late = client_of(connect_client(&f));
		handshake(&f, &client);
		change_process(&f, "short.pem", "");
		assert_int_equal(f.reactor.connections, keeps);
		assert_true(recv(late.fd, &byte, 1, 0) == 0);
		if (!keeps) {
			assert_int_equal(SSL_read(client.ssl, &byte, 1), 0);
			assert_int_equal(SSL_get_shutdown(client.ssl), SSL_RECEIVED_SHUTDOWN);
		}
		client_close(&client);
		client_close(&late);
		end(&f);
	}
}

/* A lingering connection has sent its last record; the next process only drops its input. */
static void test_restart_while_lingering(void **state)
{
	struct client client;
	struct fixture f;
	char byte;

	begin_tls(&f, "short.pem", "");
	client = client_of(connect_client(&f));
	handshake(&f, &client);
	assert_int_equal(SSL_write(client.ssl, "\xff", 1), 1);
	step(&f);
	assert_int_equal(queue_length(&f, QUEUE_LINGER), 1);
	change_process(&f, "short.pem", "");
	assert_int_equal(queue_length(&f, QUEUE_LINGER), 1);
	receive(&f, &client, "NAK 0 invalid start byte\n", 25);
	assert_int_equal(SSL_write(client.ssl, "dropped", 7), 7);
	assert_int_equal(SSL_read(client.ssl, &byte, 1), 0);
	client_close(&client);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_flight),
		cmocka_unit_test(test_handshake_timeouts),
		cmocka_unit_test(test_wait_for_a_place),
		cmocka_unit_test(test_timeout_of_a_wait),
		cmocka_unit_test(test_wait_behind_a_proxy),
		cmocka_unit_test(test_draining_in_a_proxy_header),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_half_a_record),
		cmocka_unit_test(test_no_memory_for_half_a_record),
		cmocka_unit_test(test_draining),
		cmocka_unit_test(test_draining_without_data),
		cmocka_unit_test(test_restart_amid_a_record),
		cmocka_unit_test(test_error_amid_output),
		cmocka_unit_test(test_restart_amid_output),
		cmocka_unit_test(test_restart_ends),
		cmocka_unit_test(test_restart_while_lingering),
	};

	return cmocka_run_group_tests(tests, conn_tls_set_up, conn_tls_tear_down);
}
