/*
 * The normal sequence: --reload connects -> on_connection() accepts -> on_request() begins a reload
 * -> control_report() writes the result and closes -> --reload exits with it. A request that
 * arrives during a reload waits in the socket's queue. Each request is thus answered by a reload
 * that began after it.
 *
 * If the daemon ends first, --reload sees the connection close.
 */

#include "ackd/server/control.h"

#include "ackd/log/log.h"
#include "base/sock.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Longer than any name look-up; the service manager has its own timeout. */
#define RELOAD_WAIT_S 80

/*
 * Returns the length of the first directory in $RUNTIME_DIRECTORY. Colons separate several
 * directories, but may also be part of the name of a single one.
 */
static size_t directory_length(const char *directory)
{
	return access(directory, F_OK) == 0 ? strlen(directory) : strcspn(directory, ":");
}

/*
 * Fills in the socket's address for the process @pid of the user @uid. Returns 0 or -ENAMETOOLONG.
 */
static int control_address(pid_t pid, uid_t uid, struct sockaddr_un *ret_un)
{
	const char *directory = getenv("RUNTIME_DIRECTORY");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t size = sizeof(un.sun_path);
	int n;

	if (directory && *directory)
		n = snprintf(un.sun_path, size, "%.*s/control", (int)directory_length(directory),
			     directory);
	else if (uid == 0)
		n = snprintf(un.sun_path, size, RUN_DIRECTORY "/ackd-%ld.control", (long)pid);
	else
		n = snprintf(un.sun_path, size, RUN_DIRECTORY "/user/%lu/ackd-%ld.control",
			     (unsigned long)uid, (long)pid);
	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	*ret_un = un;
	return 0;
}

/* ---- the daemon ---- */

