/* Admission and refusal by a listener, PROXY headers, and the lifetime of a listener. */

#include "conn_fixture.h"

#define TOO_MANY "NAK 0 too many connections\n"

static uint64_t refused(const struct fixture *f, enum refusal refusal)
{
	return count_of(f, COUNTER_REFUSED + refusal);
}

/* The first connection above the limit gets a NAK; a place that is freed is used again. */
static void test_max_connections_is_enforced(void **state)
{
	struct fixture f;
	int a, b, c;

	begin(&f, "limits = { max_connections = 2; };");
	a = connect_client(&f);
	b = connect_client(&f);
	assert_int_equal(refused(&f, REFUSAL_CONNECTIONS), 0);
	c = connect_client(&f);
	assert_int_equal(refused(&f, REFUSAL_CONNECTIONS), 1);
	assert_int_equal(last_conn(&f, QUEUE_LINGER)->place, PLACE_REFUSAL);
	expect(&f, c, TOO_MANY);
	expect_end(&f, c);
	close(c);
	close(a);
	step(&f);
	c = connect_client(&f);
	say(c, "hello");
	expect(&f, c, "Got hello");
	close(b);
	close(c);
	end(&f);
	assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 3);
	assert_int_equal(count_of(&f, COUNTER_CLOSED), 3);
}

static void test_max_connections_per_address_is_enforced(void **state)
{
	struct fixture f;
	int a, b, c;

	begin(&f, "limits = { max_connections_per_address = 1; };");
	a = connect_from(&f, "192.0.2.1");
	b = connect_from(&f, "192.0.2.2");
	c = connect_from(&f, "192.0.2.1");
	assert_int_equal(refused(&f, REFUSAL_PER_ADDRESS), 1);
	expect(&f, c, TOO_MANY);
	expect_end(&f, c);
	close(a);
	close(b);
	close(c);
	end(&f);
}

/* At most LIMITS_REFUSALS_MAX refused clients wait for their end; others are closed immediately. */
static void test_excess_refused_clients_are_closed_immediately(void **state)
{
	int a, fds[LIMITS_REFUSALS_MAX], last;
	struct fixture f;

	begin(&f, "limits = { max_connections = 1; };");
	a = connect_client(&f);
	for (int i = 0; i < LIMITS_REFUSALS_MAX; i++) {
		fds[i] = connect_client(&f);
		expect(&f, fds[i], TOO_MANY);
	}
	assert_int_equal(queue_length(&f, QUEUE_LINGER), LIMITS_REFUSALS_MAX);
	last = connect_client(&f);
	expect_end(&f, last);
	close(last);
	for (int i = 0; i < LIMITS_REFUSALS_MAX; i++)
		close(fds[i]);
	step(&f);
	last = connect_client(&f);
	expect(&f, last, TOO_MANY);
	close(last);
	close(a);
	end(&f);
	assert_int_equal(refused(&f, REFUSAL_CONNECTIONS), LIMITS_REFUSALS_MAX + 2);
}

/* Without NAKs in the configuration a refused client sees only the end. */
static void test_refusal_without_nak(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "nak = false; limits = { max_connections = 1; };");
	a = connect_client(&f);
	b = connect_client(&f);
	expect_end(&f, b);
	close(a);
	close(b);
	end(&f);
}

/* A client that the access lists exclude is closed without an answer. */
static void test_denied(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, "deny = [ \"192.0.2.0/24\" ]; greeting = \"hi\";");
	a = connect_from(&f, "192.0.2.1");
	expect_end(&f, a);
	b = connect_from(&f, "198.51.100.1");
	expect(&f, b, "hi");
	assert_int_equal(refused(&f, REFUSAL_DENIED), 1);
	close(a);
	close(b);
	end(&f);
}

/* After a reload a connection keeps its settings; its listener ends with it. */
static void test_reload(void **state)
{
	struct listener *old;
	struct fixture f;
	int a, b, c;

	begin(&f, "ack_prefix = \"old \";");
	a = connect_client(&f);
	b = connect_client(&f);
	old = f.listener;
	assert_int_equal(old->references, 3);
	reload(&f, "ack_prefix = \"new \";");
	assert_int_equal(old->references, 2);
	assert_ptr_equal(f.reactor.listeners.next, &old->node);
	assert_ptr_equal(f.reactor.listeners.previous, &f.listener->node);
	c = connect_client(&f);
	say(a, "a");
	say(c, "c");
	expect(&f, a, "old a");
	expect(&f, c, "new c");
	close(a);
	step(&f);
	assert_int_equal(old->references, 1);
	close(b);
	step(&f);
	assert_ptr_equal(f.reactor.listeners.next, &f.listener->node);
	close(c);
	end(&f);
}

/* A listener without connections ends with the reload. */
static void test_reload_ends_listener_without_connections(void **state)
{
	struct fixture f;

	begin(&f, "");
	reload(&f, "");
	assert_ptr_equal(f.reactor.listeners.next, &f.listener->node);
	assert_ptr_equal(f.reactor.listeners.previous, &f.listener->node);
	end(&f);
}

/* ---- PROXY headers ---- */

#define PROXIED "proxies = [ \"unix\" ];"
#define HEADER "PROXY TCP4 192.0.2.1 198.51.100.1 4711 10080\r\n"

