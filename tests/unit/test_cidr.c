/* Address ranges: what is one, and which is the longest that an address falls in. */

#include "core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int result;
		int prefix;
	} cases[] = {
		{"192.0.2.0/24", 0, 120},
		{"192.0.2.1", 0, 128},
		{"0.0.0.0/0", 0, 96},
		{"255.255.255.255/32", 0, 128},
		{"2001:db8::/32", 0, 32},
		{"::/0", 0, 0},
		{"::1", 0, 128},
		{"fe80::1/128", 0, 128},
		{"192.0.2.0/33", -ERANGE, 0},
		{"2001:db8::/129", -ERANGE, 0},
		{"192.0.2.0/", -ERANGE, 0},
		{"192.0.2.0/-1", -ERANGE, 0},
		{"192.0.2.0/4294967304", -ERANGE, 0},
		{"192.0.2.0/24x", -ERANGE, 0},
		{"192.0.2.1/24", -EDOM, 0},
		{"2001:db8::1/64", -EDOM, 0},
		{"0.0.0.1/0", -EDOM, 0},
		{"", -EINVAL, 0},
		{"/8", -EINVAL, 0},
		{"localhost", -EINVAL, 0},
		{"192.0.2", -EINVAL, 0},
		{"256.0.0.0/8", -EINVAL, 0},
		{"2001:db8:::/32", -EINVAL, 0},
		{"11111111111111111111111111111111111111111111111111111/8", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cidr cidr;
		int r = cidr_parse(cases[i].text, &cidr);

		if (r != cases[i].result)
			fail_msg("%s: %d instead of %d", cases[i].text, r, cases[i].result);
		if (r == 0 && cidr.prefix != cases[i].prefix)
			fail_msg("%s: prefix %d", cases[i].text, cidr.prefix);
	}
}

static int match(const struct cidr_list *list, const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return cidr_list_match(list, (struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return cidr_list_match(list, (struct sockaddr *)&in6);
}

static void test_longest_prefix(void **state)
{
	static const char *const ranges[] = {"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3",
					     "2001:db8::/32", "2001:db8:8000::/33"};
	struct cidr items[5];
	struct cidr_list list = {.items = items, .n = 5};

	for (size_t i = 0; i < 5; i++)
		assert_int_equal(cidr_parse(ranges[i], &items[i]), 0);
	assert_int_equal(match(&list, "10.1.2.3"), 128);
	assert_int_equal(match(&list, "10.1.2.4"), 112);
	assert_int_equal(match(&list, "10.2.0.0"), 104);
	assert_int_equal(match(&list, "11.0.0.0"), -1);
	assert_int_equal(match(&list, "::ffff:10.1.2.3"), 128);
	assert_int_equal(match(&list, "2001:db8::1"), 32);
	assert_int_equal(match(&list, "2001:db8:8000::1"), 33);
	assert_int_equal(match(&list, "2001:db9::1"), -1);
}

static void test_every_prefix_length(void **state)
{
	for (unsigned prefix = 0; prefix <= 128; prefix++) {
		struct cidr item = {.prefix = (uint8_t)prefix};
		struct cidr_list list = {.items = &item, .n = 1};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

		/* the last bit of the prefix differs, and the first after it */
		if (prefix > 0) {
			in6.sin6_addr.s6_addr[(prefix - 1) / 8] =
				(uint8_t)(0x80 >> (prefix - 1) % 8);
			assert_int_equal(cidr_list_match(&list, (struct sockaddr *)&in6), -1);
			in6.sin6_addr.s6_addr[(prefix - 1) / 8] = 0;
		}
		if (prefix < 128)
			in6.sin6_addr.s6_addr[prefix / 8] = (uint8_t)(0x80 >> prefix % 8);
		assert_int_equal(cidr_list_match(&list, (struct sockaddr *)&in6), (int)prefix);
	}
}

static void test_unix(void **state)
{
	const struct sockaddr unix_peer = {.sa_family = AF_UNIX};
	struct cidr_list none = {0}, list = {.has_unix = true};

	assert_int_equal(cidr_list_match(&none, &unix_peer), -1);
	assert_int_equal(cidr_list_match(&list, &unix_peer), 128);
	assert_int_equal(match(&list, "127.0.0.1"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_longest_prefix),
		cmocka_unit_test(test_every_prefix_length),
		cmocka_unit_test(test_unix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
