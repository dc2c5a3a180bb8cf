/* proxy: headers of both versions at every length, and what is refused. */

#include "core/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IPV4_BLOCK "\xc0\x00\x02\x01\xc0\x00\x02\x02\x10\x67\x27\x60"

/* Parses a copy of exactly @n bytes, so that a read beyond is noticed. */
static enum proxy_status parse(const char *p, size_t n, struct proxy_header *ret_header,
			       const char **ret_reason)
{
	uint8_t *copy = malloc(n ? n : 1);
	enum proxy_status status;

	memcpy(copy, p, n);
	status = proxy_parse(copy, n, ret_header, ret_reason);
	free(copy);
	return status;
}

/* Checks that the @length bytes at @p, followed by data, are a header, and no shorter part is. */
static struct proxy_header check(const char *p, size_t length, bool has_source)
{
	struct proxy_header header = {0};
	const char *reason = NULL;
	char data[1024];

	for (size_t n = 0; n < length; n++)
		assert_int_equal(parse(p, n, &header, &reason), PROXY_MORE);
	assert_int_equal(header.length, 0);
	memset(data, 0xee, sizeof(data));
	memcpy(data, p, length);
	for (size_t n = length; n < length + 300; n++) {
		assert_int_equal(parse(data, n, &header, &reason), PROXY_COMPLETE);
		assert_int_equal(header.length, length);
		assert_int_equal(header.has_source, has_source);
	}
	assert_null(reason);
	return header;
}

static void check_source(const struct proxy_header *header, int family, const char *address,
			 uint16_t port)
{
	const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&header->source;
	const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)&header->source;
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(header->source.ss_family, family);
	if (family == AF_INET) {
		inet_ntop(AF_INET, &ipv4->sin_addr, text, sizeof(text));
		assert_int_equal(ntohs(ipv4->sin_port), port);
	} else {
		inet_ntop(AF_INET6, &ipv6->sin6_addr, text, sizeof(text));
		assert_int_equal(ntohs(ipv6->sin6_port), port);
		assert_int_equal(ipv6->sin6_scope_id, 0);
	}
	assert_string_equal(text, address);
}

/* Checks that @p is refused for @reason, and so is everything that begins so. */
static void check_invalid(const char *p, size_t n, const char *reason)
{
	struct proxy_header header = {.length = 77};
	const char *got = NULL;
	char longer[1024];

	assert_int_equal(parse(p, n, &header, &got), PROXY_INVALID);
	assert_string_equal(got, reason);
	assert_int_equal(header.length, 77);
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, p, n);
	assert_int_equal(parse(longer, sizeof(longer), &header, &got), PROXY_INVALID);
}

static void test_v1(void **state)
{
	struct proxy_header header;
	const char *text = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 10080\r\n";

	header = check(text, strlen(text), true);
	check_source(&header, AF_INET, "192.0.2.1", 4711);
	text = "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n";
	header = check(text, strlen(text), true);
	check_source(&header, AF_INET6, "2001:db8::1", 0);
	/* the longest of each kind */
	text = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
	header = check(text, strlen(text), true);
	check_source(&header, AF_INET, "255.255.255.255", 65535);
	text = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
	header = check(text, strlen(text), true);
	check_source(&header, AF_INET6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
}

static void test_v1_unknown(void **state)
{
	const char *text = "PROXY UNKNOWN\r\n";
	char longest[107];

	check(text, strlen(text), false);
	text = "PROXY UNKNOWN ffff:f...f:ffff anything\r at all\r\n";
	check(text, strlen(text), false);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "PROXY UNKNOWN ", 14);
	memcpy(longest + sizeof(longest) - 2, "\r\n", 2);
	check(longest, sizeof(longest), false);
	longest[sizeof(longest) - 1] = 'x';
	check_invalid(longest, sizeof(longest), "header too long");
}

static void check_invalid_line(const char *line, const char *reason)
{
	check_invalid(line, strlen(line), reason);
}

