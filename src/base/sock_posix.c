#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes @fd non-blocking and closed on exec. Returns @fd, or a negative errno with it closed. */
static int prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int r;

	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	    fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

int sock_open(int family)
{
	int fd = socket(family, SOCK_STREAM, 0);

	return fd < 0 ? -errno : prepare(fd);
}

int sock_accept(int fd, struct sockaddr *ret_peer, socklen_t *length)
{
	int accepted = accept(fd, ret_peer, length);

	if (accepted < 0)
		return -errno;
	sock_inherit(accepted, fd);
	return prepare(accepted);
}

/* With SO_REUSEPORT the BSDs give all connections to the last socket that listens. */
bool sock_spreads(void)
{
	return false;
}

bool sock_has_abstract_names(void)
{
	return false;
}

void sock_retire(int fd)
{
}

bool sock_is_retired(int fd)
{
	return false;
}

void sock_acknowledge(int fd)
{
}

void sock_set_file_mode(const char *path, dev_t device, ino_t inode, mode_t mode)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == device && st.st_ino == inode &&
	    (st.st_mode & 07777) != mode)
		(void)!fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}
