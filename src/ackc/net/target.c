#include "ackc/net/target.h"

#include "ackc/output/process.h"
#include "core/text/printable.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UNIX_SCHEME "unix:"

bool target_is_unix(const char *host)
{
	return strncmp(host, UNIX_SCHEME, strlen(UNIX_SCHEME)) == 0;
}

/* Returns the colon of HOST:PORT, or NULL. Several colons are an IPv6 address. */
static const char *port_colon(const char *host)
{
	const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : host, ':');

	if (bracket)
		return colon == bracket + 1 ? colon : NULL;
	return colon && !strchr(colon + 1, ':') ? colon : NULL;
}

bool target_takes_port(const char *host)
{
	return !target_is_unix(host) && !port_colon(host);
}

static const char *parse_port(const char *text, uint16_t *ret_port)
{
	unsigned long value = 0;

	if (!*text || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
		return "a PORT is a number from 1 to 65535 (TEXT needs a PORT before it)";
	value = strtoul(text, NULL, 10);
	if (value < 1 || value > 65535)
		return "a PORT is a number from 1 to 65535";
	*ret_port = (uint16_t)value;
	return NULL;
}

static const char *parse_path(const char *path, struct target *t)
{
	static char too_long[64];

	if (path[path[0] == '@'] == '\0')
		return "the PATH of a socket is missing";
	if (strlen(path) > TARGET_PATH_MAX) {
		snprintf(too_long, sizeof(too_long),
			 "the path of a UNIX socket has at most %zu bytes", TARGET_PATH_MAX);
		return too_long;
	}
	strcpy(t->path, path);
	strcpy(t->label, UNIX_SCHEME);
	printable_escape(t->label + strlen(UNIX_SCHEME), sizeof(t->label) - strlen(UNIX_SCHEME),
			 path);
	return NULL;
}

/* Parses the @length bytes of HOST: a name, an address, or an address in brackets. */
static const char *parse_host(const char *host, size_t length, struct target *t)
{
	if (length > 0 && host[0] == '[') {
		if (length < 2 || memchr(host, ']', length) != host + length - 1)
			return "write an IPv6 address as [ADDRESS] or [ADDRESS]:PORT";
		host++;
		length -= 2;
	}
	if (length == 0)
		return "HOST is empty";
	if (length > TARGET_HOST_MAX)
		return "HOST is too long";
	memcpy(t->host, host, length);
	t->host[length] = '\0';
	return NULL;
}

static void make_label(struct target *t)
{
	char host[PRINTABLE_SIZE(TARGET_HOST_MAX)];

	printable_escape(host, sizeof(host), t->host);
	snprintf(t->label, sizeof(t->label), strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", host,
		 (unsigned)t->port);
}

const char *target_parse(const char *host, const char *port, struct target *t)
{
	const char *colon = port_colon(host);
	const char *wrong = NULL;

	t->host[0] = t->path[0] = '\0';
	t->port = TARGET_DEFAULT_PORT;
	if (target_is_unix(host) && !process_has_unix_sockets)
		return "UNIX sockets are not supported on this system";
	if (target_is_unix(host))
		return parse_path(host + strlen(UNIX_SCHEME), t);
	if (colon)
		port = colon + 1;
	if (port)
		wrong = parse_port(port, &t->port);
	if (!wrong)
		wrong = parse_host(host, colon ? (size_t)(colon - host) : strlen(host), t);
	if (!wrong)
		make_label(t);
	return wrong;
}

/* Parses SRC:PORT. Returns whether it is valid. */
static bool parse_source(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)ret;
	struct target t;

	if (target_is_unix(text) || target_takes_port(text) || target_parse(text, NULL, &t))
		return false;
	if (inet_pton(AF_INET, t.host, &ipv4->sin_addr) == 1) {
		ret->ss_family = AF_INET;
		ipv4->sin_port = htons(t.port);
		return true;
	}
	ret->ss_family = AF_INET6;
	ipv6->sin6_port = htons(t.port);
	return inet_pton(AF_INET6, t.host, &ipv6->sin6_addr) == 1;
}

bool proxy_choice_parse(const char *text, struct proxy_choice *ret)
{
	struct proxy_choice c = {.source = {.ss_family = AF_UNSPEC}};

	if (text[0] != 'v' || (text[1] != '1' && text[1] != '2'))
		return false;
	c.version = text[1] - '0';
	if (text[2] == ',' ? !parse_source(text + 3, &c.source) : text[2] != '\0')
		return false;
	*ret = c;
	return true;
}
