/* Timeouts, each tested one millisecond before it is due and when it is due. */

#include "base/sock.h"
#include "conn_fixture.h"

#include <sys/eventfd.h>

/* How long a connection in a queue with this timeout stays: activity is exact to 1/64 of it. */
#define LIMIT(timeout_ms) ((timeout_ms) + (timeout_ms) / 64)

#define IDLE_MS 64000
#define IDLE "limits = { idle_timeout = 64; };"

static void test_idle(void **state)
{
	struct fixture f;
	int a;

	begin(&f, IDLE);
	a = connect_client(&f);
	advance(&f, LIMIT(IDLE_MS) - 1);
	expect(&f, a, "");
	advance(&f, 1);
	expect_end(&f, a);
	assert_int_equal(count_closed(&f, CONN_IDLE), 1);
	close(a);
	end(&f);
}

/* Activity within 1/64 of the timeout changes nothing; later activity restarts it. */
static void test_activity(void **state)
{
	struct fixture f;
	int a, b, c;

	begin(&f, IDLE);
	a = connect_client(&f);
	b = connect_client(&f);
	c = connect_client(&f);
	advance(&f, IDLE_MS / 64);
	say(a, "x");
	expect(&f, a, "Got x");
	advance(&f, 1);
	say(b, "x");
	expect(&f, b, "Got x");
	advance(&f, LIMIT(IDLE_MS) - 1 - IDLE_MS / 64);
	expect_end(&f, a);
	expect_end(&f, c);
	advance(&f, IDLE_MS / 64);
	expect(&f, b, "");
	advance(&f, 1);
	expect_end(&f, b);
	close(a);
	close(b);
	close(c);
	end(&f);
}

static void test_zero_timeout_disables_timer(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "limits = { idle_timeout = 0; };");
	a = connect_client(&f);
	advance(&f, UINT64_C(1000) * 60 * 60 * 24 * 365);
	say(a, "x");
	expect(&f, a, "Got x");
	close(a);
	end(&f);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct reactor *reactor = poll->data;

	uv_poll_stop(poll);
	reactor->ticker.cb(reactor->ticker.data);
}

/* The ticker may fire between the events of a turn. Input that was read before is activity. */
static void test_input_of_the_same_turn(void **state)
{
	struct fixture f;
	uv_poll_t tick;
	int a, b, ready;

	begin(&f, IDLE);
	a = connect_client(&f);
	b = connect_client(&f);
	step(&f);
	ready = eventfd(1, EFD_CLOEXEC);
	say(a, "x");
	assert_int_equal(uv_poll_init(&f.reactor.loop, &tick, ready), 0);
	tick.data = &f.reactor;
	assert_int_equal(uv_poll_start(&tick, UV_READABLE, on_readable), 0);
	uv_timer_stop(&f.reactor.ticker.watcher.timer);
	advance(&f, LIMIT(IDLE_MS));
	expect(&f, a, "Got x");
	expect_end(&f, b);
	uv_close((uv_handle_t *)&tick, NULL);
	close(ready);
	close(a);
	close(b);
	end(&f);
}

/* Each listener has its own timeout, also those that a reload has replaced. */
static void test_reload(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, IDLE);
	a = connect_client(&f);
	reload(&f, "limits = { idle_timeout = 1; };");
	b = connect_client(&f);
	advance(&f, LIMIT(1000));
	expect_end(&f, b);
	expect(&f, a, "");
	advance(&f, LIMIT(IDLE_MS) - LIMIT(1000));
	expect_end(&f, a);
	close(a);
	close(b);
	end(&f);
}

/* A slow reader that takes some data from time to time is not idle; one that takes none is. */
static void test_slow_reader(void **state)
{
	struct fixture f;
	struct conn *c;
	size_t n;
	int a;

	begin(&f, "reply = \"echo\";" IDLE);
	a = connect_small(&f);
	c = last_conn(&f, QUEUE_IDLE);
	n = fill(&f, a);
	assert_true(n > 0);
	for (int i = 0; i < 2; i++) {
		int unsent = sock_unsent(c->fd);
		char byte;

		advance(&f, LIMIT(IDLE_MS) - 1);
		/* the kernel has less to deliver, but no room yet for more */
		while (sock_unsent(c->fd) == unsent)
			assert_int_equal(recv(a, &byte, 1, 0), 1);
		advance(&f, 1);
		assert_int_equal(c->state, CONN_SENDING);
	}
	advance(&f, LIMIT(IDLE_MS) - 1);
	assert_int_equal(f.reactor.connections, 1);
	advance(&f, 1);
	assert_int_equal(f.reactor.connections, 0);
	close(a);
	end(&f);
}

