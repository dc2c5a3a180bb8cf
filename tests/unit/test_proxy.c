/* proxy: headers of both versions at every length, TLVs, and rejected headers. */

#include "core/wire/proxy.h"

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

/* Parses a copy of exactly @n bytes, so that the sanitizer detects a read past the end. */
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
	static char data[PROXY_HEADER_MAX + 300];

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

static void check_address(const struct sockaddr_storage *storage, int family, const char *address,
			  uint16_t port)
{
	const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)storage;
	const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)storage;
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(storage->ss_family, family);
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

static void check_source(const struct proxy_header *header, int family, const char *address,
			 uint16_t port)
{
	check_address(&header->source, family, address, port);
}

static void check_destination(const struct proxy_header *header, int family, const char *address,
			      uint16_t port)
{
	check_address(&header->destination, family, address, port);
}

/* Checks that @p is rejected for @reason, with and without more bytes after it. */
static void check_invalid(const char *p, size_t n, const char *reason)
{
	struct proxy_header header = {.length = 77};
	const char *got = NULL;
	static char longer[PROXY_HEADER_MAX + 300];

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
	check_destination(&header, AF_INET, "192.0.2.2", 10080);
	text = "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n";
	header = check(text, strlen(text), true);
	check_source(&header, AF_INET6, "2001:db8::1", 0);
	check_destination(&header, AF_INET6, "2001:db8::2", 65535);
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
	check_destination(&header, AF_INET, "192.0.2.2", 0x2760);
	header = check(tlv, sizeof(tlv) - 1, true);
	check_source(&header, AF_INET, "192.0.2.1", 0x1067);
	header = check(ipv6, sizeof(ipv6) - 1, true);
	check_source(&header, AF_INET6, "2001:db8::1", 0x1067);
	check_destination(&header, AF_INET6, "2001:db8::2", 0x2760);
}

static void test_v2_unix(void **state)
{
	char data[16 + 216] = SIGNATURE "\x21\x31\x00\xd8/run/client";
	const struct sockaddr_un *source, *destination;
	struct proxy_header header;

	memcpy(data + 16 + 108, "/run/server", sizeof("/run/server"));
	header = check(data, sizeof(data), true);
	source = (const struct sockaddr_un *)&header.source;
	destination = (const struct sockaddr_un *)&header.destination;
	assert_int_equal(source->sun_family, AF_UNIX);
	assert_string_equal(source->sun_path, "/run/client");
	assert_int_equal(destination->sun_family, AF_UNIX);
	assert_string_equal(destination->sun_path, "/run/server");
}

/* Health checks of the load balancer, and families and transports without a stream source. */
static void test_v2_without_source(void **state)
{
	const char local[] = SIGNATURE "\x20\x00\x00\x00";
	const char local_odd[] = SIGNATURE "\x20\xff\x00\x03xyz";
	const char unspecified[] = SIGNATURE "\x21\x00\x00\x02xy";

	check(local, sizeof(local) - 1, false);
	check(local_odd, sizeof(local_odd) - 1, false);
	check(unspecified, sizeof(unspecified) - 1, false);
	for (unsigned family = 0; family <= 3; family++)
		for (unsigned transport = 0; transport <= 2; transport++) {
			char data[16 + 216] = SIGNATURE "\x21\x00\x00\xd8";

			data[13] = (char)(family << 4 | transport);
			check(data, sizeof(data), family > 0 && transport == 1);
		}
}

/* ---- TLVs ---- */

/* A header under construction. */
struct header {
	uint8_t bytes[PROXY_HEADER_MAX];
	size_t n;
};

static struct header begin(uint8_t command, uint8_t family, size_t addresses_length)
{
	struct header h = {.bytes = SIGNATURE, .n = 16 + addresses_length};

	h.bytes[12] = command;
	h.bytes[13] = family;
	return h;
}

