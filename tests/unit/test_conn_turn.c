/* Turns of the loop: order, fairness, and how much a draining connection reads. */

#include "conn_fixture.h"

#include "ackd/conn/reactor.h"

#include <sys/resource.h>

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

/*
 * More sockets are ready than libuv takes from epoll at a time, so it reports the first ones again
 * in the same iteration, while their input is unanswered. A long message ends the turn early.
 */
static void connect_many(struct fixture *f, int *fds, unsigned n)
{
	static char text[64000];

	memset(text, 'x', sizeof(text) - 2);
	text[sizeof(text) - 2] = '\n';
	for (unsigned i = 0; i < n; i++)
		fds[i] = connect_client(f);
	for (unsigned i = 0; i < n; i++) {
		say(fds[i], i == 30 ? text : "message\n");
		shutdown(fds[i], SHUT_WR);
	}
}

#define MANY 1034

static void many_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_true(limit.rlim_max >= 3 * MANY); /* tests/surroundings.py asks for more */
}

static void test_end_of_input_after_unanswered_input(void **state)
{
	struct fixture f;
	int fds[MANY];

	many_descriptors();
	begin(&f, "framing = \"line\"; reply = \"echo\";");
	connect_many(&f, fds, MANY);
	for (int i = 0; i < 3; i++)
		step(&f);
	for (int i = 0; i < MANY; i++) {
		if (i == 30)
			free(receive_all(&f, fds[i], 63999));
		else
			expect(&f, fds[i], "message\n");
		expect_end(&f, fds[i]);
		close(fds[i]);
	}
	assert_int_equal(count_of(&f, COUNTER_MESSAGES), MANY);
	end(&f);
}

/* The same without memory for incomplete lines: those connections are closed. */
static void test_end_of_input_after_out_of_memory(void **state)
{
	struct fixture f;
	int fds[MANY];

	many_descriptors();
	begin(&f, "framing = \"line\";");
	for (int i = 0; i < MANY; i++) {
		fds[i] = connect_client(&f);
		say(fds[i], i % 2 ? "half a line" : "line\n");
	}
	take_memory(&f, 0);
	step(&f);
	for (int i = 0; i < MANY; i++) {
		if (i % 2)
			expect_end(&f, fds[i]);
		else
			expect(&f, fds[i], "Got line\n");
		close(fds[i]);
	}
	give_memory(&f);
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
	static const char *const texts[] = {"f", "", "f\xc3"};
	static const char *const replies[] = {"Got half", "Got hal",
					      "NAK 4 unexpected end of data\n"};
	struct fixture f;
	int fds[3];

	begin(&f, "framing = \"line\";");
	for (int i = 0; i < 3; i++) {
		fds[i] = connect_client(&f);
		say(fds[i], "hal");
		expect(&f, fds[i], "");
	}
	for (int i = 0; i < 3; i++) {
		say(fds[i], texts[i]);
		shutdown(fds[i], SHUT_WR);
	}
	drain(&f);
	for (int i = 0; i < 3; i++) {
		expect(&f, fds[i], replies[i]);
		expect_end(&f, fds[i]);
		close(fds[i]);
	}
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

/* PROXY headers that have arrived: with messages, as a rest, alone, incomplete. */
static void test_drain_with_proxy_header(void **state)
{
	struct fixture f;
	int fds[4];

	begin(&f, "proxies = [ \"unix\" ]; greeting = \"hi \"; framing = \"line\";");
	for (int i = 0; i < 4; i++)
		fds[i] = connect_client(&f);
	say(fds[1], "PROXY UNK");
	step(&f);
	say(fds[0], "PROXY UNKNOWN\r\none\ntwo\nthr");
	say(fds[1], "NOWN\r\none\n");
	say(fds[2], "PROXY UNKNOWN\r\n");
	say(fds[3], "PROXY UNK");
	drain(&f);
	expect(&f, fds[0], "hi Got one\nGot two\n");
	expect(&f, fds[1], "hi Got one\n");
	expect(&f, fds[2], "hi ");
	for (int i = 0; i < 4; i++) {
		expect_end(&f, fds[i]);
		close(fds[i]);
	}
	end(&f);
}

/* The client in the header is refused. */
static void test_drain_of_a_refused_client(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "proxies = [ \"unix\" ]; deny = [ \"192.0.2.1\" ];");
	a = connect_client(&f);
	say(a, "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\none\n");
	drain(&f);
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_DENIED), 1);
	close(a);
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
		cmocka_unit_test(test_end_of_input_after_unanswered_input),
		cmocka_unit_test(test_end_of_input_after_out_of_memory),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_much),
		cmocka_unit_test(test_drain_at_the_end),
		cmocka_unit_test(test_drain_in_a_line),
		cmocka_unit_test(test_drain_with_nak),
		cmocka_unit_test(test_drain_under_backpressure),
		cmocka_unit_test(test_drain_with_proxy_header),
		cmocka_unit_test(test_drain_of_a_refused_client),
		cmocka_unit_test(test_drain_before_proxy_header),
	};

	return cmocka_run_group_tests_name("conn_turn", tests, NULL, NULL);
}