/* The same after a pause, in which nothing was sent yet. */
static void test_slow_reader_after_a_pause(void **state)
{
	static char line[250000 + 1];
	size_t sent = 0;
	struct fixture f;
	struct conn *c;
	int a, unsent;
	char byte;

	begin(&f, "framing = \"line\"; limits = { max_line = \"256KiB\"; idle_timeout = 64; };"
		  "ack_prefix = \"\";"
		  "encoding = { reply_charset = \"ascii\"; reply_errors = \"ignore\"; };");
	a = connect_small(&f);
	c = last_conn(&f, QUEUE_IDLE);
	for (size_t i = 0; i < 200000; i += 2) /* not encodable */
		memcpy(line + i, "\xd0\x96", 2);
	memset(line + 200000, 'x', 50000);
	line[250000] = '\n';
	while (count_of(&f, COUNTER_RECEIVED_BYTES) < sizeof(line)) {
		ssize_t n = send(a, line + sent, sizeof(line) - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		step(&f);
	}
	assert_true(c->state == CONN_SENDING && !c->pending);
	for (int i = 0; i < STEPS_MAX && !c->pending; i++)
		step(&f);
	unsent = sock_unsent(c->fd);
	advance(&f, LIMIT(IDLE_MS) - 1);
	while (sock_unsent(c->fd) == unsent)
		assert_int_equal(recv(a, &byte, 1, 0), 1);
	advance(&f, 1);
	assert_int_equal(f.reactor.connections, 1);
	assert_int_equal(c->state, CONN_SENDING);
	close(a);
	end(&f);
}

/* A line that grows by a byte from time to time is not idle. */
static void test_growing_line(void **state)
{
	struct fixture f;
	int a;

	begin(&f, "framing = \"line\";" IDLE);
	a = connect_client(&f);
	for (int i = 0; i < 5; i++) {
		say(a, ".");
		step(&f);
		advance(&f, IDLE_MS - 1);
	}
	say(a, "\n");
	expect(&f, a, "Got .....\n");
	close(a);
	end(&f);
}

/* After a NAK the connection waits for the end of input, but not for ever. */
static void test_linger(void **state)
{
	struct fixture f;
	int a;

	begin(&f, IDLE);
	a = connect_client(&f);
	say(a, "\xff");
	expect(&f, a, "NAK 0 invalid start byte\n");
	advance(&f, LIMIT(LINGER_MS) / 2);
	say(a, "more input does not prolong it");
	advance(&f, LIMIT(LINGER_MS) - LIMIT(LINGER_MS) / 2 - 1);
	assert_int_equal(f.reactor.connections, 1);
	advance(&f, 1);
	assert_int_equal(f.reactor.connections, 0);
	close(a);
	end(&f);
}

static void test_proxy_header(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "proxies = [ \"unix\" ];" IDLE);
	a = connect_client(&f);
	b = connect_client(&f);
	say(b, "PROXY ");
	advance(&f, LIMIT(PROXY_MS) - 1);
	assert_int_equal(f.reactor.connections, 2);
	say(b, "TCP4 192.0.2.1 198.51.100.1 1 2\r\n");
	step(&f);
	advance(&f, 1);
	expect_end(&f, a);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_PROXY), 1);
	say(b, "x");
	expect(&f, b, "Got x");
	/* since its header, 1 ms ago, the connection is idle like any other */
	advance(&f, LIMIT(IDLE_MS) - 2);
	expect(&f, b, "");
	advance(&f, 1);
	expect_end(&f, b);
	close(a);
	close(b);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_activity),
		cmocka_unit_test(test_zero_timeout_disables_timer),
		cmocka_unit_test(test_input_of_the_same_turn),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_slow_reader_after_a_pause),
		cmocka_unit_test(test_growing_line),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_proxy_header),
	};

	if (!UNSENT_IS_KNOWN)
		cmocka_set_skip_filter("test_slow_reader*");
	return cmocka_run_group_tests_name("conn_time", tests, NULL, NULL);
}
