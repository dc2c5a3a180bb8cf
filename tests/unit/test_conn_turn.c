/* Turns of the loop: order, fairness, and how much a draining connection reads. */

#include "conn_fixture.h"

#include "ackd/conn/turn.h"

/* More connections than a turn has reads are answered in one iteration, each with its own data. */
static void test_many(void **state)
{
	enum { N = 3 * TURN_READS_MAX + 1 };
	char text[32], reply[40];
	struct fixture f;
	int fds[N];

	begin(&f, "");
	for (int i = 0; i < N; i++)
		fds[i] = connect_client(&f);
	step(&f);
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		say(fds[i], text);
	}
	step(&f);
	for (int i = 0; i < N; i++) {
		ssize_t n = recv(fds[i], reply, sizeof(reply) - 1, 0);

		snprintf(text, sizeof(text), "Got message %d", i);
		assert_true(n > 0);
		reply[n] = '\0';
		assert_string_equal(reply, text);
		close(fds[i]);
	}
	end(&f);
}

/* Full reads end a turn by their bytes; the echo of each is complete. */
static void test_large(void **state)
{
	enum { N = 5, SIZE = 60000 };
	static char text[SIZE + 1];
	struct fixture f;
	int fds[N];

	begin(&f, "reply = \"echo\";");
	for (int i = 0; i < N; i++)
		fds[i] = connect_client(&f);
	for (int i = 0; i < N; i++) {
		memset(text, 'a' + i, SIZE);
		say(fds[i], text);
	}
	step(&f);
	for (int i = 0; i < N; i++) {
		char *reply = receive_all(&f, fds[i], SIZE);

		memset(text, 'a' + i, SIZE);
		assert_memory_equal(reply, text, SIZE);
		free(reply);
		close(fds[i]);
	}
	end(&f);
}

/* A connection with much input is read once per iteration, and others are answered beside it. */
static void test_fairness(void **state)
{
	static char text[3 * SESSION_READ_MAX + 1];
	struct fixture f;
	int a, b;

	begin(&f, "reply = \"discard\";");
	a = connect_client(&f);
	b = connect_client(&f);
	memset(text, 'x', sizeof(text) - 1);
	say(a, text);
	for (unsigned i = 1; i <= 3; i++) {
		say(b, "y");
		step(&f);
		assert_int_equal(count_of(&f, COUNTER_RECEIVED_BYTES), i * (SESSION_READ_MAX + 1));
	}
	close(a);
	close(b);
	end(&f);
}

/* A NAK in the middle of a turn belongs to its own connection; the others are answered. */
static void test_nak_in_a_turn(void **state)
{
	struct fixture f;
	struct conn *second;
	int a, b, c;

	begin(&f, "");
	a = connect_client(&f);
	b = connect_client(&f);
	second = last_conn(&f, QUEUE_IDLE);
	c = connect_client(&f);
	say(a, "one");
	say(b, "two\xff");
	say(c, "three");
	expect(&f, a, "Got one");
	expect(&f, b, "Got two\nNAK 3 invalid start byte\n");
	expect(&f, c, "Got three");
	assert_ptr_equal(last_conn(&f, QUEUE_LINGER), second);
	assert_int_equal(queue_length(&f, QUEUE_IDLE), 2);
	close(a);
	close(b);
	close(c);
	end(&f);
}

/* ---- draining ---- */

static void drain(struct fixture *f)
{
	reactor_for_each(&f->reactor, conn_drain);
}

/* Input that arrived before the drain is answered; later input is not. */
static void test_drain(void **state)
{
	struct fixture f;
	struct conn *c;
	int a, b;

	begin(&f, "");
	a = connect_client(&f);
	c = last_conn(&f, QUEUE_IDLE);
	say(a, "last words");
	drain(&f);
	assert_int_equal(c->drain_left, strlen("last words"));
	say(a, ", not heard");
	expect(&f, a, "Got last words");
	expect_end(&f, a);
	assert_int_equal(c->state, CONN_LINGERING);
	assert_int_equal(c->reason, CONN_DRAIN);
	close(a);
	step(&f);
	/* without input the connection ends immediately */
	b = connect_client(&f);
	drain(&f);
	drain(&f);
	expect_end(&f, b);
	close(b);
	end(&f);
}

/* The input of a draining connection is read over several iterations. */
static void test_drain_much(void **state)
{
	enum { SIZE = 2 * SESSION_READ_MAX + 1000 };
	static char text[SIZE + 1];
	struct fixture f;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_client(&f);
	memset(text, 'x', SIZE);
	say(a, text);
	drain(&f);
	say(a, "not heard");
	free(receive_all(&f, a, SIZE));
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_MESSAGES), 3);
	close(a);
	end(&f);
}

/* The end of input is answered, too. */
static void test_drain_at_the_end(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	a = connect_client(&f);
	say(a, "no terminator");
	shutdown(a, SHUT_WR);
	drain(&f);
	expect(&f, a, "Got no terminator");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* Half a line is not answered, because its rest may still come, and is not waited for. */
static void test_drain_in_a_line(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";");
	a = connect_client(&f);
	say(a, "one\nhalf");
	drain(&f);
	expect(&f, a, "Got one\n");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* A drain ends by a NAK like any other session. */
static void test_drain_with_nak(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "");
	a = connect_client(&f);
	say(a, "\xff"
	       "abc");
	drain(&f);
	say(a, "dropped");
	expect(&f, a, "NAK 0 invalid start byte\n");
	say(a, "dropped");
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* Pending output is delivered before the connection ends. */
static void test_drain_under_backpressure(void **state)
{
	struct fixture f;
	struct conn *c;
	size_t n;
	int a;

	begin(&f, "reply = \"echo\";");
	a = connect_small(&f);
	c = last_conn(&f, QUEUE_IDLE);
	n = fill(&f, a);
	assert_int_equal(c->state, CONN_SENDING);
	drain(&f);
	assert_int_equal(c->state, CONN_SENDING);
	free(receive_all(&f, a, n));
	step(&f);
	expect_end(&f, a);
	close(a);
	end(&f);
}

/* The PROXY header has arrived, with a message after it. */
static void test_drain_with_proxy_header(void **state)
{
	struct fixture f;
	int a, b, c;

	begin(&f, "proxies = [ \"unix\" ]; greeting = \"hi \";");
	a = connect_client(&f);
	b = connect_client(&f);
	c = connect_client(&f);
	say(a, "PROXY UNKNOWN\r\nmessage");
	say(b, "PROXY UNKNOWN\r\n");
	say(c, "PROXY UNK");
	drain(&f);
	expect(&f, a, "hi Got message");
	expect_end(&f, a);
	expect(&f, b, "hi ");
	expect_end(&f, b);
	expect_end(&f, c);
	close(a);
	close(b);
	close(c);
	end(&f);
}

/* A connection without any part of its PROXY header ends immediately. */
static void test_drain_before_proxy_header(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "proxies = [ \"unix\" ];");
	a = connect_client(&f);
	drain(&f);
	expect_end(&f, a);
	close(a);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_fairness),
		cmocka_unit_test(test_nak_in_a_turn),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_much),
		cmocka_unit_test(test_drain_at_the_end),
		cmocka_unit_test(test_drain_in_a_line),
		cmocka_unit_test(test_drain_with_nak),
		cmocka_unit_test(test_drain_under_backpressure),
		cmocka_unit_test(test_drain_with_proxy_header),
		cmocka_unit_test(test_drain_before_proxy_header),
	};

	return cmocka_run_group_tests_name("conn_turn", tests, NULL, NULL);
}