/* The header identifies the client; what follows it is answered in the same iteration. */
static void test_proxy(void **state)
{
	struct fixture f;
	int a;

	begin(&f, PROXIED "greeting = \"${peer}\\n\";");
	a = connect_client(&f);
	assert_int_equal(last_conn(&f, QUEUE_PROXY_HEADER)->place, PLACE_PROXY);
	expect(&f, a, "");
	say(a, HEADER "hello");
	expect(&f, a, "192.0.2.1:4711\nGot hello");
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->place, PLACE_CLIENT);
	assert_int_equal(count_of(&f, COUNTER_RECEIVED_BYTES), strlen("hello"));
	close(a);
	end(&f);
}

/* Version 2 of HEADER. */
static const char header_v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
				"\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\x27\x60";

/* Every byte of a header arrives alone. */
static void test_proxy_in_pieces(void **state)
{
	static const struct iovec headers[] = {
		{(void *)(uintptr_t)HEADER, sizeof(HEADER) - 1},
		{(void *)(uintptr_t)header_v2, sizeof(header_v2) - 1},
	};

	for (int v = 0; v < 2; v++) {
		const char *header = headers[v].iov_base;
		struct fixture f;
		int a;

		begin(&f, PROXIED "ack_prefix = \"${peer} \";");
		a = connect_client(&f);
		for (size_t i = 0; i < headers[v].iov_len; i++) {
			assert_int_equal(queue_length(&f, QUEUE_PROXY_HEADER), 1);
			assert_int_equal(send(a, header + i, 1, MSG_NOSIGNAL), 1);
			expect(&f, a, "");
		}
		assert_int_equal(queue_length(&f, QUEUE_IDLE), 1);
		assert_int_equal(budget_used(&f.limits.budget), 0);
		say(a, "hello");
		expect(&f, a, "192.0.2.1:4711 hello");
		close(a);
		end(&f);
	}
}

static void test_proxy_invalid(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, PROXIED);
	a = connect_client(&f);
	say(a, "GET / HTTP/1.1\r\n");
	step(&f);
	assert_int_equal(refused(&f, REFUSAL_PROXY), 1);
	assert_int_equal(f.reactor.connections, 0);
	/* the header is cut off by the end of input */
	b = connect_client(&f);
	say(b, "PROXY TCP4 192.0.2.1");
	step(&f);
	shutdown(b, SHUT_WR);
	expect_end(&f, b);
	assert_int_equal(refused(&f, REFUSAL_PROXY), 2);
	close(a);
	close(b);
	end(&f);
	assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 0);
	assert_int_equal(count_of(&f, COUNTER_CLOSED), 0);
}

/* A connection that is closed without a byte is a health check, not a refusal. */
static void test_health_check(void **state)
{
	struct fixture f;
	int a;

	begin(&f, PROXIED);
	a = connect_client(&f);
	close(a);
	step(&f);
	assert_int_equal(count_of(&f, COUNTER_HEALTH_CHECKS), 1);
	assert_int_equal(refused(&f, REFUSAL_PROXY), 0);
	end(&f);
}

/* Only a proxy in the list may connect. */
static void test_only_listed_proxies_are_admitted(void **state)
{
	struct fixture f;
	int a;

	begin(&f, PROXIED);
	a = connect_from(&f, "192.0.2.1");
	expect_end(&f, a);
	assert_int_equal(refused(&f, REFUSAL_DENIED), 1);
	close(a);
	end(&f);
}

/* The limit per address counts the client, not the proxy. The refused client gets a NAK. */
static void test_proxy_refusal(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, PROXIED "limits = { max_connections_per_address = 1; };");
	a = connect_client(&f);
	b = connect_client(&f);
	assert_int_equal(atomic_load(&f.limits.open), 2);
	say(a, HEADER);
	say(b, HEADER "dropped");
	step(&f);
	assert_int_equal(atomic_load(&f.limits.open), 1);
	assert_int_equal(atomic_load(&f.limits.refusing), 1);
	expect(&f, b, TOO_MANY);
	expect_end(&f, b);
	say(a, "hello");
	expect(&f, a, "Got hello");
	close(a);
	close(b);
	end(&f);
}

/* Connections that wait for their header count towards max_connections. */
static void test_proxy_places(void **state)
{
	struct fixture f;
	int a, b;

	begin(&f, PROXIED "limits = { max_connections = 1; };");
	a = connect_client(&f);
	b = connect_client(&f);
	expect(&f, b, TOO_MANY);
	say(a, HEADER "x");
	expect(&f, a, "Got x");
	close(a);
	close(b);
	end(&f);
}

/* Without memory for half a header the connection is refused. */
static void test_proxy_without_memory(void **state)
{
	struct fixture f;
	int a;

	begin(&f, PROXIED);
	a = connect_client(&f);
	take_memory(&f, PROXY_PENDING_MIN - 1);
	say(a, "PROXY ");
	step(&f);
	assert_int_equal(refused(&f, REFUSAL_MEMORY), 1);
	assert_int_equal(f.reactor.connections, 0);
	give_memory(&f);
	close(a);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_max_connections_is_enforced),
		cmocka_unit_test(test_max_connections_per_address_is_enforced),
		cmocka_unit_test(test_excess_refused_clients_are_closed_immediately),
		cmocka_unit_test(test_refusal_without_nak),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_ends_listener_without_connections),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_proxy_in_pieces),
		cmocka_unit_test(test_proxy_invalid),
		cmocka_unit_test(test_health_check),
		cmocka_unit_test(test_only_listed_proxies_are_admitted),
		cmocka_unit_test(test_proxy_refusal),
		cmocka_unit_test(test_proxy_places),
		cmocka_unit_test(test_proxy_without_memory),
	};

	return cmocka_run_group_tests_name("conn_listener", tests, NULL, NULL);
}