static void answer(int fd, enum exit_status status)
{
	uint8_t byte = (uint8_t)status;

	/* ignores errors: the client may be gone */
	(void)!send(fd, &byte, sizeof(byte), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* Returns whether the peer has already closed, like a probe that only checks for a listener. */
static bool is_gone(int fd)
{
	char byte;

	return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct control *control = poll->data;
	int fd, error = 0;

	while (control->n_waiting < CONTROL_WAITING_MAX) {
		fd = sock_accept(control->endpoint->fds[0], NULL, NULL);
		if (fd < 0) {
			error = fd;
			break;
		}
		if (is_gone(fd))
			close(fd);
		else
			control->waiting[control->n_waiting++] = fd;
	}
	/* stop polling without room or descriptors, or the loop would spin */
	if (control->n_waiting == CONTROL_WAITING_MAX ||
	    (error && error != -EAGAIN && error != -EINTR && error != -ECONNABORTED))
		control_hold(control);
	if (control->n_waiting > 0)
		control->on_request(control->data);
}

static int control_listen(struct control *control, uv_loop_t *loop, const struct sockaddr_un *un)
{
	const struct endpoint_options options = {
		.n_sockets = 1,
		.backlog = CONTROL_WAITING_MAX,
		.mode = S_IRUSR | S_IWUSR,
	};
	int r = endpoint_create("control", (const struct sockaddr *)un, sizeof(*un), &options,
				&control->endpoint);

	if (r < 0)
		return r;
	r = endpoint_listen(control->endpoint, &options);
	if (r == 0) {
		endpoint_activate(control->endpoint);
		r = uv_poll_init(loop, &control->poll, control->endpoint->fds[0]);
	}
	if (r < 0) {
		endpoint_destroy(control->endpoint);
		control->endpoint = NULL;
		return r;
	}
	control->poll.data = control;
	return 0;
}

void control_init(struct control *control, uv_loop_t *loop, void (*on_request)(void *data),
		  void *data)
{
	/* only a warning for a service: otherwise the directory may not exist */
	bool is_service = getenv("RUNTIME_DIRECTORY") != NULL;
	struct sockaddr_un un = {0};
	int r = control_address(getpid(), geteuid(), &un);

	control->on_request = on_request;
	control->data = data;
	if (r == 0)
		r = control_listen(control, loop, &un);
	if (r < 0)
		log_post_at(is_service ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, LOG_START, NULL,
			    "\"ackd --reload\" will fail: cannot listen on %s: %s",
			    *un.sun_path ? un.sun_path : "$RUNTIME_DIRECTORY/control",
			    uv_strerror(r));
}

void control_hold(struct control *control)
{
	if (control->endpoint)
		uv_poll_stop(&control->poll);
}

void control_accept(struct control *control)
{
	if (control->endpoint)
		uv_poll_start(&control->poll, UV_READABLE, on_connection);
}

void control_report(struct control *control, enum exit_status status)
{
	while (control->n_waiting > 0)
		answer(control->waiting[--control->n_waiting], status);
}

void control_drop(struct control *control)
{
	while (control->n_waiting > 0)
		close(control->waiting[--control->n_waiting]);
}

void control_finish(struct control *control)
{
	control_drop(control);
	endpoint_destroy(control->endpoint);
	control->endpoint = NULL;
}

/* ---- ackd --reload ---- */

/* Reports an error. Returns EXIT_OS. */
__attribute__((format(printf, 1, 2))) static enum exit_status fail(const char *format, ...)
{
	va_list arguments;

	fputs("ackd: --reload: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return EXIT_OS;
}

/* Returns the process ID in $MAINPID, or 0. */
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

/* Returns the user of the process @pid, or the caller's own if unknown. */
static uid_t owner_of(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%ld", (long)pid);
	return stat(path, &st) < 0 ? geteuid() : st.st_uid;
}

/*
 * With a timeout, connect(2) and recv(2) return EINTR after SIGSTOP and SIGCONT, also in a process
 * that catches no signal (signal(7)). The timeout then begins again.
 */
static int connect_through_stops(int fd, const struct sockaddr_un *un)
{
	int r;

	do
		r = connect(fd, (const struct sockaddr *)un, sizeof(*un));
	while (r < 0 && errno == EINTR);
	return r;
}

static ssize_t receive_through_stops(int fd, uint8_t *ret_status)
{
	ssize_t n;

	do
		n = recv(fd, ret_status, sizeof(*ret_status), 0);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Connects to the daemon at @un. Returns the descriptor or a negative errno. */
static int control_connect(const struct sockaddr_un *un)
{
	const struct timeval wait = {.tv_sec = RELOAD_WAIT_S};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	/* connect(2) waits while the queue is full, recv(2) for the result */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect_through_stops(fd, un) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Asks the daemon at @un to reload. Returns the exit status from the daemon. */
static enum exit_status control_ask(const struct sockaddr_un *un)
{
	uint8_t status = EXIT_OS;
	int fd = control_connect(un);
	ssize_t n;

	if (fd == -EAGAIN)
		return fail("%s: no connection within %d s", un->sun_path, RELOAD_WAIT_S);
	if (fd < 0)
		return fail("cannot connect to ackd at %s: %s", un->sun_path, strerror(-fd));
	n = receive_through_stops(fd, &status);
	if (n < 0 && errno == EAGAIN)
		fail("%s: no result within %d s", un->sun_path, RELOAD_WAIT_S);
	else if (n <= 0)
		fail("%s: ackd is ending and does not reload", un->sun_path);
	else if (status != EXIT_DONE)
		fail("the reload failed, and the old configuration stays in force; see the log of "
		     "ackd");
	close(fd);
	return n == 1 ? (enum exit_status)status : EXIT_OS;
}

enum exit_status control_reload(void)
{
	const char *directory = getenv("RUNTIME_DIRECTORY");
	pid_t pid = main_pid();
	struct sockaddr_un un;
	int r;

	if (pid == 0 && !(directory && *directory)) {
		fail("set the environment variable RUNTIME_DIRECTORY as in the running ackd, "
		     "or MAINPID to its process ID");
		return EXIT_USAGE;
	}
	if (pid != 0 && kill(pid, 0) < 0 && errno == ESRCH)
		return fail("process %ld: %s", (long)pid, strerror(ESRCH));
	r = control_address(pid, owner_of(pid), &un);
	if (r < 0)
		return fail("RUNTIME_DIRECTORY: %s", strerror(-r));
	return control_ask(&un);
}
