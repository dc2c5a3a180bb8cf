#include "ackd/systemd.h"

#include "ackd/clock.h"

#include <dirent.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* What libsystemd calls a descriptor for which the manager gave no name. */
#define NAME_UNKNOWN "unknown"

bool systemd_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM"); /* "DEVICE:INODE" */
	char here[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, here) == 0;
}

bool systemd_is_private(const char *path)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char line[8192], root[4096], at[4096];
	size_t longest = 0;
	bool found = false;

	/* "36 35 98:0 ROOT AT OPTIONS...": ROOT, a path of the file system, is mounted at AT */
	while (mounts && fgets(line, sizeof(line), mounts)) {
		size_t n;

		if (sscanf(line, "%*d %*d %*s %4095s %4095s", root, at) != 2)
			continue;
		n = strlen(at);
		if (n < longest || strncmp(path, at, n) != 0 || (path[n] != '/' && n > 1))
			continue;
		longest = n;
		found = strstr(root, "/systemd-private-") != NULL;
	}
	if (mounts)
		fclose(mounts);
	return found;
}

int systemd_journal_send(const struct iovec *fields, int n)
{
	/* Without a journal libsystemd drops the entry and says that all is well. */
	if (access(JOURNAL_SOCKET, F_OK) < 0)
		return -errno;
	return sd_journal_sendv(fields, n);
}

/* Returns how many bytes the other side of @fd has not read, if it is a UNIX datagram socket. */
static int unread_bytes(int fd)
{
	int domain, type, n;
	socklen_t length = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_UNIX)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_DGRAM)
		return 0;
	return ioctl(fd, SIOCOUTQ, &n) < 0 ? 0 : n;
}

/* libsystemd does not tell which socket is its own: looks at all of the process. */
static bool something_unread(void)
{
	DIR *fds = opendir("/proc/self/fd");
	struct dirent *entry;
	bool found = false;

	while (fds && !found && (entry = readdir(fds)))
		if (entry->d_name[0] != '.')
			found = unread_bytes((int)strtol(entry->d_name, NULL, 10)) > 0;
	if (fds)
		closedir(fds);
	return found;
}

void systemd_journal_flush(uint64_t timeout_us)
{
	const int step_ms = 2;
	uint64_t waited_us = 0;

	for (; something_unread() && waited_us < timeout_us; waited_us += step_ms * 1000)
		poll(NULL, 0, step_ms);
	/* It has taken the last one out of the queue; now it looks who sent it. */
	if (waited_us > 0)
		poll(NULL, 0, step_ms);
}

bool systemd_notify_wanted(void)
{
	const char *socket = getenv("NOTIFY_SOCKET");

	return socket && *socket;
}

void systemd_notify(const char *state)
{
	sd_notify(0, state); /* there is nobody else to tell that it failed */
}

uint64_t systemd_watchdog_us(void)
{
	uint64_t interval_us = 0;

	return sd_watchdog_enabled(0, &interval_us) > 0 ? interval_us : 0;
}

/* Moves the @n names out of @names, which may be NULL, and numbers the descriptors. */
static int take_fds(struct systemd_fd *fds, int n, char **names)
{
	for (int i = 0; i < n; i++) {
		fds[i].fd = SD_LISTEN_FDS_START + i;
		if (names && strcmp(names[i], NAME_UNKNOWN) != 0) {
			fds[i].name = names[i];
			names[i] = NULL;
			continue;
		}
		fds[i].name = strdup("");
		if (!fds[i].name) {
			for (int j = 0; j < i; j++)
				free(fds[j].name);
			return -ENOMEM;
		}
	}
	return n;
}

int systemd_listen_fds(struct systemd_fd **ret_fds)
{
	char **names = NULL;
	struct systemd_fd *fds = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	int r = n;

	if (n > 0) {
		fds = calloc((size_t)n, sizeof(*fds));
		r = fds ? take_fds(fds, n, names) : -ENOMEM;
	}
	for (int i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
	if (r < 0) {
		free(fds);
		return r;
	}
	*ret_fds = fds;
	return r;
}

unsigned systemd_store_max(void)
{
	const char *text = getenv("FDSTORE");
	unsigned long max;
	char *end;

	if (!systemd_notify_wanted() || !text || *text < '0' || *text > '9')
		return 0;
	max = strtoul(text, &end, 10);
	return *end || max > INT32_MAX ? 0 : (unsigned)max;
}

/* With FDPOLL=0 the manager keeps a descriptor whose other end is closed. */
int systemd_store_add(const char *name, const int *fds, size_t n)
{
	char state[512];
	int r;

	r = snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	if (r < 0 || (size_t)r >= sizeof(state))
		return -ENAMETOOLONG;
	r = sd_pid_notify_with_fds(0, 0, state, fds, (unsigned)n);
	return r < 0 ? r : r == 0 ? -ENOTCONN : 0;
}

int systemd_store_remove(const char *name)
{
	char state[512];
	int r;

	r = snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	if (r < 0 || (size_t)r >= sizeof(state))
		return -ENAMETOOLONG;
	r = sd_notify(0, state);
	return r < 0 ? r : r == 0 ? -ENOTCONN : 0;
}

/* A signal interrupts the wait, as SIGTERM does in a restart: then another barrier is set up. */
int systemd_barrier(uint64_t timeout_us)
{
	uint64_t deadline_us = clock_now_us() + timeout_us;
	int r;

	do {
		uint64_t now_us = clock_now_us();

		r = sd_notify_barrier(0, now_us < deadline_us ? deadline_us - now_us : 0);
	} while (r == -EINTR);
	return r < 0 ? r : 0;
}

const char *systemd_version(void)
{
	return LIBSYSTEMD_VERSION;
}
