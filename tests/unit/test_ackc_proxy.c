/* ackc's PROXY headers: the parser of core/wire/proxy.h accepts what ackc writes. */

#include "ackc/net/target.h"
#include "core/wire/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage ipv4(const char *address, uint16_t port)
{
	struct sockaddr_storage s = {.ss_family = AF_INET};

	assert_int_equal(inet_pton(AF_INET, address, &((struct sockaddr_in *)&s)->sin_addr), 1);
	((struct sockaddr_in *)&s)->sin_port = htons(port);
	return s;
}

static struct sockaddr_storage ipv6(const char *address, uint16_t port)
{
	struct sockaddr_storage s = {.ss_family = AF_INET6};

	assert_int_equal(inet_pton(AF_INET6, address, &((struct sockaddr_in6 *)&s)->sin6_addr), 1);
	((struct sockaddr_in6 *)&s)->sin6_port = htons(port);
	return s;
}

static const char *text_of(const struct sockaddr_storage *s)
{
	static char text[80];
	char address[INET6_ADDRSTRLEN];

	if (s->ss_family == AF_INET) {
		const struct sockaddr_in *a = (const struct sockaddr_in *)s;

		inet_ntop(AF_INET, &a->sin_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "%s %u", address, ntohs(a->sin_port));
	} else {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)s;

		inet_ntop(AF_INET6, &a->sin6_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "%s %u", address, ntohs(a->sin6_port));
	}
	return text;
}

/* Makes the header that @choice means. Returns the source that the parser finds, or "none". */
static const char *source_of(const char *choice, const struct sockaddr_storage *local,
			     const struct sockaddr_storage *peer)
{
	struct proxy_choice c;
	uint8_t out[PROXY_SEND_MAX];
	struct proxy_header header;
	const char *reason = NULL;
	size_t n;

	assert_true(proxy_choice_parse(choice, &c));
	n = proxy_send_make(&c, local, peer, out);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(proxy_parse(out, i, &header, &reason), PROXY_MORE);
	assert_int_equal(proxy_parse(out, n, &header, &reason), PROXY_COMPLETE);
	assert_int_equal(header.length, n);
	return header.has_source ? text_of(&header.source) : "none";
}

static void test_parser_accepts_each_generated_header(void **state)
{
	struct sockaddr_storage a = ipv4("192.0.2.1", 1234);
	struct sockaddr_storage b = ipv4("192.0.2.2", 7);
	struct sockaddr_storage c = ipv6("2001:db8::1", 1234);
	struct sockaddr_storage d = ipv6("2001:db8::2", 7);
	struct sockaddr_storage e = {.ss_family = AF_UNIX};

	(void)state;
	for (int version = 1; version <= 2; version++) {
		char choice[80];

		snprintf(choice, sizeof(choice), "v%d", version);
		assert_string_equal(source_of(choice, &a, &b), "192.0.2.1 1234");
		assert_string_equal(source_of(choice, &c, &d), "2001:db8::1 1234");
		assert_string_equal(source_of(choice, &e, &e), "none");
		snprintf(choice, sizeof(choice), "v%d,198.51.100.9:65535", version);
		assert_string_equal(source_of(choice, &a, &b), "198.51.100.9 65535");
		assert_string_equal(source_of(choice, &c, &d), "::ffff:198.51.100.9 65535");
		assert_string_equal(source_of(choice, &e, &e), "198.51.100.9 65535");
		snprintf(choice, sizeof(choice), "v%d,[2001:db8::ffff]:1", version);
		assert_string_equal(source_of(choice, &a, &b), "2001:db8::ffff 1");
		assert_string_equal(source_of(choice, &c, &d), "2001:db8::ffff 1");
		assert_string_equal(source_of(choice, &e, &e), "2001:db8::ffff 1");
	}
}

static void test_destination_addresses(void **state)
{
	static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 7\r\n";
	static const char longest[] = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
				      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
	static const uint8_t v2[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49,
				     0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c, 192,  0,    2,	   1,
				     192,  0,	 2,    2,    0x04, 0xd2, 0x00, 0x07};
	struct sockaddr_storage a = ipv4("192.0.2.1", 1234);
	struct sockaddr_storage b = ipv4("192.0.2.2", 7);
	struct sockaddr_storage f = ipv6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
	struct proxy_choice c = {.version = 1};
	uint8_t out[PROXY_SEND_MAX];

	(void)state;
	assert_int_equal(proxy_send_make(&c, &a, &b, out), strlen(v1));
	assert_memory_equal(out, v1, strlen(v1));
	assert_int_equal(proxy_send_make(&c, &f, &f, out), strlen(longest));
	assert_memory_equal(out, longest, strlen(longest));
	c.version = 2;
	assert_int_equal(proxy_send_make(&c, &a, &b, out), sizeof(v2));
	assert_memory_equal(out, v2, sizeof(v2));
	c.version = 0;
	assert_int_equal(proxy_send_make(&c, &a, &b, out), 0);
}

static void test_invalid_choices_are_rejected(void **state)
{
	static const char *const wrong[] = {
		"",
		"v",
		"v0",
		"v3",
		"1",
		"v1x",
		"v1,",
		"v2,h",
		"v2,host:1",
		"v2,192.0.2.1",
		"v1,::1",
		"v1,::1:80",
		"v1,[::1]",
		"v1,[::1]:0",
		"v1,192.0.2.1:65536",
		"v1,:1",
		"v1,unix:/x",
		"v1 ,[::1]:1",
		"V1",
		"v1,192.0.2.1:1,",
		"v1,[x]:1",
		"v1,[::1%lo]:1",
	};
	struct proxy_choice c;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (proxy_choice_parse(wrong[i], &c))
			fail_msg("%s was accepted", wrong[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parser_accepts_each_generated_header),
		cmocka_unit_test(test_destination_addresses),
		cmocka_unit_test(test_invalid_choices_are_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
