/* Connections with TLS in a restart: where it cuts, what it ends, and with what memory. */

#include "conn_tls_fixture.h"

#include "ackd/conn/handover.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/stat.h>

/* Expects close_notify, and that the connection lingers because of @reason. */
static void expect_orderly_end(struct fixture *f, struct client *client, enum conn_reason reason)
{
	step(f);
	expect_close_notify(client);
	assert_int_equal(last_conn(f, QUEUE_LINGER)->reason, reason);
}

/* ---- cuts ---- */

/* The last messages of clients have been read, but their handshakes are not complete. */
static void test_restart_before_the_last_step(void **state)
{
	struct client clients[3];
	struct fixture f;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	for (int i = 0; i < 3; i++) {
		clients[i] = client_of(connect_client(&f));
		SSL_do_handshake(clients[i].ssl);
	}
	for (int i = 0; i < 5; i++)
		step(&f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(SSL_do_handshake(clients[i].ssl), 1);
	step(&f);
	assert_true(count_in(&f, CONN_WAITING) > 0);
	change_process(&f, "short.pem", "reply = \"echo\";");
	for (int i = 0; i < 3; i++) {
		check_echo(&f, &clients[i]);
		client_close(&clients[i]);
	}
	end(&f);
}

static const char line_echo[] = "reply = \"echo\"; framing = \"line\";";

/* A restart at every byte of a record that ends amid a line. */
static void test_restart_amid_a_record(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++) {
		struct fixture f;
		struct client client;
		long n = 1;

		begin_tls(&f, "short.pem", line_echo);
		client = served_client_12(&f, connect_client(&f), only_12);
		for (long cut = 0; cut < n; cut++) {
			BIO *out = BIO_new(BIO_s_mem());
			uint8_t *p;

			SSL_set0_wbio(client.ssl, out);
			say_tls(&client, "567\n01234", 9);
			n = BIO_get_mem_data(out, &p);
			send_bytes(&client, p, (size_t)cut);
			step(&f);
			change_process(&f, "short.pem", line_echo);
			send_bytes(&client, p + cut, (size_t)(n - cut));
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
		client = served_client(&f, connect_small(&f));
		SSL_set0_wbio(client.ssl, out);
		for (int i = 0; i < 2; i++)
			say_tls(&client, data, sizeof(data));
		n = BIO_get_mem_data(out, &p);
		p[n - 1] ^= 1;
		send_bytes(&client, p, (size_t)n);
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
	struct fixture f;
	struct client client;
	size_t sent;

	begin_tls(&f, "short.pem", "reply = \"echo\";");
	client = served_client(&f, connect_small(&f));
	sent = fill_socket(&f, &client, text, 65536);
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
		assert_int_equal(f.reactor.connections, 1);
		assert_true(recv(late.fd, &byte, 1, 0) == 0);
		if (!keeps)
			expect_orderly_end(&f, &client, CONN_DRAIN);
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
	client = served_client(&f, connect_client(&f));
	say_tls(&client, "\xff", 1);
	step(&f);
	assert_int_equal(queue_length(&f, QUEUE_LINGER), 1);
	change_process(&f, "short.pem", "");
	assert_int_equal(queue_length(&f, QUEUE_LINGER), 1);
	receive(&f, &client, "NAK 0 invalid start byte\n", 25);
	say_tls(&client, "dropped", 7);
	assert_int_equal(SSL_read(client.ssl, &byte, 1), 0);
	client_close(&client);
	end(&f);
}

/* ---- replies of a connection whose keys are not handed over ---- */

static const char lines[] =
	"framing = \"line\"; ack_prefix = \"a rather long prefix, longer than a line\";";
static const char line[] = "01234\n", reply[] = "a rather long prefix, longer than a line01234\n";

enum { LINE = sizeof(line) - 1, REPLY = sizeof(reply) - 1, LINES = 7000 };

/* Begins with @lines, and the settings @group of the tls group. */
static void begin_lines(struct fixture *f, const char *group)
{
	char text[400];

	tls_config(text, "short.pem", group, lines);
	begin(f, text);
}

/* Sends records of LINES lines in all, and damages the last of them if @is_damaged. */
static void send_lines(struct client *client, bool is_damaged)
{
	static char data[LINES * LINE];
	BIO *out = BIO_new(BIO_s_mem());
	uint8_t *p;
	long n;

	for (int i = 0; i < LINES; i++)
		memcpy(data + (size_t)i * LINE, line, LINE);
	SSL_set0_wbio(client->ssl, out);
	say_tls(client, data, sizeof(data));
	if (is_damaged)
		say_tls(client, line, LINE);
	n = BIO_get_mem_data(out, &p);
	p[n - 1] ^= is_damaged;
	send_bytes(client, p, (size_t)n);
}

/*
 * The next process delivers the replies to all that has arrived: those that the socket did not
 * take, those that are not made yet, and those to what has not been read.
 */
static void test_unkept_amid_output(void **state)
{
	for (int restarts = 1; restarts <= 2; restarts++) {
		struct client client;
		struct fixture f;

		begin_lines(&f, "keep_connections = false;");
		client = served_client(&f, connect_small(&f));
		send_lines(&client, false);
		step(&f);
		assert_true(session_is_held(&last_conn(&f, QUEUE_IDLE)->session));
		send_lines(&client, false);
		for (int i = 0; i < restarts; i++)
			change_process(&f, "short.pem", lines);
		assert_int_equal(last_conn(&f, QUEUE_IDLE)->has_tls, false);
		receive(&f, &client, reply, (size_t)2 * LINES * REPLY);
		expect_orderly_end(&f, &client, CONN_DRAIN);
		assert_int_equal(last_conn(&f, QUEUE_LINGER)->session.place.messages, 2 * LINES);
		assert_int_equal(last_conn(&f, QUEUE_LINGER)->sent, 2 * LINES * REPLY);
		client_close(&client);
		end(&f);
	}
}

/* An unfinished line is not answered, unless close_notify ends it. */
static void test_unkept_amid_input(void **state)
{
	for (int is_closed = 0; is_closed < 2; is_closed++) {
		struct client client;
		struct fixture f;

		begin_lines(&f, "keep_connections = false;");
		client = served_client(&f, connect_client(&f));
		say_tls(&client, "01234\n01", 8);
		if (is_closed)
			SSL_shutdown(client.ssl);
		change_process(&f, "short.pem", lines);
		receive(&f, &client, reply, REPLY);
		if (is_closed) /* it ends the last line */
			receive(&f, &client, "a rather long prefix, longer than a line01", 42);
		expect_orderly_end(&f, &client, CONN_DRAIN);
		client_close(&client);
		end(&f);
	}
}

/* The restart drops an unfinished line, even if that takes more memory than the replies. */
static void test_unkept_amid_a_long_line(void **state)
{
	static char data[10 * LINE + 4000];
	struct client client;
	struct fixture f;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i < (size_t)10 * LINE ? line[i % LINE] : 'x';
	begin_lines(&f, "keep_connections = false;");
	client = served_client(&f, connect_client(&f));
	say_tls(&client, data, sizeof(data));
	change_process(&f, "short.pem", lines);
	receive(&f, &client, reply, (size_t)10 * REPLY);
	expect_orderly_end(&f, &client, CONN_DRAIN);
	client_close(&client);
	end(&f);
}

/* Bytes of the peer that cannot be answered: an alert, and damaged ones. */
static void test_unkept_with_an_error(void **state)
{
	static const uint8_t damaged[] = {23, 3,  3,  0,  20, 1,  2,  3,  4,  5,  6,  7, 8,
					  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
	struct client client;
	struct fixture f;

	begin_lines(&f, "keep_connections = false;");
	client = served_client(&f, connect_client(&f));
	say_tls(&client, line, LINE);
	send_bytes(&client, damaged, sizeof(damaged));
	change_process(&f, "short.pem", lines);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_TLS_ERROR);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->error, TLS_BAD_RECORD_MAC);
	receive(&f, &client, reply, REPLY);
	expect_alert(&f, &client, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	client_close(&client);
	end(&f);
}

/* All data before an error are answered, also those whose replies had to wait. */
static void test_error_amid_replies(void **state)
{
	for (int restarts = 0; restarts < 3; restarts++) {
		struct client client;
		struct fixture f;

		begin_lines(&f, "");
		client = served_client(&f, connect_small(&f));
		send_lines(&client, true);
		step(&f);
		assert_true(session_is_held(&last_conn(&f, QUEUE_IDLE)->session));
		for (int i = 0; i < restarts; i++)
			change_process(&f, "short.pem", lines);
		receive(&f, &client, reply, (size_t)LINES * REPLY);
		expect_alert(&f, &client, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
		assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_TLS_ERROR);
		assert_int_equal(last_conn(&f, QUEUE_LINGER)->error, TLS_BAD_RECORD_MAC);
		client_close(&client);
		end(&f);
	}
}

/* Receives all data before the end of TLS. Returns their number. */
static size_t receive_to_the_end(struct fixture *f, struct client *client)
{
	size_t sum = 0;
	char bytes[1000];
	int n;

	while ((n = SSL_read(client->ssl, bytes, sizeof(bytes))) > 0 ||
	       SSL_get_error(client->ssl, n) == SSL_ERROR_WANT_READ) {
		sum += n > 0 ? (size_t)n : 0;
		step(f);
	}
	return sum;
}

/* Only the last record waits for room in the socket when the restart comes. */
static void test_restart_before_the_last_record(void **state)
{
	struct client client;
	struct conn *c;
	struct fixture f;
	size_t sum = 0;
	char bytes[1000];
	bool waits = false;
	int n;

	begin_lines(&f, "");
	client = served_client(&f, connect_small(&f));
	send_lines(&client, true);
	step(&f);
	c = last_conn(&f, QUEUE_IDLE);
	for (int i = 0; i < STEPS_MAX && !waits; i++) {
		n = SSL_read(client.ssl, bytes, sizeof(bytes));
		sum += n > 0 ? (size_t)n : 0;
		c->unsent = -1;
		step(&f);
		waits = c->end_reason == CONN_TLS_ERROR && c->state == CONN_SENDING;
	}
	assert_true(waits);
	assert_true(c->unsent >= 0); /* a peer that reads on is not idle */
	change_process(&f, "short.pem", lines);
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->has_tls, false);
	sum += receive_to_the_end(&f, &client);
	assert_int_equal(sum, (size_t)LINES * REPLY);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->sent, sum);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_TLS_ERROR);
	client_close(&client);
	end(&f);
}