static void test_v1_invalid(void **state)
{
	check_invalid_line("PROXX", "not a PROXY header");
	check_invalid_line("proxy TCP4", "not a PROXY header");
	check_invalid_line("PROXY\r\n", "not a PROXY header");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "line not ended by CRLF");
	check_invalid_line("PROXY \n", "line not ended by CRLF");
	check_invalid_line("PROXY \r\n", "unknown protocol");
	check_invalid_line("PROXY UNKNOWNS\r\n", "unknown protocol");
	check_invalid_line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "unknown protocol");
	check_invalid_line("PROXY TCP4\r\n", "unknown protocol");
	check_invalid_line("PROXY TCP4 \r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 4294967297\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n", "bad addresses");
	check_invalid_line("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "bad addresses");
	check_invalid_line("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "bad addresses");
	check_invalid_line(
		"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1 1 2\r\n",
		"bad addresses");
	check_invalid("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", 38, "bad addresses");
}

static void test_v2(void **state)
{
	const char ipv4[] = SIGNATURE "\x21\x11\x00\x0c" IPV4_BLOCK;
	const char tlv[] = SIGNATURE "\x21\x11\x00\x11" IPV4_BLOCK "\x01\x00\x02h2";
	const char ipv6[] = SIGNATURE "\x21\x21\x00\x24"
				      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
				      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
				      "\x10\x67\x27\x60";
	struct proxy_header header;

	header = check(ipv4, sizeof(ipv4) - 1, true);
	check_source(&header, AF_INET, "192.0.2.1", 0x1067);
	header = check(tlv, sizeof(tlv) - 1, true);
	check_source(&header, AF_INET, "192.0.2.1", 0x1067);
	header = check(ipv6, sizeof(ipv6) - 1, true);
	check_source(&header, AF_INET6, "2001:db8::1", 0x1067);
}

static void test_v2_unix(void **state)
{
	char data[16 + 216] = SIGNATURE "\x21\x31\x00\xd8/run/client";
	struct proxy_header header = check(data, sizeof(data), true);
	const struct sockaddr_un *source = (const struct sockaddr_un *)&header.source;

	assert_int_equal(source->sun_family, AF_UNIX);
	assert_string_equal(source->sun_path, "/run/client");
}

/* Connections of the load balancer's own, whose addresses do not count. */
static void test_v2_without_source(void **state)
{
	const char local[] = SIGNATURE "\x20\x00\x00\x00";
	const char local_odd[] = SIGNATURE "\x20\xff\x00\x03xyz";
	const char unspecified[] = SIGNATURE "\x21\x00\x00\x02xy";

	check(local, sizeof(local) - 1, false);
	check(local_odd, sizeof(local_odd) - 1, false);
	check(unspecified, sizeof(unspecified) - 1, false);
}

static void test_v2_length(void **state)
{
	char data[PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x02\x08" IPV4_BLOCK;

	check(data, sizeof(data), true);
	check_invalid(SIGNATURE "\x21\x11\x02\x09", 16, "header too long");
	check_invalid(SIGNATURE "\x20\x00\xff\xff", 16, "header too long");
}

static void test_v2_invalid(void **state)
{
	check_invalid("\r\n\r\nQ", 5, "not a PROXY header");
	check_invalid("\r\n\r\n\0\r\nQUIT\r", 12, "not a PROXY header");
	check_invalid(SIGNATURE "\x11\x11\x00\x0c", 16, "unknown version");
	check_invalid(SIGNATURE "\x31\x11\x00\x0c", 16, "unknown version");
	check_invalid(SIGNATURE "\x22\x11\x00\x0c", 16, "unknown command");
	check_invalid(SIGNATURE "\x21\x12\x00\x0c", 16, "unknown protocol");
	check_invalid(SIGNATURE "\x21\x41\x00\x0c", 16, "unknown protocol");
	check_invalid(SIGNATURE "\x21\x11\x00\x0b", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x21\x00\x23", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x31\x00\xd7", 16, "bad addresses");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),	   cmocka_unit_test(test_v1_unknown),
		cmocka_unit_test(test_v1_invalid), cmocka_unit_test(test_v2),
		cmocka_unit_test(test_v2_unix),	   cmocka_unit_test(test_v2_without_source),
		cmocka_unit_test(test_v2_length),  cmocka_unit_test(test_v2_invalid),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
