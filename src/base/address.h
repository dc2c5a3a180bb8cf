#pragma once

/* A peer's address, in the 20 bytes that every connection has to spare. */

#include <stdint.h>
#include <sys/socket.h>

struct address {
	uint8_t bytes[16]; /* IPv6, or IPv4 in the first four; zero for AF_UNIX */
	uint16_t port;	   /* host byte order */
	uint8_t family;	   /* AF_INET, AF_INET6 or AF_UNIX */
	uint8_t reserved; /* instead of padding, which would go uninitialized to the next process */
};

/* Room for "[2001:db8::1]:4711" and, of a UNIX socket, "unix:" and its path. */
#define ADDRESS_TEXT_MAX 128

/* Takes what matters of @sa; an IPv4-mapped IPv6 address becomes IPv4. */
struct address address_from_sockaddr(const struct sockaddr *sa);

/* Fills @ret_storage; returns the length of the socket address. */
socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret_storage);

/* Writes "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix"; returns @out. */
const char *address_format(const struct address *address, char out[ADDRESS_TEXT_MAX]);

/*
 * The same for any socket address, zeroed after its end; of a UNIX socket "unix:PATH", or as others
 * write an abstract name "unix:@NAME".
 */
const char *sockaddr_format(const struct sockaddr *sa, char out[ADDRESS_TEXT_MAX]);