/* Input is read only as long as its replies do not exceed the limit of records. */
static void test_unkept_at_the_limit(void **state)
{
	struct client client;
	struct fixture f;
	size_t sum;

	records_max = 50; /* a read of 64 KiB needs 29 */
	begin_lines(&f, "keep_connections = false;");
	client = served_client_12(&f, connect_client(&f), true);
	for (int i = 0; i < 3; i++)
		send_lines(&client, false);
	change_process(&f, "short.pem", lines);
	sum = receive_to_the_end(&f, &client);
	assert_true(sum > (size_t)LINES * REPLY && sum % REPLY == 0);
	expect_close_notify(&client);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_DRAIN);
	client_close(&client);
	end(&f);
	records_max = TLS_RECORDS_MAX;
}

/* Input that waits is answered before the connection ends because of the limit of records. */
static void test_restart_at_the_limit(void **state)
{
	const int room = 212992; /* the kernel doubles it */
	struct client client;
	struct fixture f;

	records_max = 100;
	begin_lines(&f, "");
	client = served_client_12(&f, connect_client(&f), true);
	assert_int_equal(setsockopt(last_conn(&f, QUEUE_IDLE)->fd, SOL_SOCKET, SO_SNDBUF, &room,
				    sizeof(room)),
			 0);
	for (int i = 0; i < 45; i++) {
		say_tls(&client, line, LINE);
		step(&f);
		receive(&f, &client, reply, REPLY);
	}
	send_lines(&client, false);
	step(&f);
	assert_true(session_is_held(&last_conn(&f, QUEUE_IDLE)->session));
	assert_true(conn_tls_must_close(last_conn(&f, QUEUE_IDLE)));
	assert_null(last_conn(&f, QUEUE_IDLE)->pending);
	change_process(&f, "short.pem", lines);
	receive(&f, &client, reply, (size_t)LINES * REPLY);
	expect_orderly_end(&f, &client, CONN_TLS_LIMIT);
	client_close(&client);
	end(&f);
	records_max = TLS_RECORDS_MAX;
}

