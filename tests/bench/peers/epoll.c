#include "epoll.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 1024
#define FDS_MAX 65536

/* Data that does not fit into the socket buffer yet. */
struct unsent {
	size_t length;
	size_t sent;
	uint8_t bytes[];
};

static struct unsent *unsent[FDS_MAX];
static int epoll_fd;
static void (*closed)(int fd);

static void watch(int fd, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) {
		perror("epoll_ctl");
		exit(71);
	}
}

static void drop(int fd)
{
	free(unsent[fd]);
	unsent[fd] = NULL;
	if (closed)
		closed(fd);
	close(fd);
}

static void keep(int fd, const uint8_t *data, size_t n)
{
	struct unsent *rest = malloc(sizeof *rest + n);

	if (!rest) {
		drop(fd);
		return;
	}
	rest->length = n;
	rest->sent = 0;
	memcpy(rest->bytes, data, n);
	unsent[fd] = rest;
	watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

void epoll_send(int fd, const uint8_t *data, size_t n)
{
	ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

	if (sent == (ssize_t)n)
		return;
	if (sent < 0 && errno != EAGAIN)
		drop(fd);
	else
		keep(fd, data + (sent > 0 ? sent : 0), n - (size_t)(sent > 0 ? sent : 0));
}

static void send_rest(int fd)
{
	struct unsent *rest = unsent[fd];
	ssize_t n = send(fd, rest->bytes + rest->sent, rest->length - rest->sent, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			drop(fd);
		return;
	}
	rest->sent += (size_t)n;
	if (rest->sent == rest->length) {
		free(rest);
		unsent[fd] = NULL;
		watch(fd, EPOLL_CTL_MOD, EPOLLIN);
	}
}

static void accept_all(int listen_fd)
{
	for (;;) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (fd >= FDS_MAX) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		watch(fd, EPOLL_CTL_ADD, EPOLLIN);
	}
}

_Noreturn void epoll_serve(int listen_fd, epoll_on_read on_read, void (*on_close)(int fd))
{
	static uint8_t buffer[EPOLL_READ_BYTES];
	static struct epoll_event events[EVENTS_MAX];

	closed = on_close;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(listen_fd, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t received;

			if (fd == listen_fd) {
				accept_all(fd);
				continue;
			}
			if (unsent[fd]) {
				send_rest(fd);
				continue;
			}
			received = recv(fd, buffer, sizeof buffer, 0);
			if (received > 0)
				on_read(fd, buffer, (size_t)received);
			else if (received == 0 || errno != EAGAIN)
				drop(fd);
		}
	}
}
