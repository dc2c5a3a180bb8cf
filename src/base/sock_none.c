#include "base/sock.h"

#include <errno.h>

int sock_freebind(int fd, int family)
{
	return -ENOPROTOOPT;
}

void sock_set_keepalive_idle(int fd, unsigned idle_s)
{
}

void sock_set_user_timeout(int fd, uint64_t timeout_ms)
{
}

void sock_inherit(int fd, int listening)
{
}

int sock_unsent(int fd)
{
	return -1;
}