/* ---- memory ---- */

/* No memory is left: a connection that holds nothing is still kept. */
static void test_no_memory(void **state)
{
	for (int keeps = 0; keeps < 2; keeps++) {
		struct client client;
		struct fixture f;

		begin_lines(&f, keeps ? "" : "keep_connections = false;");
		client = served_client(&f, connect_client(&f));
		take_memory(&f, 0);
		change_process(&f, "short.pem", "reply = \"echo\";");
		if (keeps)
			check_echo(&f, &client);
		else
			expect_orderly_end(&f, &client, CONN_DRAIN);
		client_close(&client);
		end(&f);
	}
}

/* The budget has no room for replies whose message is shorter. */
static void test_no_memory_for_replies(void **state)
{
	struct client client;
	struct fixture f;

	begin_lines(&f, "keep_connections = false;");
	client = served_client(&f, connect_small(&f));
	send_lines(&client, false);
	step(&f);
	take_memory(&f, 1000);
	change_process(&f, "short.pem", lines);
	assert_int_equal(f.reactor.connections, 0);
	client_close(&client);
	end(&f);
}

/* Replies that the budget has no room for are not all made first. */
static void test_little_memory_for_many_replies(void **state)
{
	struct client client;
	struct handover handover;
	struct fixture f;
	struct stat status;
	int writing, reading;

	begin_lines(&f, "keep_connections = false;");
	client = served_client(&f, connect_client(&f));
	for (int i = 0; i < 3; i++)
		send_lines(&client, false);
	take_memory(&f, 100000);
	assert_int_equal(handover_queue(&writing, &reading), 0);
	handover_init(&handover, writing, &f.limits, 1);
	reactor_hand_over(&f.reactor, &handover);
	assert_int_equal(handover.n_lost, 1);
	assert_int_equal(handover.error, -ENOBUFS);
	assert_int_equal(fstat(handover.memfd, &status), 0);
	assert_in_range(status.st_size, 1, 2 * SESSION_REPLY_MAX);
	handover_finish(&handover);
	close(reading);
	give_memory(&f);
	client_close(&client);
	end(&f);
}

