#pragma once

/*
 * The PROXY header (version 1 or 2) that --proxy sends first on each connection, for a server that
 * expects to be behind a load balancer. core/wire/proxy.h names the specification.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct proxy_choice {
	int version;			/* 1 or 2; 0: no header */
	struct sockaddr_storage source; /* the client address to send; AF_UNSPEC: ackc's own */
};

/* The longest header that proxy_send_make() writes. */
#define PROXY_SEND_MAX 107

/*
 * Writes the header for a connection from @local to @peer to @out. Returns its length in bytes; 0
 * without a version. If only one of source and destination is an IPv4 address, it is written as an
 * IPv4-mapped IPv6 address. A source that is not an IP address (UNIX sockets) is declared unknown.
 * A destination that is not an IP address is written as the unspecified address and port 0.
 */
size_t proxy_send_make(const struct proxy_choice *choice, const struct sockaddr_storage *local,
		       const struct sockaddr_storage *peer, uint8_t out[PROXY_SEND_MAX]);
