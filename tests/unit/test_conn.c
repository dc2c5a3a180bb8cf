/* One connection: greeting, pieces of input, half-close, reset, backpressure, NAK, no memory. */

#include "conn_fixture.h"

static void test_greeting(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "greeting = \"Welcome to ${listener}, ${connection}\\n\"; name = \"L\";");
	a = connect_client(&f);
	expect(&f, a, "Welcome to L, 1\n");
	say(a, "hello");
	expect(&f, a, "Got hello");
	assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 1);
	assert_int_equal(count_of(&f, COUNTER_MESSAGES), 1);
	close(a);
	end(&f);
	assert_int_equal(count_closed(&f, CONN_END), 1);
}

/* A message that comes byte by byte is answered when it is complete. */
static void test_line_in_pieces(void **state)
{
	static const char line[] = "\xd0\x96\xe2\x82\xac\xf0\x9f\x98\x80 x\r\n";
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	a = connect_client(&f);
	for (const char *p = line; *p; p++) {
		expect(&f, a, "");
		say(a, (char[]){*p, '\0'});
	}
	expect(&f, a, "Got \xd0\x96\xe2\x82\xac\xf0\x9f\x98\x80 x\r\n");
	assert_int_equal(count_of(&f, COUNTER_RECEIVED_BYTES), strlen(line));
	close(a);
	end(&f);
}

/* A stream is answered as it arrives, except for half a character. */
static void test_character_in_pieces(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "ab\xe2\x82");
	expect(&f, a, "Got ab");
	say(a, "\xac");
	expect(&f, a, "Got \xe2\x82\xac");
	close(a);
	end(&f);
}

static void test_half_close(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	a = connect_client(&f);
	say(a, "one\ntwo");
	shutdown(a, SHUT_WR);
	expect(&f, a, "Got one\n");
	expect(&f, a, "Got two");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* The end of input while half a character waits for the rest. */
static void test_half_close_in_a_character(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "\xe2\x82");
	shutdown(a, SHUT_WR);
	step(&f);
	expect(&f, a, "NAK 0 unexpected end of data\n");
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_NAKS + NAK_UNEXPECTED_END), 1);
	close(a);
	end(&f);
}

/* A peer that closes with unread data resets the connection. */
static void test_reset(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "hello");
	step(&f);
	close(a);
	step(&f);
	assert_int_equal(f.reactor.connections, 0);
	assert_int_equal(count_of(&f, COUNTER_CLOSED), 1);
	end(&f);
}

/* A peer that disappears while output is pending. */
static void test_reset_while_sending(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	fill(&f, a);
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
	close(a);
	step(&f);
	assert_int_equal(f.reactor.connections, 0);
	end(&f);
}

/* A client that does not read: its output is held and charged. Reading stops until it is sent. */
static void test_backpressure(void **state)
{
	struct fixture f;
	struct conn *c;
	size_t n;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	c = last_conn(&f, QUEUE_IDLE);
	assert_int_equal(c->state, CONN_SERVING);
	n = fill(&f, a);
	assert_int_equal(c->state, CONN_SENDING);
	assert_true(budget_used(&f.limits.budget) > 0);
	free(receive_all(&f, a, n));
	step(&f);
	assert_int_equal(c->state, CONN_SERVING);
	assert_int_equal(budget_used(&f.limits.budget), 0);
	assert_int_equal(count_of(&f, COUNTER_SENT_BYTES), n);
	say(a, "more");
	expect(&f, a, "more");
	close(a);
	end(&f);
}

/* Replies that are sent in many parts are complete and in order. */
static void test_partial_writes(void **state)
{
	enum { N = 10000, LINE = 6 };
	char input[N * LINE + 1], expected[N * (LINE + 4) + 1], *received;
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	for (int i = 0; i < N; i++) {
		snprintf(input + i * LINE, LINE + 1, "%05d\n", i);
		snprintf(expected + i * (LINE + 4), LINE + 4 + 1, "Got %05d\n", i);
	}
	a = connect_small(&f);
	say(a, input);
	received = receive_all(&f, a, sizeof(expected) - 1);
	assert_string_equal(received, expected);
	free(received);
	close(a);
	end(&f);
}