static void add(struct header *h, uint8_t type, const void *value, size_t n)
{
	h->bytes[h->n] = type;
	h->bytes[h->n + 1] = (uint8_t)(n >> 8);
	h->bytes[h->n + 2] = (uint8_t)n;
	if (n > 0)
		memcpy(h->bytes + h->n + 3, value, n);
	h->n += 3 + n;
}

/* CRC32C bit by bit, from the polynomial. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void set_length(struct header *h)
{
	h->bytes[14] = (uint8_t)((h->n - 16) >> 8);
	h->bytes[15] = (uint8_t)(h->n - 16);
}

/* Puts the checksum into the four zeros at @at. */
static void set_checksum(struct header *h, size_t at)
{
	uint32_t crc;

	set_length(h);
	crc = crc32c(h->bytes, h->n);
	for (int i = 0; i < 4; i++)
		h->bytes[at + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static struct proxy_header check_built(struct header *h, bool has_source)
{
	set_length(h);
	return check((const char *)h->bytes, h->n, has_source);
}

/* Checks that the header is rejected when it is complete, and not before. */
static void check_built_invalid(struct header *h, const char *reason)
{
	struct proxy_header header;
	const char *got = NULL;

	set_length(h);
	assert_int_equal(parse((const char *)h->bytes, h->n - 1, &header, &got), PROXY_MORE);
	check_invalid((const char *)h->bytes, h->n, reason);
}

static void expect_text(const struct header *h, const struct proxy_span *span, const char *expected)
{
	char text[600];

	assert_string_equal(proxy_text(h->bytes, span, text, sizeof(text)), expected);
}

static void test_crc32c(void **state)
{
	assert_int_equal(crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
}

static void test_tlvs(void **state)
{
	static const uint8_t families[] = {0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32};
	static const size_t lengths[] = {0, 12, 12, 36, 36, 216, 216};

	for (size_t i = 0; i < sizeof(families); i++) {
		struct header h = begin(0x21, families[i], lengths[i]);
		struct proxy_header header;

		add(&h, 0x01, "h2", 2);
		add(&h, 0x02, "example.org", 11);
		add(&h, 0x04, "", 0);
		add(&h, 0x05, "id\0\xff\\ \n", 7);
		add(&h, 0x03, "\0\0\0\0", 4);
		add(&h, 0xff, "?", 1);
		set_checksum(&h, h.n - 8);
		header = check_built(&h, (families[i] & 15) == 1);
		expect_text(&h, &header.authority, "example.org");
		expect_text(&h, &header.unique_id, "id\\x00\\xff\\x5c \\x0a");
		/* a change in the addresses or in the checksum is detected */
		for (size_t at = 16; at < h.n - 4; at++) {
			const char *reason = NULL;

			if (at == 16 + lengths[i])
				at = h.n - 8;
			h.bytes[at] ^= 0x10;
			assert_int_equal(parse((const char *)h.bytes, h.n, &header, &reason),
					 PROXY_INVALID);
			assert_string_equal(reason, "wrong checksum");
			h.bytes[at] ^= 0x10;
		}
	}
}

static void test_tlvs_of_local(void **state)
{
	struct header h = begin(0x20, 0x00, 0);
	struct proxy_header header;

	add(&h, 0x05, "id", 2);
	add(&h, 0x03, "\0\0\0\0", 4);
	set_checksum(&h, h.n - 4);
	header = check_built(&h, false);
	assert_int_equal(header.unique_id.length, 0);
	h.bytes[h.n - 1] ^= 1;
	check_built_invalid(&h, "wrong checksum");
	h.bytes[h.n++] = 0; /* not a field: all of it is discarded */
	check_built(&h, false);
}

static void test_tlv_lengths(void **state)
{
	uint8_t value[129];
	struct header h = begin(0x21, 0x11, 12);
	struct proxy_header header;
	char text[600];

	memset(value, 0xee, sizeof(value));
	add(&h, 0x05, value, 128);
	header = check_built(&h, true);
	assert_int_equal(header.unique_id.length, 128);
	proxy_text(h.bytes, &header.unique_id, text, sizeof(text));
	assert_int_equal(strlen(text), 512);
	/* a text that does not fit ends with a whole byte */
	for (size_t size = 1; size <= 512; size++) {
		proxy_text(h.bytes, &header.unique_id, text, size);
		assert_int_equal(strlen(text), (size - 1) / 4 * 4);
	}
	h = begin(0x21, 0x11, 12);
	add(&h, 0x05, value, 129);
	check_built_invalid(&h, "bad TLV");
	for (size_t n = 3; n <= 5; n += 2) {
		h = begin(0x21, 0x11, 12);
		add(&h, 0x03, "\0\0\0\0\0", n);
		check_built_invalid(&h, "bad TLV");
	}
}

static void test_invalid_tlvs_are_rejected(void **state)
{
	static const uint8_t once[] = {0x02, 0x03, 0x05};
	struct header h;

	for (size_t n = 1; n <= 2; n++) { /* not even a length */
		h = begin(0x21, 0x21, 36);
		h.n += n;
		check_built_invalid(&h, "bad TLV");
	}
	h = begin(0x21, 0x31, 216);
	add(&h, 0x04, "ab", 2);
	check_built(&h, true);
	h.n--; /* a value cut off */
	check_built_invalid(&h, "bad TLV");
	for (size_t i = 0; i < sizeof(once); i++) {
		h = begin(0x21, 0x12, 12);
		add(&h, once[i], "\0\0\0\0", 4);
		add(&h, once[i], "\0\0\0\0", 4);
		check_built_invalid(&h, "bad TLV");
	}
	h = begin(0x21, 0x11, 12);
	add(&h, 0x05, "", 0);
	check_built(&h, true);
	add(&h, 0x05, "", 0);
	check_built_invalid(&h, "bad TLV");
	/* bytes of an unspecified family are fields only if they look like fields */
	h = begin(0x21, 0x00, 0);
	add(&h, 0x02, "name", 4);
	h.n++;
	assert_int_equal(check_built(&h, false).authority.length, 0);
}

static void test_v2_length(void **state)
{
	static char data[PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x0f\xf0" IPV4_BLOCK "\x04\x0f\xe1";

	check(data, sizeof(data), true);
	check_invalid(SIGNATURE "\x21\x11\x0f\xf1", 16, "header too long");
	check_invalid(SIGNATURE "\x20\x00\xff\xff", 16, "header too long");
}

static void test_v2_invalid(void **state)
{
	check_invalid("\r\n\r\nQ", 5, "not a PROXY header");
	check_invalid("\r\n\r\n\0\r\nQUIT\r", 12, "not a PROXY header");
	check_invalid(SIGNATURE "\x11\x11\x00\x0c", 16, "unknown version");
	check_invalid(SIGNATURE "\x31\x11\x00\x0c", 16, "unknown version");
	check_invalid(SIGNATURE "\x22\x11\x00\x0c", 16, "unknown command");
	check_invalid(SIGNATURE "\x21\x13\x00\x0c", 16, "unknown protocol");
	check_invalid(SIGNATURE "\x21\x03\x00\x00", 16, "unknown protocol");
	check_invalid(SIGNATURE "\x21\x41\x00\x0c", 16, "unknown protocol");
	check_invalid(SIGNATURE "\x21\x12\x00\x0b", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x22\x00\x23", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x32\x00\xd7", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x11\x00\x0b", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x21\x00\x23", 16, "bad addresses");
	check_invalid(SIGNATURE "\x21\x31\x00\xd7", 16, "bad addresses");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v1_unknown),
		cmocka_unit_test(test_v1_invalid),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_v2_unix),
		cmocka_unit_test(test_v2_without_source),
		cmocka_unit_test(test_v2_length),
		cmocka_unit_test(test_v2_invalid),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_tlvs),
		cmocka_unit_test(test_tlvs_of_local),
		cmocka_unit_test(test_tlv_lengths),
		cmocka_unit_test(test_invalid_tlvs_are_rejected),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
