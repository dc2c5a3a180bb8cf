/*
 * One message, a byte at a time. The next byte is sent when the server has read the one before,
 * which only a UNIX socket shows, so that the server reads each byte by itself.
 */
#include "client.h"
#include "proc.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* After the last byte the server sleeps, and the kernel has accounted its time. */
#define SETTLE_US 10000

static int dial_path(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* Returns the bytes that the server has not read, or a negative errno. */
static int unread(int fd)
{
	int n;

	return ioctl(fd, SIOCOUTQ, &n) < 0 ? -errno : n;
}

static int send_slowly(int fd, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int left;

		if (send(fd, bytes + i, 1, MSG_NOSIGNAL) < 0) {
			fprintf(stderr, "send: %s\n", strerror(errno));
			return 1;
		}
		while ((left = unread(fd)) > 0)
			sched_yield();
		if (left < 0) {
			fprintf(stderr, "SIOCOUTQ: %s\n", strerror(-left));
			return 1;
		}
	}
	return 0;
}

static int receive(int fd, const uint8_t *expected, size_t n)
{
	uint8_t buffer[65536];
	size_t received = 0;

	while (received < n) {
		ssize_t r = recv(fd, buffer, sizeof buffer, 0);

		if (r <= 0) {
			fprintf(stderr, "recv: %s\n", r < 0 ? strerror(errno) : "closed early");
			return 1;
		}
		if ((size_t)r > n - received ||
		    memcmp(buffer, expected + received, (size_t)r) != 0) {
			fprintf(stderr, "wrong reply after %zu bytes\n", received);
			return 2;
		}
		received += (size_t)r;
	}
	return 0;
}

static int measure(const struct options *options, const struct corpus *corpus, int fd)
{
	struct proc_usage before, after;
	int r;

	usleep(SETTLE_US);
	if (proc_usage_read(options->session, &before) < 0)
		goto gone;
	r = send_slowly(fd, corpus->sent, corpus->line_bytes);
	if (r == 0)
		r = receive(fd, corpus->replies, corpus->reply_bytes);
	if (r != 0)
		return r;
	usleep(SETTLE_US);
	if (proc_usage_read(options->session, &after) < 0)
		goto gone;
	printf("{\"bytes\": %zu, \"cpu_ns\": %.2f}\n", corpus->line_bytes,
	       (double)(after.cpu_ns - before.cpu_ns) / (double)corpus->line_bytes);
	return 0;
gone:
	fprintf(stderr, "no process of session %d\n", (int)options->session);
	return 1;
}

int client_trickle(const struct options *options)
{
	struct corpus corpus;
	int fd, r;

	if (corpus_init(&corpus, &options->corpus) < 0) {
		fprintf(stderr, "out of memory, or a size below that of a frame\n");
		return 1;
	}
	fd = dial_path(options->path);
	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", options->path, strerror(-fd));
		r = 1;
	} else {
		r = measure(options, &corpus, fd);
		close(fd);
	}
	corpus_finish(&corpus);
	return r;
}
