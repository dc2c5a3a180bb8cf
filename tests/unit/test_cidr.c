/* cidr: what parses, what is refused and why, and which prefix wins. */

#include "core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

static void check_parse(const char *text, const char *address, uint8_t prefix)
{
	struct cidr cidr, again;
	char written[CIDR_TEXT_MAX];
	uint8_t expected[16];

	assert_int_equal(inet_pton(AF_INET6, address, expected), 1);
	assert_int_equal(cidr_parse(text, &cidr), 0);
	assert_memory_equal(cidr.address, expected, 16);
	assert_int_equal(cidr.prefix, prefix);
	assert_int_equal(cidr_parse(cidr_format(&cidr, written), &again), 0);
	assert_memory_equal(&again, &cidr, sizeof(cidr));
}

static void check_format(const char *text, const char *expected)
{
	struct cidr cidr;
	char written[CIDR_TEXT_MAX];

	assert_int_equal(cidr_parse(text, &cidr), 0);
	assert_string_equal(cidr_format(&cidr, written), expected);
}

static void test_format(void **state)
{
	check_format("192.0.2.1", "192.0.2.1/32");
	check_format("0.0.0.0/0", "0.0.0.0/0");
	check_format("::ffff:192.0.2.0/120", "192.0.2.0/24");
	check_format("2001:db8:0::/48", "2001:db8::/48");
	check_format("::/0", "::/0");
}

static void test_parse(void **state)
{
	check_parse("192.0.2.0/24", "::ffff:192.0.2.0", 120);
	check_parse("192.0.2.1", "::ffff:192.0.2.1", 128);
	check_parse("0.0.0.0/0", "::ffff:0.0.0.0", 96);
	check_parse("128.0.0.0/1", "::ffff:128.0.0.0", 97);
	check_parse("192.0.2.1/32", "::ffff:192.0.2.1", 128);
	check_parse("2001:db8::/32", "2001:db8::", 32);
	check_parse("::/0", "::", 0);
	check_parse("::1", "::1", 128);
	check_parse("fe80::/10", "fe80::", 10);
	check_parse("::ffff:192.0.2.0/120", "::ffff:192.0.2.0", 120);
}

static void check_refused(const char *text, int error)
{
	struct cidr cidr = {.prefix = 77};

	assert_int_equal(cidr_parse(text, &cidr), error);
	assert_int_equal(cidr.prefix, 77);
}

static void test_refused(void **state)
{
	check_refused("", -EINVAL);
	check_refused("/8", -EINVAL);
	check_refused("unix", -EINVAL);
	check_refused("example.org/8", -EINVAL);
	check_refused("192.0.2/24", -EINVAL);
	check_refused("192.0.2.256", -EINVAL);
	check_refused("192.0.2.1 ", -EINVAL);
	check_refused("fe80::1%lo", -EINVAL);
	check_refused("[::1]", -EINVAL);
	check_refused("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", -EINVAL);
	check_refused("10.0.0.0/", -ERANGE);
	check_refused("10.0.0.0/33", -ERANGE);
	check_refused("10.0.0.0/4294967304", -ERANGE);
	check_refused("10.0.0.0/-1", -ERANGE);
	check_refused("10.0.0.0/+8", -ERANGE);
	check_refused("10.0.0.0/08", -ERANGE);
	check_refused("10.0.0.0/8/8", -ERANGE);
	check_refused("10.0.0.0/255.0.0.0", -ERANGE);
	check_refused("::/129", -ERANGE);
	check_refused("10.0.0.1/31", -EDOM);
	check_refused("10.0.0.0/6", -EDOM);
	check_refused("0.0.0.1/0", -EDOM);
	check_refused("2001:db8::1/127", -EDOM);
	check_refused("8000::/0", -EDOM);
}

static int match(const struct cidr_list *list, const char *address)
{
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1)
		return cidr_list_match(list, (struct sockaddr *)&ipv4);
	assert_int_equal(inet_pton(AF_INET6, address, &ipv6.sin6_addr), 1);
	return cidr_list_match(list, (struct sockaddr *)&ipv6);
}

static struct cidr_list list_of(const char *const *texts, size_t n)
{
	struct cidr_list list = {.items = calloc(n, sizeof(struct cidr)), .n = n};

	for (size_t i = 0; i < n; i++)
		assert_int_equal(cidr_parse(texts[i], &list.items[i]), 0);
	return list;
}

static void test_match(void **state)
{
	const char *const texts[] = {"10.0.0.0/8",    "10.1.0.0/16", "10.1.2.3",
				     "2001:db8::/33", "::1",	     "10.0.0.0/7"};
	struct cidr_list list = list_of(texts, sizeof(texts) / sizeof(texts[0]));

	assert_int_equal(match(&list, "10.2.0.0"), 104);
	assert_int_equal(match(&list, "10.1.255.255"), 112);
	assert_int_equal(match(&list, "10.1.2.3"), 128);
	assert_int_equal(match(&list, "10.1.2.2"), 112);
	assert_int_equal(match(&list, "11.255.255.255"), 103);
	assert_int_equal(match(&list, "12.0.0.0"), -1);
	assert_int_equal(match(&list, "9.255.255.255"), -1);
	assert_int_equal(match(&list, "::ffff:10.1.2.3"), 128);
	assert_int_equal(match(&list, "2001:db8:7fff:ffff::"), 33);
	assert_int_equal(match(&list, "2001:db8:8000::"), -1);
	assert_int_equal(match(&list, "::1"), 128);
	assert_int_equal(match(&list, "::"), -1);
	cidr_list_finish(&list);
	assert_int_equal(list.n, 0);
	assert_int_equal(match(&list, "::1"), -1);
	cidr_list_finish(&list);
}

/* The families are apart, although both are kept in 128 bits. */
static void test_match_families(void **state)
{
	const char *const ipv6[] = {"::/0"};
	const char *const ipv4[] = {"0.0.0.0/0"};
	struct cidr_list list = list_of(ipv6, 1);

	assert_int_equal(match(&list, "2001:db8::1"), 0);
	assert_int_equal(match(&list, "192.0.2.1"), -1);
	cidr_list_finish(&list);
	list = list_of(ipv4, 1);
	assert_int_equal(match(&list, "2001:db8::1"), -1);
	assert_int_equal(match(&list, "192.0.2.1"), 96);
	cidr_list_finish(&list);
}

static void test_match_unix(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct cidr_list list = {0};

	assert_int_equal(cidr_list_match(&list, (struct sockaddr *)&address), -1);
	list.has_unix = true;
	assert_int_equal(cidr_list_match(&list, (struct sockaddr *)&address), 128);
	assert_int_equal(match(&list, "::1"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	       cmocka_unit_test(test_format),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_families), cmocka_unit_test(test_match_unix),
	};

	return cmocka_run_group_tests_name("cidr", tests, NULL, NULL);
}
