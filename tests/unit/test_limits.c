/* Limits shared by all workers: each bound at N and N + 1; all places are freed. */

#include "ackd/limits/limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct address address(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(1)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return address_from_sockaddr((struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return address_from_sockaddr((struct sockaddr *)&in6);
}

static void test_max_connections(void **state)
{
	struct address a = address("192.0.2.1");
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	assert_int_equal(limits_configure(&limits, 3, 0, 0), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_CONNECTIONS);
	limits_release(&limits, &a);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	limits_finish(&limits);
}

/* The last place is passed on without becoming free; only the count of the address changes. */
static void test_place_can_be_passed_on(void **state)
{
	struct address unix_socket = {.family = AF_UNIX}, a = address("192.0.2.1");
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	limits_configure(&limits, 2, 1, 0);
	assert_int_equal(limits_admit(&limits, &unix_socket), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &unix_socket), REFUSAL_NONE);
	assert_int_equal(limits_pass_on(&limits, &a), REFUSAL_NONE);
	assert_int_equal(limits_pass_on(&limits, &a), REFUSAL_PER_ADDRESS);
	assert_int_equal(limits_admit(&limits, &unix_socket), REFUSAL_CONNECTIONS);
	limits_release(&limits, &a);
	assert_int_equal(limits_pass_on(&limits, &a), REFUSAL_NONE);
	limits_release(&limits, &a);
	assert_int_equal(limits_admit(&limits, &unix_socket), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &unix_socket), REFUSAL_NONE);
	limits_finish(&limits);
}

static void test_descriptor_limit(void **state)
{
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	/* no descriptors are left for connections: one is still served */
	assert_int_equal(limits_configure(&limits, 100, 0, UINT64_MAX), 1);
	limits_finish(&limits);
}

static void test_per_address(void **state)
{
	struct address a = address("192.0.2.1"), b = address("192.0.2.2");
	struct address mapped = address("::ffff:192.0.2.1");
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	limits_configure(&limits, 100, 2, 0);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &mapped), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_PER_ADDRESS);
	assert_int_equal(limits_admit(&limits, &b), REFUSAL_NONE);
	limits_release(&limits, &a);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	limits_finish(&limits);
}

static void test_ipv6_counts_by_64(void **state)
{
	struct address a = address("2001:db8::1"), b = address("2001:db8::ffff:2");
	struct address other = address("2001:db8:0:1::1");
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	limits_configure(&limits, 100, 1, 0);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &b), REFUSAL_PER_ADDRESS);
	assert_int_equal(limits_admit(&limits, &other), REFUSAL_NONE);
	limits_finish(&limits);
}

static void test_unix_sockets_have_no_per_address_limit(void **state)
{
	struct address a = {.family = AF_UNIX};
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	limits_configure(&limits, 3, 1, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
	assert_int_equal(limits_admit(&limits, &a), REFUSAL_CONNECTIONS);
	limits_finish(&limits);
}

static void test_handshakes(void **state)
{
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	assert_false(limits_handshake_begin(&limits, 400));
	limits_configure_handshakes(&limits, 2);
	assert_true(limits_handshake_begin(&limits, 400));
	assert_true(limits_handshake_begin(&limits, 400));
	assert_false(limits_handshake_begin(&limits, 400));
	limits_handshake_end(&limits, 400);
	assert_true(limits_handshake_begin(&limits, 400));
	limits_configure_handshakes(&limits, 1); /* fewer than there are */
	limits_handshake_end(&limits, 400);
	assert_false(limits_handshake_begin(&limits, 400));
	limits_handshake_end(&limits, 400);
	assert_true(limits_handshake_begin(&limits, 400));
	/* a place without the memory is none */
	limits_configure_handshakes(&limits, 3);
	assert_false(limits_handshake_begin(&limits, 601));
	assert_true(limits_handshake_begin(&limits, 600));
	assert_int_equal(budget_used(&limits.budget), 1000);
	limits_handshake_end(&limits, 600);
	limits_handshake_end(&limits, 400);
	assert_int_equal(budget_used(&limits.budget), 0);
	limits_finish(&limits);
}

static void test_many_addresses(void **state)
{
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	limits_configure(&limits, 10000, 1, 0);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 5000; i++) {
			struct address a = {.family = AF_INET};

			memcpy(a.bytes, &i, 4);
			assert_int_equal(limits_admit(&limits, &a), REFUSAL_NONE);
			assert_int_equal(limits_admit(&limits, &a), REFUSAL_PER_ADDRESS);
		}
		for (uint32_t i = 0; i < 5000; i++) {
			struct address a = {.family = AF_INET};

			memcpy(a.bytes, &i, 4);
			limits_release(&limits, &a);
		}
	}
	assert_int_equal(atomic_load(&limits.open), 0);
	limits_finish(&limits);
}

static void test_refusals(void **state)
{
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	for (int i = 0; i < LIMITS_REFUSALS_MAX; i++)
		assert_true(limits_refusal_begin(&limits));
	assert_false(limits_refusal_begin(&limits));
	limits_refusal_end(&limits);
	assert_true(limits_refusal_begin(&limits));
	limits_finish(&limits);
}

static void test_numbers(void **state)
{
	struct limits limits;

	assert_int_equal(limits_init(&limits, 1000), 0);
	assert_int_equal(limits_number(&limits), 1);
	assert_int_equal(limits_number(&limits), 2);
	limits_finish(&limits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_max_connections),
		cmocka_unit_test(test_place_can_be_passed_on),
		cmocka_unit_test(test_descriptor_limit),
		cmocka_unit_test(test_per_address),
		cmocka_unit_test(test_ipv6_counts_by_64),
		cmocka_unit_test(test_unix_sockets_have_no_per_address_limit),
		cmocka_unit_test(test_handshakes),
		cmocka_unit_test(test_many_addresses),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
