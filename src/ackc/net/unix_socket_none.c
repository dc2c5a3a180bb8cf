#include "ackc/net/unix_socket.h"

int unix_socket_connect(uv_pipe_t *pipe, const struct sockaddr_un *un)
{
	return UV_ENOTSUP;
}
