#pragma once

/* Resolves a listener's configured address to the socket addresses to which it is bound. */

#include "ackd/config/config.h"

#include <sys/socket.h>

/* The most addresses of a name; further ones are skipped. */
#define RESOLVED_MAX 64

/* The addresses of a listener, without duplicates; at least one after resolve_listener(). */
struct resolved {
	struct sockaddr_storage addresses[RESOLVED_MAX];
	socklen_t lengths[RESOLVED_MAX];
	size_t n;
	size_t n_left_out; /* addresses beyond RESOLVED_MAX */
	bool lenient; /* addresses that this host does not have are skipped if another one can be
			 bound */
};

/*
 * Resolves the address (or the path) of @listener. "localhost" stands for the two loopback
 * addresses, as in RFC 6761, without a look-up. Looking up any other name may block. An IPv4-mapped
 * IPv6 address is treated as the IPv4 address. Returns 0, or -EADDRNOTAVAIL and the reason in
 * *@ret_why (static).
 */
int resolve_listener(const struct config_listener *listener, struct resolved *ret_resolved,
		     const char **ret_why);
