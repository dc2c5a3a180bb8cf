#include "ackd/control.h"

#include "ackd/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Longer than any name look-up: the service manager has a time-out of its own. */
#define RELOAD_WAIT_US (UINT64_C(80) * 1000 * 1000)

struct outcome {
	uint64_t begun_us;
	int64_t status; /* enum exit_status, in so many bytes that there is no padding */
};

uint64_t control_now_us(void)
{
	return clock_now_us();
}

static socklen_t control_address(pid_t pid, struct sockaddr_un *ret_un)
{
	*ret_un = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(ret_un->sun_path + 1, sizeof(ret_un->sun_path) - 1, "ackd-reload-%ld",
			 (long)pid);

	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

void control_report(uint64_t begun_us, enum exit_status status)
{
	const struct outcome outcome = {.begun_us = begun_us, .status = status};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;
	socklen_t length = control_address(getpid(), &un);

	if (fd < 0)
		return;
	/* that nobody waits is the usual case */
	(void)!sendto(fd, &outcome, sizeof(outcome), MSG_NOSIGNAL, (struct sockaddr *)&un, length);
	close(fd);
}

/* Receives one outcome that @pid itself has sent. Returns 0, or -EAGAIN for anything else. */
static int control_receive(int fd, pid_t pid, struct outcome *ret_outcome)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct outcome outcome;
	struct iovec iov = {&outcome, sizeof(outcome)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	struct ucred credentials;

	if (recvmsg(fd, &message, MSG_DONTWAIT) != sizeof(outcome))
		return -EAGAIN;
	c = CMSG_FIRSTHDR(&message);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
		return -EAGAIN;
	memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
	if (credentials.pid != pid)
		return -EAGAIN;
	*ret_outcome = outcome;
	return 0;
}

/* Waits for the outcome of a reload that began at @since_us or later. */
static int control_wait(int fd, pid_t pid, uint64_t since_us, enum exit_status *ret_status)
{
	uint64_t deadline_us = since_us + RELOAD_WAIT_US;
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};
	struct outcome outcome;

	while (clock_now_us() < deadline_us) {
		if (poll(&pollfd, 1, 200) < 0 && errno != EINTR)
			return -errno;
		if (control_receive(fd, pid, &outcome) == 0 && outcome.begun_us >= since_us) {
			*ret_status = (enum exit_status)outcome.status;
			return 0;
		}
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return -ESRCH;
	}
	return -ETIMEDOUT;
}

static int control_listen(pid_t pid, int *ret_fd)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;
	socklen_t length = control_address(pid, &un);
	uint64_t deadline_us = clock_now_us() + RELOAD_WAIT_US;
	int one = 1, r = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		r = -errno;
	/* another --reload is waiting: reloads take turns */
	while (r == 0 && bind(fd, (struct sockaddr *)&un, length) < 0) {
		if (errno != EADDRINUSE || clock_now_us() > deadline_us)
			r = -errno;
		else
			poll(NULL, 0, 50);
	}
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* Returns the process in $MAINPID, or 0. */
static pid_t main_pid(void)
{
	const char *text = getenv("MAINPID");
	char *end;
	long pid;

	if (!text || !*text)
		return 0;
	errno = 0;
	pid = strtol(text, &end, 10);
	return errno == 0 && *end == '\0' && pid > 1 && (pid_t)pid == pid ? (pid_t)pid : 0;
}

enum exit_status control_reload(void)
{
	pid_t pid = main_pid();
	enum exit_status status = EXIT_OS;
	uint64_t since_us;
	int fd = -1, r;

	if (pid == 0) {
		fprintf(stderr, "ackd: --reload: the environment variable MAINPID must be the "
				"process ID of the running ackd\n");
		return EXIT_USAGE;
	}
	r = control_listen(pid, &fd);
	if (r < 0) {
		fprintf(stderr, "ackd: --reload: cannot wait for process %ld: %s\n", (long)pid,
			strerror(-r));
		return EXIT_OS;
	}
	since_us = clock_now_us();
	r = kill(pid, SIGHUP) < 0 ? -errno : control_wait(fd, pid, since_us, &status);
	close(fd);
	if (r < 0) {
		fprintf(stderr, "ackd: --reload: process %ld: %s\n", (long)pid,
			r == -ETIMEDOUT ? "no word of the outcome in time" : strerror(-r));
		return EXIT_OS;
	}
	if (status != EXIT_DONE)
		fprintf(stderr,
			"ackd: --reload: the reload failed, the configuration in force "
			"stays; the log of process %ld says why\n",
			(long)pid);
	return status;
}
