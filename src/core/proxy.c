#include "core/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* Version 1: one line of text. */
#define V1_START "PROXY "
#define V1_START_LENGTH (sizeof(V1_START) - 1)
#define V1_MAX 107 /* CRLF included */

/* Version 2: signature, version and command, family and protocol, length of the rest (16 bits) */
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LENGTH (sizeof(V2_SIGNATURE) - 1)
#define V2_FIXED_LENGTH 16
#define V2_COMMAND_LOCAL 0x20
#define V2_COMMAND_PROXY 0x21
#define V2_UNSPECIFIED 0x00
#define V2_TCP_IPV4 0x11
#define V2_TCP_IPV6 0x21
#define V2_UNIX_STREAM 0x31
#define V2_UNIX_PATH_LENGTH 108

static enum proxy_status invalid(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return PROXY_INVALID;
}

/* ---- version 1 ---- */

/* The rest of a line. */
struct words {
	const char *p;
	size_t n;
};

/* Takes the next word, up to a space or the end; returns false when it is empty or too long. */
static bool next_word(struct words *words, char ret_word[INET6_ADDRSTRLEN])
{
	const char *space = memchr(words->p, ' ', words->n);
	size_t length = space ? (size_t)(space - words->p) : words->n;
	size_t used = space ? length + 1 : length;

	if (length == 0 || length >= INET6_ADDRSTRLEN || memchr(words->p, '\0', length))
		return false;
	memcpy(ret_word, words->p, length);
	ret_word[length] = '\0';
	words->p += used;
	words->n -= used;
	return true;
}

static bool next_address(struct words *words, int family, void *ret_address)
{
	char word[INET6_ADDRSTRLEN];

	return next_word(words, word) && inet_pton(family, word, ret_address) == 1;
}

/* Takes a port, and turns it to network byte order. */
static bool next_port(struct words *words, in_port_t *ret_port)
{
	char word[INET6_ADDRSTRLEN];
	unsigned port = 0;

	if (!next_word(words, word) || (word[0] == '0' && word[1] != '\0'))
		return false;
	for (const char *p = word; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (unsigned)(*p - '0');
		if (port > UINT16_MAX)
			return false;
	}
	*ret_port = htons((uint16_t)port);
	return true;
}

/* Parses "SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT". */
static bool parse_endpoints(struct words words, int family, struct sockaddr_storage *ret_source)
{
	struct sockaddr_storage storage = {.ss_family = (sa_family_t)family};
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&storage;
	bool is_ipv4 = family == AF_INET;
	struct in6_addr destination;
	in_port_t destination_port;
	/* the last word has no space behind it */
	bool ends_clean = words.n > 0 && words.p[words.n - 1] != ' ';

	if (!next_address(&words, family, is_ipv4 ? (void *)&ipv4->sin_addr : &ipv6->sin6_addr) ||
	    !next_address(&words, family, &destination) ||
	    !next_port(&words, is_ipv4 ? &ipv4->sin_port : &ipv6->sin6_port) ||
	    !next_port(&words, &destination_port) || words.n > 0 || !ends_clean)
		return false;
	*ret_source = storage;
	return true;
}

static bool starts_with(const struct words *words, const char *start)
{
	return words->n >= strlen(start) && memcmp(words->p, start, strlen(start)) == 0;
}

static enum proxy_status parse_v1(const char *p, size_t n, struct proxy_header *ret_header,
				  const char **ret_reason)
{
	const char *lf = memchr(p, '\n', n < V1_MAX ? n : V1_MAX);
	struct proxy_header header = {.length = lf ? (size_t)(lf + 1 - p) : 0};
	struct words words;

	if (!lf && n < V1_MAX)
		return PROXY_MORE;
	if (!lf)
		return invalid(ret_reason, "header too long");
	if (lf[-1] != '\r')
		return invalid(ret_reason, "line not ended by CRLF");
	words.p = p + V1_START_LENGTH;
	words.n = (size_t)(lf - 1 - words.p);
	if (starts_with(&words, "TCP4 ") || starts_with(&words, "TCP6 ")) {
		int family = words.p[3] == '4' ? AF_INET : AF_INET6;

		words.p += strlen("TCP4 ");
		words.n -= strlen("TCP4 ");
		if (!parse_endpoints(words, family, &header.source))
			return invalid(ret_reason, "bad addresses");
		header.has_source = true;
	} else if (!starts_with(&words, "UNKNOWN ") &&
		   !(words.n == strlen("UNKNOWN") && starts_with(&words, "UNKNOWN"))) {
		return invalid(ret_reason, "unknown protocol");
	}
	*ret_header = header;
	return PROXY_COMPLETE;
}

