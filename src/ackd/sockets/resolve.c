#include "ackd/sockets/resolve.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static void resolved_add(struct resolved *resolved, const void *sa, socklen_t length)
{
	for (size_t i = 0; i < resolved->n; i++)
		if (resolved->lengths[i] == length &&
		    memcmp(&resolved->addresses[i], sa, length) == 0)
			return;
	if (resolved->n == RESOLVED_MAX) {
		resolved->n_left_out++;
		return;
	}
	resolved->addresses[resolved->n] = (struct sockaddr_storage){0};
	memcpy(&resolved->addresses[resolved->n], sa, length);
	resolved->lengths[resolved->n++] = length;
}

static void resolved_add_ipv4(struct resolved *resolved, struct in_addr address, uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};

	resolved_add(resolved, &in, sizeof(in));
}

static void resolved_add_ipv6(struct resolved *resolved, struct in6_addr address, uint32_t scope,
			      uint16_t port)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = address,
		.sin6_scope_id = scope,
	};

	resolved_add(resolved, &in6, sizeof(in6));
}

static int resolve_name(const char *name, uint16_t port, struct resolved *resolved,
			const char **ret_why)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int r = getaddrinfo(name, NULL, &hints, &found);

	if (r != 0) {
		*ret_why = r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r);
		return -EADDRNOTAVAIL;
	}
	/* On the BSDs the addresses found contain their length, unlike those made here. */
	for (struct addrinfo *a = found; a; a = a->ai_next) {
		const void *sa = a->ai_addr;
		const struct sockaddr_in *in = sa;
		const struct sockaddr_in6 *in6 = sa;

		if (a->ai_family == AF_INET)
			resolved_add_ipv4(resolved, in->sin_addr, port);
		else if (a->ai_family == AF_INET6)
			resolved_add_ipv6(resolved, in6->sin6_addr, in6->sin6_scope_id, port);
	}
	freeaddrinfo(found);
	if (resolved->n == 0) {
		*ret_why = "no IPv4 or IPv6 address";
		return -EADDRNOTAVAIL;
	}
	return 0;
}

static void resolve_path(const char *path, struct resolved *resolved)
{
	struct sockaddr_un un;
	socklen_t length = sockaddr_set_path(&un, path);

	resolved_add(resolved, &un, length);
}

int resolve_listener(const struct config_listener *listener, struct resolved *ret_resolved,
		     const char **ret_why)
{
	const char *address = listener->address;
	struct in6_addr in6;
	struct in_addr in;

	ret_resolved->n = 0;
	ret_resolved->n_left_out = 0;
	ret_resolved->lenient = false;
	if (listener->path) {
		resolve_path(listener->path, ret_resolved);
	} else if (inet_pton(AF_INET, address, &in) == 1) {
		resolved_add_ipv4(ret_resolved, in, listener->port);
	} else if (inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_V4MAPPED(&in6)) {
		memcpy(&in, &in6.s6_addr[12], sizeof(in));
		resolved_add_ipv4(ret_resolved, in, listener->port);
	} else if (inet_pton(AF_INET6, address, &in6) == 1) {
		resolved_add_ipv6(ret_resolved, in6, 0, listener->port);
	} else {
		ret_resolved->lenient = true;
		if (strcmp(address, "*") == 0) {
			in.s_addr = htonl(INADDR_ANY);
			resolved_add_ipv6(ret_resolved, in6addr_any, 0, listener->port);
			resolved_add_ipv4(ret_resolved, in, listener->port);
		} else if (strcasecmp(address, "localhost") == 0) {
			in.s_addr = htonl(INADDR_LOOPBACK);
			resolved_add_ipv4(ret_resolved, in, listener->port);
			resolved_add_ipv6(ret_resolved, in6addr_loopback, 0, listener->port);
		} else {
			return resolve_name(address, listener->port, ret_resolved, ret_why);
		}
	}
	return 0;
}
