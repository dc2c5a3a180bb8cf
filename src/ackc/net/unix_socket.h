#pragma once

/*
 * Connects to UNIX sockets. unix_socket_posix.c implements it for POSIX systems; libuv has none for
 * Windows.
 */

#include <sys/un.h>
#include <uv.h>

/*
 * Connects @pipe, which has only been initialized, to the socket at @un, which may be abstract.
 * Returns 0 or a negative errno.
 */
int unix_socket_connect(uv_pipe_t *pipe, const struct sockaddr_un *un);
