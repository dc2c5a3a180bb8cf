#pragma once

/* A peer's address in 20 bytes, small enough to store in every connection. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
	uint8_t bytes[16]; /* IPv6, or IPv4 in the first four; zero for AF_UNIX */
	uint16_t port;	   /* host byte order */
	uint8_t family;	   /* AF_INET, AF_INET6 or AF_UNIX */
	uint8_t reserved;  /* explicit padding: implicit padding would reach the next process
			      uninitialized */
};

/* Room for "[2001:db8::1]:4711", or "unix:" and the path of a UNIX socket. */
#define ADDRESS_TEXT_MAX 128

/* Converts @sa. An IPv4-mapped IPv6 address becomes an IPv4 address. */
struct address address_from_sockaddr(const struct sockaddr *sa);

/* Fills @ret_storage; returns the length of the socket address. */
socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret_storage);

/* Writes "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix"; returns @out. */
const char *address_format(const struct address *address, char out[ADDRESS_TEXT_MAX]);

/*
 * Writes any socket address, whose storage is zeroed after its end. A UNIX socket is "unix:PATH";
 * an abstract name is "unix:@NAME". Returns @out.
 */
const char *sockaddr_format(const struct sockaddr *sa, char out[ADDRESS_TEXT_MAX]);

/* The longest path of a UNIX socket: 107 bytes in Linux, 103 on the BSDs. */
#define SOCKADDR_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/*
 * Sets @ret_un to the UNIX socket at @path, of at most SOCKADDR_PATH_MAX bytes, or, for "@NAME", to
 * the abstract socket NAME. Returns the length of the address, as from getsockname().
 */
socklen_t sockaddr_set_path(struct sockaddr_un *ret_un, const char *path);

/* Returns whether @sa is an abstract UNIX socket, which has no file. */
bool sockaddr_is_abstract(const struct sockaddr *sa);

/* Returns or sets the port (host byte order) of an IPv4 or IPv6 address. Others have port 0. */
uint16_t sockaddr_port(const struct sockaddr_storage *address);
void sockaddr_set_port(struct sockaddr_storage *address, uint16_t port);
