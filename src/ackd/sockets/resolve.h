#pragma once

/* From a listener's configured address to the socket addresses that it is to be bound to. */

#include "ackd/config/config.h"

#include <sys/socket.h>

/* More addresses of a name than this are left out. */
#define RESOLVED_MAX 64

/* Where a listener is to listen: at least one address, without repetition. */
struct resolved {
	struct sockaddr_storage addresses[RESOLVED_MAX];
	socklen_t lengths[RESOLVED_MAX];
	size_t n;
	size_t n_left_out; /* addresses above RESOLVED_MAX */
	bool lenient;	   /* addresses that this host lacks are skipped if one binds */
};

/*
 * Resolves the address (or the path) of @listener. "localhost" is the two loopback addresses, as
 * RFC 6761 has it, without a look-up; any other name may block in one. An IPv4-mapped IPv6 address
 * is the IPv4 address. Returns 0, or -EADDRNOTAVAIL
 * with *@ret_why saying why there is no address (static).
 */
int resolve_listener(const struct config_listener *listener, struct resolved *ret_resolved,
		     const char **ret_why);