/* The end of input arrives while output is pending: everything is answered, then closed. */
static void test_half_close_under_backpressure(void **state)
{
	struct fixture f;
	size_t n;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	n = fill(&f, a);
	shutdown(a, SHUT_WR);
	free(receive_all(&f, a, n));
	step(&f);
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* A listener that only greets drops input, and closes when the client does not. */
static void test_close(void **state)
{
	struct fixture f;
	struct conn *c;
	int a;

	begin(&f, "reply = \"close\"; greeting = \"bye\\n\";");
	a = connect_client(&f);
	c = last_conn(&f, QUEUE_LINGER);
	assert_int_equal(c->state, CONN_LINGERING);
	assert_int_equal(c->reason, CONN_CLOSE);
	say(a, "hello");
	expect(&f, a, "bye\n");
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_MESSAGES), 0);
	advance(&f, LINGER_MS - 1);
	say(a, "still here");
	step(&f);
	assert_int_equal(f.reactor.connections, 1);
	advance(&f, LINGER_MS / 32 + 2);
	until_empty(&f);
	close(a);
	end(&f);
}

/* The input after the quit message is dropped, also if it comes with it. */
static void test_quit(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\"; quit = \"exit\";");
	a = connect_client(&f);
	say(a, "a\nexit\nb\n");
	expect(&f, a, "Got a\nGot exit\n");
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->reason, CONN_QUIT);
	say(a, "c\n");
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_MESSAGES), 2);
	close(a);
	end(&f);
}

/* A refused client gets the NAK of the listener, with its names. */
static void test_nak_text_of_a_refusal(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "nak_text = \"${peer}: ${reason}\"; limits = { max_connections = 1; };");
	a = connect_client(&f);
	b = connect_client(&f);
	expect(&f, b, "unix: too many connections");
	expect_end(&f, b);
	close(a);
	close(b);
	end(&f);
}

/* A NAK ends the connection in order: the client reads it, and its further input is dropped. */
static void test_nak(void **state)
{
	struct fixture f;
	struct conn *c;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "ab\xff");
	expect(&f, a, "Got ab\nNAK 2 invalid start byte\n");
	expect_end(&f, a);
	c = last_conn(&f, QUEUE_LINGER);
	assert_int_equal(c->state, CONN_LINGERING);
	assert_int_equal(c->reason, CONN_NAK);
	for (int i = 0; i < 3; i++) {
		say(a, "dropped");
		expect_end(&f, a);
	}
	assert_int_equal(count_of(&f, COUNTER_NAKS + NAK_INVALID_START), 1);
	close(a);
	end(&f);
}

/* The client reads only after it has sent everything: its unread input causes no reset. */
static void test_nak_read_late(void **state)
{
	static char text[60000];
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "good\xff", 5);
	say(a, text);
	for (int i = 0; i < 10; i++)
		step(&f);
	say(a, text);
	for (int i = 0; i < 10; i++)
		step(&f);
	expect(&f, a, "Got good\nNAK 4 invalid start byte\n");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* The NAK follows a reply that does not fit into the socket buffer. */
static void test_nak_under_backpressure(void **state)
{
	struct fixture f;
	char *received;
	size_t n;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	n = fill(&f, a);
	received = receive_all(&f, a, n / 2);
	free(received);
	while (send(a, "\xff", 1, MSG_NOSIGNAL) != 1)
		step(&f);
	received = receive_all(&f, a, n - n / 2 + strlen("\nNAK 0 invalid start byte\n"));
	assert_non_null(strstr(received + (n - n / 2), "\nNAK "));
	free(received);
	close(a);
	end(&f);
}

/*
 * Half a line whose reply takes several iterations. It contains nothing that can be encoded, so the
 * connection pauses without pending output.
 */
