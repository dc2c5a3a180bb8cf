#include "ackd/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_NAME "ackd-handover"
#define BARRIER_US (UINT64_C(5) * 1000 * 1000)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Room for the descriptors of one message. */
union fds_control {
	char bytes[CMSG_SPACE(HANDOVER_BATCH * sizeof(int))];
	struct cmsghdr first;
};

int handover_init(struct handover *handover)
{
	int fds[2], room = INT_MAX;
	int r = systemd_barrier(BARRIER_US);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	/* a message takes 768 bytes: twice net.core.wmem_max is the most that there is */
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	*handover = (struct handover){.writing = fds[0], .reading = fds[1]};
	return 0;
}

int handover_send(struct handover *handover, const int *fds, size_t n)
{
	union fds_control control;
	struct iovec byte = {(char[1]){0}, 1}; /* a message carries at least one byte */
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	struct cmsghdr *c = &control.first;

	memset(&control, 0, sizeof(control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(handover->writing, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		p += written;
		n -= (size_t)written;
	}
	return 0;
}

/* Returns a sealed memfd with the bytes, or a negative errno. */
static int memfd_sealed(const uint8_t *p, size_t n)
{
	int fd = memfd_create(STORE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, p, n);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int handover_store(struct handover *handover, uint64_t numbered)
{
	int r = state_seal(&handover->writer, numbered);
	int memfd;

	if (r < 0)
		return r;
	memfd = memfd_sealed(handover->writer.bytes, handover->writer.length);
	if (memfd < 0)
		return memfd;
	r = systemd_store_add(STORE_NAME, (int[]){memfd, handover->reading}, 2);
	if (r == 0)
		r = systemd_barrier(BARRIER_US);
	close(memfd);
	return r;
}

void handover_finish(struct handover *handover)
{
	close(handover->writing);
	close(handover->reading);
	state_writer_finish(&handover->writer);
}

/* ---- the next process ---- */

bool takeover_is_part(const struct systemd_fd *fd)
{
	return strcmp(fd->name, STORE_NAME) == 0;
}

static int map_state(int memfd, struct takeover *takeover)
{
	int seals = fcntl(memfd, F_GET_SEALS);
	struct stat st;
	void *bytes;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EBADMSG; /* it could change under us */
	if (fstat(memfd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > STATE_SIZE_MAX)
		return -EBADMSG;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	takeover->bytes = bytes;
	takeover->length = (size_t)st.st_size;
	return state_open(takeover->bytes, takeover->length, &takeover->reader);
}

/*
 * Receives the descriptors of one message. Returns 0, -ENODATA when there are none, or another
 * negative errno.
 */
static int receive_batch(int reading, struct takeover *takeover, size_t max)
{
	union fds_control control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t received = recvmsg(reading, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t n = 0;

	if (received < 0)
		return errno == EAGAIN ? -ENODATA : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		const unsigned char *p = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t left = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); left > 0; left--) {
			int fd;

			memcpy(&fd, p, sizeof(fd));
			p += sizeof(fd);
			n++;
			if (takeover->n_fds < max)
				takeover->fds[takeover->n_fds++] = fd;
			else
				close(fd);
		}
	}
	return n == 0 || message.msg_flags & MSG_CTRUNC ? -ENODATA : 0;
}

static int receive_fds(int reading, struct takeover *takeover)
{
	size_t n = takeover->reader.n_connections;
	int r = 0;

	takeover->fds = calloc(n > 0 ? n : 1, sizeof(int));
	if (!takeover->fds)
		return -ENOMEM;
	while (takeover->n_fds < n && r == 0)
		r = receive_batch(reading, takeover, n);
	return r;
}

/* Tells the two apart: the state is a file, the queue of descriptors a socket. */
static int takeover_read(const struct systemd_fd *fds, size_t n, struct takeover *takeover)
{
	int memfd = -1, reading = -1, r;
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		if (fstat(fds[i].fd, &st) < 0)
			return -errno;
		*(S_ISSOCK(st.st_mode) ? &reading : &memfd) = fds[i].fd;
	}
	if (n != 2 || memfd < 0 || reading < 0)
		return -EBADMSG;
	r = map_state(memfd, takeover);
	return r < 0 ? r : receive_fds(reading, takeover);
}

int takeover_init(struct systemd_fd *fds, size_t n, struct takeover *ret_takeover)
{
	struct takeover takeover = {0};
	int r = systemd_store_remove(STORE_NAME);

	if (r == 0)
		r = systemd_barrier(BARRIER_US);
	if (r == 0)
		r = takeover_read(fds, n, &takeover);
	for (size_t i = 0; i < n; i++) {
		close(fds[i].fd);
		free(fds[i].name);
	}
	if (r < 0) {
		takeover_finish(&takeover);
		return r;
	}
	*ret_takeover = takeover;
	return 0;
}

void takeover_finish(struct takeover *takeover)
{
	for (size_t i = 0; i < takeover->n_fds; i++)
		if (takeover->fds[i] >= 0)
			close(takeover->fds[i]);
	free(takeover->fds);
	if (takeover->bytes)
		munmap(takeover->bytes, takeover->length);
	*takeover = (struct takeover){0};
}
