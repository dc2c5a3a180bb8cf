#include "base/sock.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/filio.h>
#include <sys/ioctl.h>

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Needs the privilege PRIV_NETINET_BINDANY, which only root has. */
int sock_freebind(int fd, int family)
{
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_BINDANY, 1)
				  : set_int(fd, IPPROTO_IP, IP_BINDANY, 1);
}

void sock_set_keepalive_idle(int fd, unsigned idle_s)
{
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
}

/* The unit of TCP_MAXUNACKTIME is a second. */
void sock_set_user_timeout(int fd, uint64_t timeout_ms)
{
	set_int(fd, IPPROTO_TCP, TCP_MAXUNACKTIME,
		timeout_ms < INT_MAX ? (int)((timeout_ms + 999) / 1000) : 0);
}

/* The kernel does that. */
void sock_inherit(int fd, int listening)
{
}

/* TIOCOUTQ, which is for terminals, compiles here but fails for sockets. */
int sock_unsent(int fd)
{
	int n;

	return ioctl(fd, FIONWRITE, &n) == 0 ? n : -1;
}
