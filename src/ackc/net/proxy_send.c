#include "ackc/net/proxy_send.h"

#include "core/wire/proxy_v2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* One end of a connection, in network byte order. */
struct end {
	bool known;
	bool is_ipv4; /* the address is IPv4-mapped */
	uint8_t address[16];
	uint16_t port;
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static struct end end_of(const struct sockaddr_storage *a)
{
	const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)a;
	struct end e = {.known = true};

	if (a->ss_family == AF_INET) {
		e.port = ipv4->sin_port;
		memcpy(e.address, mapped, sizeof(mapped));
		memcpy(e.address + sizeof(mapped), &ipv4->sin_addr, 4);
	} else if (a->ss_family == AF_INET6) {
		e.port = ipv6->sin6_port;
		memcpy(e.address, &ipv6->sin6_addr, 16);
	} else {
		e.known = false;
	}
	e.is_ipv4 = memcmp(e.address, mapped, sizeof(mapped)) == 0;
	return e;
}

static size_t make_v1(const struct end *source, const struct end *destination, bool ipv4,
		      uint8_t out[PROXY_SEND_MAX])
{
	int family = ipv4 ? AF_INET : AF_INET6;
	size_t skip = ipv4 ? sizeof(mapped) : 0;
	char from[INET6_ADDRSTRLEN];
	char to[INET6_ADDRSTRLEN];
	char line[2 * INET6_ADDRSTRLEN + 40] = "PROXY UNKNOWN\r\n";
	size_t n;

	if (source->known) {
		inet_ntop(family, source->address + skip, from, sizeof(from));
		inet_ntop(family, destination->address + skip, to, sizeof(to));
		snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u %u\r\n", ipv4 ? '4' : '6', from,
			 to, ntohs(source->port), ntohs(destination->port));
	}
	n = strlen(line);
	memcpy(out, line, n);
	return n;
}

static size_t make_v2(const struct end *source, const struct end *destination, bool ipv4,
		      uint8_t out[PROXY_SEND_MAX])
{
	size_t skip = ipv4 ? sizeof(mapped) : 0;
	size_t length = 16 - skip;
	uint8_t *p = out;

	memcpy(p, V2_SIGNATURE, V2_SIGNATURE_LENGTH);
	p += V2_SIGNATURE_LENGTH;
	*p++ = V2_COMMAND_PROXY;
	*p++ = !source->known ? V2_UNSPECIFIED : ipv4 ? V2_TCP_IPV4 : V2_TCP_IPV6;
	*p++ = 0;
	*p++ = source->known ? (uint8_t)(2 * length + 4) : 0;
	if (!source->known)
		return (size_t)(p - out);
	memcpy(p, source->address + skip, length);
	memcpy(p + length, destination->address + skip, length);
	p += 2 * length;
	memcpy(p, &source->port, 2);
	memcpy(p + 2, &destination->port, 2);
	return (size_t)(p + 4 - out);
}

size_t proxy_send_make(const struct proxy_choice *choice, const struct sockaddr_storage *local,
		       const struct sockaddr_storage *peer, uint8_t out[PROXY_SEND_MAX])
{
	bool own = choice->source.ss_family == AF_UNSPEC;
	struct end source = end_of(own ? local : &choice->source);
	struct end destination = end_of(peer);
	bool ipv4;

	if (choice->version == 0)
		return 0;
	if (!destination.known && source.is_ipv4) {
		memcpy(destination.address, mapped, sizeof(mapped));
		destination.is_ipv4 = true;
	}
	ipv4 = source.is_ipv4 && destination.is_ipv4;
	return choice->version == 1 ? make_v1(&source, &destination, ipv4, out)
				    : make_v2(&source, &destination, ipv4, out);
}