/* ---- version 2 ---- */

/* Returns how many bytes the two addresses of a family take, ports included; -1: not taken. */
static int v2_addresses_length(uint8_t family)
{
	switch (family) {
	case V2_UNSPECIFIED:
		return 0;
	case V2_TCP_IPV4:
		return 2 * 4 + 2 * 2;
	case V2_TCP_IPV6:
		return 2 * 16 + 2 * 2;
	case V2_UNIX_STREAM:
		return 2 * V2_UNIX_PATH_LENGTH;
	}
	return -1;
}

/* Takes the source out of the address block at @p, which is whole; ports and addresses are in
 * network byte order there. */
static void v2_source(uint8_t family, const uint8_t *p, struct sockaddr_storage *ret_source)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret_source;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)ret_source;

	if (family == V2_TCP_IPV4) {
		ipv4->sin_family = AF_INET;
		memcpy(&ipv4->sin_addr, p, 4);
		memcpy(&ipv4->sin_port, p + 2 * 4, 2);
	} else if (family == V2_TCP_IPV6) {
		ipv6->sin6_family = AF_INET6;
		memcpy(&ipv6->sin6_addr, p, 16);
		memcpy(&ipv6->sin6_port, p + 2 * 16, 2);
	} else {
		ret_source->ss_family = AF_UNIX;
		memcpy(((struct sockaddr_un *)ret_source)->sun_path, p, V2_UNIX_PATH_LENGTH);
	}
}

static enum proxy_status parse_v2(const uint8_t *p, size_t n, struct proxy_header *ret_header,
				  const char **ret_reason)
{
	struct proxy_header header = {0};
	int addresses_length;
	size_t rest;

	if (n < V2_FIXED_LENGTH)
		return PROXY_MORE;
	if (p[12] != V2_COMMAND_LOCAL && p[12] != V2_COMMAND_PROXY)
		return invalid(ret_reason, p[12] >> 4 == 2 ? "unknown command" : "unknown version");
	addresses_length = v2_addresses_length(p[13]);
	rest = (size_t)p[14] << 8 | p[15];
	header.length = V2_FIXED_LENGTH + rest;
	if (header.length > PROXY_HEADER_MAX)
		return invalid(ret_reason, "header too long");
	/* A load balancer's own connection: whatever the addresses are, they do not count. */
	if (p[12] == V2_COMMAND_LOCAL)
		addresses_length = 0;
	if (addresses_length < 0)
		return invalid(ret_reason, "unknown protocol");
	if (rest < (size_t)addresses_length)
		return invalid(ret_reason, "bad addresses");
	if (n < header.length)
		return PROXY_MORE;
	if (addresses_length > 0) {
		header.has_source = true;
		v2_source(p[13], p + V2_FIXED_LENGTH, &header.source);
	}
	*ret_header = header;
	return PROXY_COMPLETE;
}

static bool may_start(const uint8_t *p, size_t n, const char *start, size_t length)
{
	return memcmp(p, start, n < length ? n : length) == 0;
}

enum proxy_status proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_header,
			      const char **ret_reason)
{
	if (n == 0)
		return PROXY_MORE;
	if (may_start(p, n, V1_START, V1_START_LENGTH)) {
		if (n < V1_START_LENGTH)
			return PROXY_MORE;
		return parse_v1((const char *)p, n, ret_header, ret_reason);
	}
	if (may_start(p, n, V2_SIGNATURE, V2_SIGNATURE_LENGTH))
		return parse_v2(p, n, ret_header, ret_reason);
	return invalid(ret_reason, "not a PROXY header");
}
