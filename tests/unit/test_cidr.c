/* cidr: accepted and rejected texts, and the choice of the longest prefix. */

#include "core/wire/cidr.h"

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
	cidr_list_sort(&list);
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

/* The address families are separate, although both are stored in 128 bits. */
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

/* ---- against a search through all items ---- */

static uint32_t random_below(uint32_t n)
{
	static uint64_t state = 88172645463325252U; /* xorshift64: the same numbers in every run */

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

static bool first_bits_equal(const uint8_t a[16], const uint8_t b[16], int n)
{
	int i = 0;

	while (i + 8 <= n && a[i / 8] == b[i / 8])
		i += 8;
	for (; i < n; i++) {
		if ((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8)
			return false;
	}
	return true;
}

/* Returns what cidr_list_match() must return, by comparing every item. */
static int search_all(const struct cidr *items, size_t n, const uint8_t address[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool is_ipv4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	int longest = -1;

	for (size_t i = 0; i < n; i++) {
		if (items[i].prefix > longest && !(is_ipv4 && items[i].prefix < 96) &&
		    first_bits_equal(items[i].address, address, items[i].prefix))
			longest = items[i].prefix;
	}
	return longest;
}

/* Fills @address with few different values, so that ranges nest and addresses fall into them. */
static void random_address(uint8_t address[16], bool ipv4, uint32_t variety)
{
	memset(address, 0, 16);
	for (int i = ipv4 ? 12 : 0; i < 16; i++)
		address[i] = (uint8_t)(random_below(variety) * 255 / variety);
	if (ipv4)
		address[10] = address[11] = 0xff;
}

static void random_range(struct cidr *ret_cidr, uint32_t variety)
{
	bool ipv4 = random_below(3) > 0;
	struct cidr cidr = {.prefix = (uint8_t)(ipv4 ? 96 + random_below(33) : random_below(129))};

	random_address(cidr.address, ipv4, variety);
	for (int i = cidr.prefix; i < 128; i++)
		cidr.address[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	*ret_cidr = cidr;
}

/* Looks up an address that is at, before or after an edge of a range, or anywhere. */
static void check_random_address(const struct cidr_list *list, const struct cidr *items, size_t n,
				 uint32_t variety)
{
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	const struct cidr *cidr = &items[random_below((uint32_t)n)];
	uint8_t *address = ipv6.sin6_addr.s6_addr;
	uint32_t where = random_below(4);
	int i = 15;

	random_address(address, random_below(3) > 0, variety);
	if (where < 3)
		memcpy(address, cidr->address, 16);
	if (where == 1) { /* the last of the range */
		for (int bit = cidr->prefix; bit < 128; bit++)
			address[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	} else if (where == 2) { /* the one before the range */
		while (i >= 0 && address[i]-- == 0)
			i--;
	}
	assert_int_equal(cidr_list_match(list, (struct sockaddr *)&ipv6),
			 search_all(items, n, address));
	memcpy(&ipv4.sin_addr, address + 12, 4);
	memset(address, 0, 12);
	address[10] = address[11] = 0xff;
	assert_int_equal(cidr_list_match(list, (struct sockaddr *)&ipv4),
			 search_all(items, n, address));
}

static void check_random_list(size_t n, unsigned lookups, uint32_t variety)
{
	struct cidr *items = calloc(n, sizeof(*items));
	struct cidr_list list = {.items = calloc(n, sizeof(*items)), .n = n};

	for (size_t i = 0; i < n; i++)
		random_range(&items[i], variety);
	memcpy(list.items, items, n * sizeof(*items));
	cidr_list_sort(&list);
	assert_true(list.n > 0 && list.n <= n);
	for (unsigned i = 0; i < lookups; i++)
		check_random_address(&list, items, n, variety);
	cidr_list_finish(&list);
	free(items);
}

static void test_match_random(void **state)
{
	static const uint32_t varieties[] = {2, 3, 5, 255};

	for (size_t v = 0; v < sizeof(varieties) / sizeof(varieties[0]); v++) {
		for (size_t n = 1; n <= 40; n++)
			check_random_list(n, 200, varieties[v]);
		check_random_list(3000, 100, varieties[v]);
	}
	check_random_list(200000, 20, 255);
}

/* A linear search would exceed the timeout of the test. */
static void test_match_many(void **state)
{
	enum { N = 200000, LOOKUPS = 400000 };
	struct cidr_list list = {.items = calloc(N, sizeof(struct cidr)), .n = N};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	unsigned n_found = 0;

	for (size_t i = 0; i < N; i++)
		random_range(&list.items[i], 255);
	cidr_list_sort(&list);
	for (unsigned i = 0; i < LOOKUPS; i++) {
		const struct cidr *cidr = &list.items[i % list.n];

		memcpy(ipv6.sin6_addr.s6_addr, cidr->address, 16);
		n_found += cidr_list_match(&list, (struct sockaddr *)&ipv6) >= cidr->prefix;
	}
	/* ranges that begin at ::ffff:0:0 and are wider than all of IPv4 do not have IPv4 */
	assert_in_range(n_found, LOOKUPS - LOOKUPS / 1000, LOOKUPS);
	cidr_list_finish(&list);
}

static void test_sort(void **state)
{
	const char *const texts[] = {"10.0.0.0/8", "::/0",	  "10.0.0.0/16", "10.0.0.0/8",
				     "10.0.0.0/8", "10.0.0.0/16", "9.0.0.0/8"};
	const char *const sorted[] = {"::/0", "9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16"};
	const uint32_t enclosing[] = {0, 1, 1, 3};
	struct cidr_list list = list_of(texts, sizeof(texts) / sizeof(texts[0]));
	struct cidr_list empty = {0};
	char text[CIDR_TEXT_MAX];

	assert_int_equal(list.n, sizeof(sorted) / sizeof(sorted[0]));
	for (size_t i = 0; i < list.n; i++) {
		assert_string_equal(cidr_format(&list.items[i], text), sorted[i]);
		assert_int_equal(list.items[i].enclosing, enclosing[i]);
	}
	cidr_list_finish(&list);
	cidr_list_sort(&empty);
	assert_int_equal(empty.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	       cmocka_unit_test(test_format),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_families), cmocka_unit_test(test_match_unix),
		cmocka_unit_test(test_match_random),   cmocka_unit_test(test_match_many),
		cmocka_unit_test(test_sort),
	};

	return cmocka_run_group_tests_name("cidr", tests, NULL, NULL);
}
