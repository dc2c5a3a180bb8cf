#include "ackc/output/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* libuv's epoll, eventfd and two signal pipes, plus the connection and a spare */
#define DESCRIPTORS_OF_LIBUV 8

const int process_signal_interim = SIGQUIT;
const bool process_has_unix_sockets = true;

/*
 * Opens standard descriptors that the caller has closed. Otherwise a libuv socket or pipe would get
 * that number, and replies would be printed into it. The substitutes fail on every read or write.
 */
static bool fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	}
	return true;
}

/* Returns whether enough descriptors are left for libuv. */
static bool descriptors_left(void)
{
	int fds[DESCRIPTORS_OF_LIBUV];
	unsigned n;

	for (n = 0; n < DESCRIPTORS_OF_LIBUV; n++) {
		fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0)
			break;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	return n == DESCRIPTORS_OF_LIBUV;
}

bool process_prepare(int *argc, char ***argv)
{
	/* libuv writes to sockets without MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	return fill_standard_descriptors() && descriptors_left();
}

void process_end_as_filter(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

enum process_input process_look_at_input(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	/* some systems cannot poll a device */
	return poll(&p, 1, 0) > 0 && !(p.revents & POLLNVAL) ? PROCESS_INPUT_READY
							     : PROCESS_INPUT_NONE;
}

int process_read_input(char *bytes, size_t n)
{
	ssize_t r = read(STDIN_FILENO, bytes, n);

	return r < 0 ? -errno : (int)r;
}

void process_exit(int status)
{
	_exit(status);
}

int process_failure(int error)
{
	return error;
}
