#include "ackc/net/unix_socket.h"

#include "base/address.h"
#include "base/sock.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* libuv can connect to an abstract name since version 1.46 only. */
int unix_socket_connect(uv_pipe_t *pipe, const struct sockaddr_un *un)
{
	const struct sockaddr *sa = (const struct sockaddr *)un;
	socklen_t n = sizeof(*un);
	int fd = sock_open(AF_UNIX);
	int r;

	if (fd < 0)
		return fd;
	if (sockaddr_is_abstract(sa))
		n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				strnlen(un->sun_path + 1, sizeof(un->sun_path) - 1));
	/* it does not wait: either there is room in the server's queue, or it fails */
	r = connect(fd, sa, n) < 0 ? -errno : uv_pipe_open(pipe, fd);
	if (r < 0)
		close(fd);
	return r;
}
