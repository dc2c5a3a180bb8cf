#pragma once

/*
 * The epoll loop of the raw baselines. It checks, counts and times nothing: one epoll_wait() per
 * batch, one recv() and one send() per read.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The largest read. */
#define EPOLL_READ_BYTES ((size_t)64 * 1024)

/* Called with the data of a read. Sends through epoll_send(). */
typedef void (*epoll_on_read)(int fd, const uint8_t *data, size_t n);

/*
 * Sends; keeps a copy of the unsent rest and stops reading until that is sent.
 * Closes the connection if it is broken.
 */
void epoll_send(int fd, const uint8_t *data, size_t n);

/* Accepts and serves until the process is ended. */
_Noreturn void epoll_serve(int listen_fd, epoll_on_read on_read, void (*on_close)(int fd));
