#pragma once

/*
 * The epoll loop of the raw baselines. Nothing is checked, counted or timed: one epoll_wait() a
 * batch, one recv() and one send() a read.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The largest read. */
#define EPOLL_READ_BYTES ((size_t)64 * 1024)

/* Called with what a read gave. Sends through epoll_send(). */
typedef void (*epoll_on_read)(int fd, const uint8_t *data, size_t n);

/*
 * Sends, or keeps a copy of what the socket does not take and stops reading until that is sent.
 * Closes the connection if it is broken.
 */
void epoll_send(int fd, const uint8_t *data, size_t n);

/* Accepts and serves until the process is ended. */
_Noreturn void epoll_serve(int listen_fd, epoll_on_read on_read, void (*on_close)(int fd));