/* ---- the listener demands more ---- */

/* A connection without TLS is drained when its listener has TLS now. */
static void test_plain_before_tls(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "");
	a = connect_client(&f);
	b = connect_client(&f);
	say(a, "one");
	expect(&f, a, "Got one");
	say(a, "two");
	change_process(&f, "short.pem", "");
	assert_int_equal(queue_length(&f, QUEUE_LINGER), 2);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_OUTDATED);
	expect(&f, a, "Got two");
	expect_end(&f, a);
	expect_end(&f, b);
	say(a, "three");
	expect_end(&f, a);
	close(a);
	close(b);
	end(&f);
}

/* A connection of TLS 1.2 is drained when its listener demands 1.3 now. */
static void test_min_version_is_raised(void **state)
{
	for (int only_12 = 0; only_12 < 2; only_12++) {
		struct client client;
		struct fixture f;
		char text[400];

		tls_config(text, "short.pem", "min_version = \"1.3\";", "reply = \"echo\";");
		begin_tls_group(&f, "");
		client = served_client_12(&f, connect_client(&f), only_12);
		change_config(&f, text, NULL);
		if (only_12)
			expect_orderly_end(&f, &client, CONN_OUTDATED);
		else
			check_echo(&f, &client);
		client_close(&client);
		end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_before_the_last_step),
		cmocka_unit_test(test_restart_amid_a_record),
		cmocka_unit_test(test_error_amid_output),
		cmocka_unit_test(test_restart_amid_output),
		cmocka_unit_test(test_restart_ends),
		cmocka_unit_test(test_restart_while_lingering),
		cmocka_unit_test(test_unkept_amid_output),
		cmocka_unit_test(test_unkept_amid_input),
		cmocka_unit_test(test_unkept_amid_a_long_line),
		cmocka_unit_test(test_unkept_with_an_error),
		cmocka_unit_test(test_error_amid_replies),
		cmocka_unit_test(test_restart_before_the_last_record),
		cmocka_unit_test(test_unkept_at_the_limit),
		cmocka_unit_test(test_restart_at_the_limit),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_memory_for_replies),
		cmocka_unit_test(test_little_memory_for_many_replies),
		cmocka_unit_test(test_plain_before_tls),
		cmocka_unit_test(test_min_version_is_raised),
	};

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets that the server has closed */
	return cmocka_run_group_tests(tests, conn_tls_set_up, conn_tls_tear_down);
}
