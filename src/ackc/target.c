#include "ackc/target.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UNIX_SCHEME "unix:"

int target_is_unix(const char *host)
{
	return strncmp(host, UNIX_SCHEME, strlen(UNIX_SCHEME)) == 0;
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
	if (!*path)
		return "the PATH of a socket is missing";
	if (strlen(path) > TARGET_PATH_MAX)
		return "the path of a UNIX socket has at most 107 bytes";
	strcpy(t->path, path);
	snprintf(t->label, sizeof(t->label), UNIX_SCHEME "%s", path);
	return NULL;
}

const char *target_parse(const char *host, const char *port, struct target *t)
{
	size_t length = strlen(host);
	const char *wrong = NULL;

	*t = (struct target){.port = TARGET_DEFAULT_PORT, .family = AF_UNSPEC};
	if (target_is_unix(host))
		return parse_path(host + strlen(UNIX_SCHEME), t);
	if (port)
		wrong = parse_port(port, &t->port);
	if (wrong)
		return wrong;
	if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	if (length == 0)
		return "HOST is empty";
	if (length > TARGET_HOST_MAX)
		return "HOST is too long";
	memcpy(t->host, host, length);
	snprintf(t->label, sizeof(t->label), strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host,
		 (unsigned)t->port);
	return NULL;
}
