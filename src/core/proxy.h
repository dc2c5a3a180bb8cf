#pragma once

/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt): the
 * header with which a load balancer says whose connection it forwards.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The longest header that is taken: what the protocol says fits into one segment. */
#define PROXY_HEADER_MAX 536

enum proxy_status {
	PROXY_MORE,	/* what there is may be the beginning of a header */
	PROXY_COMPLETE, /* a header */
	PROXY_INVALID,	/* never a header, whatever follows */
};

struct proxy_header {
	size_t length; /* of the header in bytes; the client's data follow */
	/*
	 * Whether the header says who the client is. A connection of the load balancer's own (its
	 * health check), or of a family unknown to it, has none: the peer's address is the
	 * client's.
	 */
	bool has_source;
	struct sockaddr_storage source; /* AF_INET, AF_INET6 or AF_UNIX */
};

/*
 * Parses the header at the start of a connection's first @n bytes at @p. Fills *@ret_header for
 * PROXY_COMPLETE, sets *@ret_reason (static; what is wrong, in words) for PROXY_INVALID. Never
 * returns PROXY_MORE for @n >= PROXY_HEADER_MAX. Pure: to be called again with all the bytes when
 * more have come.
 */
enum proxy_status proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_header,
			      const char **ret_reason);