#define LONG_LINE                                                                                  \
	"framing = \"line\"; limits = { max_line = \"256KiB\"; };"                                 \
	"encoding = { reply_charset = \"ascii\"; reply_errors = \"ignore\"; };"
static int begin_long_line(struct fixture *f)
{
	enum { CHARACTERS = 100000 };
	char line[2 * CHARACTERS];
	size_t sent = 0;
	int a;

	begin(f, LONG_LINE);
	a = connect_client(f);
	for (int i = 0; i < CHARACTERS; i++)
		memcpy(line + 2 * i, "\xd0\x96", 2);
	while (sent < sizeof(line)) {
		ssize_t n = send(a, line + sent, sizeof(line) - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		expect(f, a, "");
	}
	while (count_of(f, COUNTER_RECEIVED_BYTES) < sizeof(line))
		step(f);
	return a;
}

/* Other connections have their turn while a long reply is made. */
static void test_pause(void **state)
{
	struct fixture f;
	int a = begin_long_line(&f), b;
	struct conn *c = last_conn(&f, QUEUE_IDLE);

	b = connect_client(&f);
	say(a, "\n");
	say(b, "x\n");
	expect(&f, b, "Got x\n");
	assert_int_equal(c->state, CONN_SENDING);
	assert_null(c->pending);
	for (int i = 0; i < STEPS_MAX && c->state == CONN_SENDING; i++)
		step(&f);
	expect(&f, a, "Got \n");
	close(a);
	close(b);
	end(&f);
}

/*
 * A pause copies the rest of the input. If slow readers have used up the budget, the connection is
 * not closed for that: the reply is completed in the same iteration.
 */
static void test_pause_without_memory(void **state)
{
	struct fixture f;
	int a = begin_long_line(&f);

	take_memory(&f, 0);
	say(a, "\n");
	expect(&f, a, "Got \n");
	give_memory(&f);
	say(a, "x\n");
	expect(&f, a, "Got x\n");
	close(a);
	end(&f);
}

/* Without memory for output that its socket does not take, a slow reader is closed. */
static void test_output_without_memory(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	take_memory(&f, 0);
	for (int i = 0; i < STEPS_MAX && f.reactor.connections > 0; i++) {
		send(a, "0123456789abcdef", 16, MSG_NOSIGNAL);
		step(&f);
	}
	assert_int_equal(f.reactor.connections, 0);
	give_memory(&f);
	close(a);
	end(&f);
}

/* The first reason of closing wins, except that a hand-over replaces it. */
static void test_close_twice(void **state)
{
	struct fixture f;
	struct conn *c;
	int a, b;

	begin(&f, "");
	a = connect_client(&f);
	c = last_conn(&f, QUEUE_IDLE);
	conn_close(c, CONN_SHUTDOWN);
	conn_close(c, CONN_IDLE);
	conn_check_invariant(c);
	assert_int_equal(c->reason, CONN_SHUTDOWN);
	expect_end(&f, a);
	b = connect_client(&f);
	say(b, "\xff");
	expect(&f, b, "NAK 0 invalid start byte\n");
	c = last_conn(&f, QUEUE_LINGER);
	conn_close(c, CONN_HANDED_OVER);
	assert_int_equal(c->reason, CONN_HANDED_OVER);
	close(a);
	close(b);
	end(&f);
	assert_int_equal(count_closed(&f, CONN_SHUTDOWN), 1);
	assert_int_equal(count_of(&f, COUNTER_CLOSED), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_line_in_pieces),
		cmocka_unit_test(test_character_in_pieces),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_half_close_in_a_character),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_reset_while_sending),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_partial_writes),
		cmocka_unit_test(test_half_close_under_backpressure),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_quit),
		cmocka_unit_test(test_nak_text_of_a_refusal),
		cmocka_unit_test(test_nak),
		cmocka_unit_test(test_nak_read_late),
		cmocka_unit_test(test_nak_under_backpressure),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_pause_without_memory),
		cmocka_unit_test(test_output_without_memory),
		cmocka_unit_test(test_close_twice),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
