#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct address address_from_sockaddr(const struct sockaddr *sa)
{
	struct address address = {.family = AF_UNIX};

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		address.family = AF_INET;
		address.port = ntohs(in->sin_port);
		memcpy(address.bytes, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		address.port = ntohs(in6->sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			address.family = AF_INET;
			memcpy(address.bytes, (const uint8_t *)&in6->sin6_addr + 12, 4);
		} else {
			address.family = AF_INET6;
			memcpy(address.bytes, &in6->sin6_addr, 16);
		}
	}
	return address;
}

socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret_storage)
{
	memset(ret_storage, 0, sizeof(*ret_storage));
	if (address->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret_storage;

		in->sin_family = AF_INET;
		in->sin_port = htons(address->port);
		memcpy(&in->sin_addr, address->bytes, 4);
		return sizeof(*in);
	}
	if (address->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_storage;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(address->port);
		memcpy(&in6->sin6_addr, address->bytes, 16);
		return sizeof(*in6);
	}
	ret_storage->ss_family = AF_UNIX;
	return sizeof(sa_family_t);
}

const char *address_format(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];

	if (address->family == AF_UNIX)
		return memcpy(out, "unix", sizeof("unix"));
	inet_ntop(address->family, address->bytes, host, sizeof(host));
	snprintf(out, ADDRESS_TEXT_MAX, address->family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
		 address->port);
	return out;
}

const char *sockaddr_format(const struct sockaddr *sa, char out[ADDRESS_TEXT_MAX])
{
	struct address address = address_from_sockaddr(sa);

	if (sa->sa_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)sa;
		bool is_abstract = sockaddr_is_abstract(sa);

		snprintf(out, ADDRESS_TEXT_MAX, "unix:%s%.*s", is_abstract ? "@" : "",
			 (int)sizeof(un->sun_path) - is_abstract, un->sun_path + is_abstract);
		return out;
	}
	return address_format(&address, out);
}

socklen_t sockaddr_set_path(struct sockaddr_un *ret_un, const char *path)
{
	bool is_abstract = path[0] == '@';
	size_t n = strlen(path);

	*ret_un = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_un->sun_path + is_abstract, path + is_abstract, n - is_abstract);
	/* a name does not end with a NUL, which would be a part of it */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + !is_abstract);
}

bool sockaddr_is_abstract(const struct sockaddr *sa)
{
	return sa->sa_family == AF_UNIX &&
	       ((const struct sockaddr_un *)(const void *)sa)->sun_path[0] == '\0';
}

uint16_t sockaddr_port(const struct sockaddr_storage *address)
{
	return address_from_sockaddr((const struct sockaddr *)address).port;
}

void sockaddr_set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)address)->sin_port = htons(port);
	else if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}
