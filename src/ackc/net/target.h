#pragma once

/* The server given on the command line: HOST and PORT, HOST:PORT, or unix:PATH (unix:@NAME:
 * abstract). */

#include "ackc/net/proxy_send.h"
#include "ackc/tls/tls.h"
#include "base/address.h"

#include <stdbool.h>
#include <stdint.h>

#define TARGET_DEFAULT_PORT 10080
#define TARGET_HOST_MAX 255 /* a DNS name has at most 253 bytes; a scoped address fits too */
#define TARGET_PATH_MAX SOCKADDR_PATH_MAX

/* Room for a name or path with unprintable characters escaped (core/text/printable.h). */
#define TARGET_LABEL_MAX (4 * TARGET_HOST_MAX + sizeof("unix:[]:65535"))

struct target {
	char host[TARGET_HOST_MAX + 1]; /* without brackets; empty for a UNIX socket */
	char path[TARGET_PATH_MAX + 1]; /* empty for TCP; "@NAME": abstract */
	uint16_t port;
	int family; /* AF_UNSPEC, AF_INET or AF_INET6 */
	struct proxy_choice proxy;
	struct tls_options tls;
	struct tls_client *tls_client; /* made from @tls; NULL: plain text */
	/* The name used in messages: "localhost:8080", "[::1]:8080", "unix:/run/x"; printable. */
	char label[TARGET_LABEL_MAX];
};

/*
 * Sets host, path, port and label of @t from HOST and PORT (NULL: the default port). PORT must be
 * NULL unless target_takes_port(). Returns NULL, or a static description of the error.
 */
const char *target_parse(const char *host, const char *port, struct target *t);

/* Returns whether @host names a UNIX socket. */
bool target_is_unix(const char *host);

/*
 * Returns whether PORT may follow @host as a separate argument: not after unix:PATH or HOST:PORT.
 */
bool target_takes_port(const char *host);

/*
 * Parses the value of --proxy, v1|v2[,SRC:PORT], where SRC is an IPv4 address or an IPv6 address in
 * brackets. Returns false, and leaves @ret unchanged, if @text is anything else.
 */
bool proxy_choice_parse(const char *text, struct proxy_choice *ret);
