/* The calls for sockets of this system, whichever files meson.build has selected. */

#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 10000

/* Returns a listening socket on the loopback interface and its address. */
static int listen_on_loopback(struct sockaddr_in *ret_address)
{
	socklen_t length = sizeof(*ret_address);
	int fd = sock_open(AF_INET);

	*ret_address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret_address, length), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &length), 0);
	return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	return fd;
}

static void wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
}

static void expect_flags(int fd)
{
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void test_open_and_accept(void **state)
{
	struct sockaddr_in address, peer = {0}, own = {0};
	socklen_t length = sizeof(peer), own_length = sizeof(own);
	int listening = listen_on_loopback(&address);
	int client, accepted;

	expect_flags(listening);
	assert_int_equal(sock_accept(listening, NULL, NULL), -EAGAIN);
	client = connect_to(&address);
	wait_for(listening, POLLIN);
	accepted = sock_accept(listening, (struct sockaddr *)&peer, &length);
	assert_true(accepted >= 0);
	expect_flags(accepted);
	assert_int_equal(getsockname(client, (struct sockaddr *)&own, &own_length), 0);
	assert_int_equal(peer.sin_port, own.sin_port);
	assert_int_equal(sock_open(-1), -EAFNOSUPPORT);
	assert_int_equal(sock_accept(client, NULL, NULL), -EINVAL);
	close(accepted);
	close(client);
	close(listening);
}

#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE TCP_KEEPALIVE /* macOS */
#endif

static void test_keepalive_is_inherited(void **state)
{
	struct sockaddr_in address;
	int listening = listen_on_loopback(&address);
	int client, accepted, idle_s = 0;
	socklen_t size = sizeof(idle_s);

	sock_set_keepalive_idle(listening, 77);
	client = connect_to(&address);
	wait_for(listening, POLLIN);
	accepted = sock_accept(listening, NULL, NULL);
	assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &size), 0);
	if (UNSENT_IS_KNOWN) /* otherwise the options are unknown, too */
		assert_int_equal(idle_s, 77);
	close(accepted);
	close(client);
	close(listening);
}

/* Reads what has arrived on @fd, at least a byte and at most @max. Returns how many. */
static size_t read_some(int fd, size_t max)
{
	char bytes[65536];
	ssize_t n;

	wait_for(fd, POLLIN);
	n = read(fd, bytes, max < sizeof(bytes) ? max : sizeof(bytes));
	assert_true(n > 0);
	return (size_t)n;
}

/* Fills @fd, which is non-blocking. Returns the number of bytes. */
static size_t fill(int fd)
{
	static const char bytes[65536];
	size_t n = 0;
	ssize_t sent;

	while ((sent = send(fd, bytes, sizeof(bytes), 0)) > 0)
		n += (size_t)sent;
	assert_int_equal(errno, EAGAIN);
	return n;
}

/* Waits until sock_unsent() is less than @before. Returns it. */
static int wait_for_less(int fd, int before)
{
	int n, ms = 0;

	while ((n = sock_unsent(fd)) >= before && ms++ < WAIT_MS)
		poll(NULL, 0, 1);
	assert_true(n < before);
	return n;
}

/* A slow reader counts as active because this number becomes smaller. */
static void test_unsent_of_tcp(void **state)
{
	struct sockaddr_in address;
	int listening = listen_on_loopback(&address);
	int client = connect_to(&address);
	int fd, n;
	size_t left;

	wait_for(listening, POLLIN);
	fd = sock_accept(listening, NULL, NULL);
	assert_true(fd >= 0);
	if (!UNSENT_IS_KNOWN) {
		assert_int_equal(sock_unsent(fd), -1);
	} else {
		assert_int_equal(sock_unsent(fd), 0);
		left = fill(fd);
		n = sock_unsent(fd);
		assert_true(n > 0 && (size_t)n <= left);
		left -= read_some(client, left);
		while (left > 0 && sock_unsent(fd) >= n)
			left -= read_some(client, left);
		n = wait_for_less(fd, n);
		assert_true(n >= 0);
		while (left > 0)
			left -= read_some(client, left);
		assert_int_equal(wait_for_less(fd, 1), 0);
	}
	close(fd);
	close(client);
	close(listening);
}

/* On some systems the reader's side holds the bytes. */
static void test_unsent_of_a_unix_socket(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(write(fds[0], "text", 4), 4);
	assert_true(sock_unsent(fds[0]) >= (UNSENT_IS_KNOWN ? 0 : -1));
	assert_int_equal(read_some(fds[1], 4), 4);
	assert_int_equal(sock_unsent(fds[0]), UNSENT_IS_KNOWN ? 0 : -1);
	close(fds[0]);
	close(fds[1]);
}

static void test_unsent_is_unknown(void **state)
{
	int fd = open("/dev/null", O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(sock_unsent(fd), -1);
	assert_int_equal(sock_unsent(-1), -1);
	close(fd);
}

/* 192.0.2.1 belongs to nobody: RFC 5737. */
static void test_freebind(void **state)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0xc0000201),
	};
	int fd = sock_open(AF_INET);
	int r = sock_freebind(fd, AF_INET);

	assert_true(r == 0 || r == -ENOPROTOOPT || r == -EPERM);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), r == 0 ? 0 : -1);
	close(fd);
}

/* The kernel of Linux before 5.7, and other systems, cannot do that. */
static void test_retire(void **state)
{
	struct sockaddr_in address;
	int listening = listen_on_loopback(&address);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	int r;

	assert_false(sock_is_retired(listening));
	sock_retire(listening);
	r = connect(client, (struct sockaddr *)&address, sizeof(address));
	assert_int_equal(r, sock_is_retired(listening) ? -1 : 0);
	close(client);
	close(listening);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_file_mode(void **state)
{
	char directory[] = "/tmp/ackd-sock-XXXXXX";
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char link[sizeof(un.sun_path)];
	struct stat st;
	int fd = sock_open(AF_UNIX);

	assert_non_null(mkdtemp(directory));
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/socket", directory);
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(symlink(un.sun_path, link), 0);
	assert_int_equal(lstat(un.sun_path, &st), 0);

	sock_set_file_mode(un.sun_path, st.st_dev, st.st_ino, 0620);
	assert_int_equal(mode_of(un.sun_path), 0620);
	sock_set_file_mode(un.sun_path, st.st_dev, st.st_ino + 1, 0666);
	assert_int_equal(mode_of(un.sun_path), 0620);
	sock_set_file_mode(link, st.st_dev, st.st_ino, 0666);
	assert_int_equal(mode_of(un.sun_path), 0620);

	unlink(link);
	unlink(un.sun_path);
	rmdir(directory);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_and_accept),
		cmocka_unit_test(test_keepalive_is_inherited),
		cmocka_unit_test(test_unsent_of_tcp),
		cmocka_unit_test(test_unsent_of_a_unix_socket),
		cmocka_unit_test(test_unsent_is_unknown),
		cmocka_unit_test(test_freebind),
		cmocka_unit_test(test_retire),
		cmocka_unit_test(test_file_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
