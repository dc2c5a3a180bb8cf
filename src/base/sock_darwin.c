#include "base/sock.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

int sock_freebind(int fd, int family)
{
	return -ENOPROTOOPT;
}

void sock_set_keepalive_idle(int fd, unsigned idle_s)
{
	const int s = (int)idle_s;

	setsockopt(fd, IPPROTO_TCP, TCP_KEEPALIVE, &s, sizeof(s));
}

/* The unit of TCP_RXT_CONNDROPTIME is a second. */
void sock_set_user_timeout(int fd, uint64_t timeout_ms)
{
	const int s = timeout_ms < INT_MAX ? (int)((timeout_ms + 999) / 1000) : 0;

	setsockopt(fd, IPPROTO_TCP, TCP_RXT_CONNDROPTIME, &s, sizeof(s));
}

static void copy_option(int to, int from, int option)
{
	int value;
	socklen_t size = sizeof(value);

	if (getsockopt(from, IPPROTO_TCP, option, &value, &size) == 0)
		setsockopt(to, IPPROTO_TCP, option, &value, sizeof(value));
}

/* Accepted sockets have only the number of keepalive probes and the interval between them. */
void sock_inherit(int fd, int listening)
{
	copy_option(fd, listening, TCP_KEEPALIVE);
	copy_option(fd, listening, TCP_RXT_CONNDROPTIME);
}

/* TIOCOUTQ, which is for terminals, compiles here but fails for sockets. */
int sock_unsent(int fd)
{
	int n;
	socklen_t size = sizeof(n);

	return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &size) == 0 ? n : -1;
}
