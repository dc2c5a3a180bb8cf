#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The index of an interface that does not exist. */
#define NO_INTERFACE INT_MAX

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int sock_open(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int sock_accept(int fd, struct sockaddr *ret_peer, socklen_t *length)
{
	int accepted = accept4(fd, ret_peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return accepted < 0 ? -errno : accepted;
}

int sock_freebind(int fd, int family)
{
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
				  : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
}

bool sock_spreads(void)
{
	return true;
}

bool sock_has_abstract_names(void)
{
	return true;
}

/*
 * A listening socket that is bound to another interface than the one on which a SYN arrives does
 * not match it. A handshake that has begun is found by its own addresses and ports, and keeps the
 * interface that the socket had when the SYN arrived. A socket filter that drops SYNs would instead
 * delay clients by a second, until they send the SYN again.
 */
void sock_retire(int fd)
{
	set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE);
}

bool sock_is_retired(int fd)
{
	int index = 0;
	socklen_t size = sizeof(index);

	return getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &size) == 0 &&
	       index == NO_INTERFACE;
}

void sock_set_keepalive_idle(int fd, unsigned idle_s)
{
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
}

void sock_set_user_timeout(int fd, uint64_t timeout_ms)
{
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms < INT_MAX ? (int)timeout_ms : 0);
}

void sock_acknowledge(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

int sock_unsent(int fd)
{
	int n;

	return ioctl(fd, SIOCOUTQ, &n) == 0 ? n : -1;
}

void sock_set_file_mode(const char *path, dev_t device, ino_t inode, mode_t mode)
{
	char link[sizeof("/proc/self/fd/") + 10];
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode &&
	    (st.st_mode & 07777) != mode)
		chmod(link, mode);
	close(fd);
}
