#pragma once

/*
 * The PROXY header that --proxy sends first on each connection, so that ackc can talk to a server
 * that expects to be behind a load balancer (versions 1 and 2 of the protocol; core/proxy.h names
 * the specification).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct proxy_choice {
	int version;			/* 1 or 2; 0: no header */
	struct sockaddr_storage source; /* whose connection it is; AF_UNSPEC: ackc's own */
};

/* The longest header that proxy_send_make() writes. */
#define PROXY_SEND_MAX 107

/*
 * Parses the value of --proxy, v1|v2[,SRC:PORT], where SRC is an IPv4 address or an IPv6 address in
 * brackets. Returns NULL, or what is accepted in words (static).
 */
const char *proxy_choice_parse(const char *text, struct proxy_choice *ret);

/*
 * Writes the header for a connection from @local to @peer to @out and returns its length in bytes;
 * 0 without a version. Where only one of source and destination is an IPv4 address, it is written
 * as an IPv4-mapped IPv6 address. A source that is neither (UNIX sockets) is declared unknown, and
 * a destination that is neither is written as the unspecified address and port 0.
 */
size_t proxy_send_make(const struct proxy_choice *choice, const struct sockaddr_storage *local,
		       const struct sockaddr_storage *peer, uint8_t out[PROXY_SEND_MAX]);
