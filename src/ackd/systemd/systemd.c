#include "ackd/systemd/systemd.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
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

#define BARRIER_US (UINT64_C(5) * 1000 * 1000)

/* The longest time a manager takes to close a descriptor in a child process. */
#define CHILD_CLOSES_MS 100

/* The most descriptors that one message can carry (SCM_MAX_FD in Linux). */
#define FDS_MAX 253

/* Name of the temporary descriptors of systemd_store_room(). */
#define PROBE_NAME "ackd-probe"

/* FDPOLL=0 makes the manager keep a descriptor whose peer is closed. */
#define ADD "FDSTORE=1\nFDPOLL=0"

/* libsystemd's name for a descriptor that the manager did not name. */
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
	/* Without a journal libsystemd drops the entry and reports success. */
	if (access(JOURNAL_SOCKET, F_OK) < 0)
		return -errno;
	return sd_journal_sendv(fields, n);
}

/* Returns how many bytes the peer of @fd has not read if @fd is a UNIX datagram socket. */
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

/* libsystemd does not expose its socket, so this checks all sockets of the process. */
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
	/* The journal has received the last entry and now looks up its sender. */
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
	sd_notify(0, state); /* a failure cannot be reported anywhere */
}

uint64_t systemd_watchdog_us(void)
{
	uint64_t interval_us = 0;

	return sd_watchdog_enabled(0, &interval_us) > 0 ? interval_us : 0;
}

int systemd_listen_fds(struct systemd_fd **ret_fds)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), left = 0;
	struct systemd_fd *fds = n > 0 ? calloc((size_t)n, sizeof(*fds)) : NULL;

	*ret_fds = fds;
	if (n <= 0)
		return n;
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (!fds || strcmp(names[i], PROBE_NAME) == 0) {
			close(fd);
			free(names[i]);
			continue;
		}
		if (strcmp(names[i], NAME_UNKNOWN) == 0)
			names[i][0] = '\0';
		fds[left++] = (struct systemd_fd){fd, names[i]};
	}
	free(names);
	if (left < n) /* probes of a process that was killed before it could remove them */
		systemd_store_remove(PROBE_NAME);
	return fds ? left : -ENOMEM;
}

/* ---- the descriptor store ---- */

bool systemd_has_store(void)
{
	const char *text = getenv("SYSTEMD_EXEC_PID");

	return systemd_notify_wanted() && text && strtol(text, NULL, 10) == (long)getpid();
}

/* Sends @command for what is named @name in the store, with at most FDS_MAX descriptors. */
static int store_send(const char *command, const char *name, const int *fds, unsigned n)
{
	char state[512];
	int r = snprintf(state, sizeof(state), "%s\nFDNAME=%s", command, name);

	if (r < 0 || (size_t)r >= sizeof(state))
		return -ENAMETOOLONG;
	r = sd_pid_notify_with_fds(0, 0, state, fds, n);
	return r < 0 ? r : r == 0 ? -ENOTCONN : 0;
}

int systemd_store_add(const char *name, const int *fds, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += FDS_MAX)
		r = store_send(ADD, name, fds + i, n - i < FDS_MAX ? (unsigned)(n - i) : FDS_MAX);
	return r;
}

/*
 * Waits until the manager has handled every notification sent so far, or until @deadline_us. A
 * signal interrupts the wait, as SIGTERM does in a restart. In that case another barrier is set up.
 */
static int barrier_until(uint64_t deadline_us)
{
	int r;

	do {
		uint64_t now_us = clock_now_us();

		r = sd_notify_barrier(0, now_us < deadline_us ? deadline_us - now_us : 0);
	} while (r == -EINTR);
	return r < 0 ? r : 0;
}

int systemd_barrier(void)
{
	return barrier_until(clock_now_us() + BARRIER_US);
}

/* Polls again after EINTR. Returns how many have events, or a negative errno. */
static int poll_all(struct pollfd *fds, unsigned n, int wait_ms)
{
	int r;

	do
		r = poll(fds, n, wait_ms);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/*
 * Returns whether every copy of the other end of @peer is closed, or becomes closed within
 * @wait_ms.
 */
static bool has_hung_up(int peer, int wait_ms)
{
	struct pollfd pollfd = {.fd = peer};

	return poll_all(&pollfd, 1, wait_ms) > 0 && pollfd.revents & POLLHUP;
}

/* Creates @n socket pairs: @ends to send, @peers to check. Returns how many it created. */
static unsigned probes_open(unsigned n, int *ends, struct pollfd *peers)
{
	unsigned made = 0;
	int fds[2];

	while (made < n && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) {
		ends[made] = fds[0];
		peers[made++] = (struct pollfd){.fd = fds[1]};
	}
	return made;
}

/*
 * Returns how many of @n probes, at most FDS_MAX, the store keeps. If some do not fit, systemd 254
 * and newer closes one of them asynchronously in a child process and the others before the barrier.
 * So all are kept if @n is more than one and none is closed at the barrier.
 */
static unsigned probe(unsigned n, uint64_t deadline_us)
{
	int ends[FDS_MAX];
	struct pollfd peers[FDS_MAX];
	unsigned kept = 0;
	int r;

	n = probes_open(n, ends, peers);
	r = n > 0 ? store_send(ADD, PROBE_NAME, ends, n) : -EMFILE;
	for (unsigned i = 0; i < n; i++)
		close(ends[i]);
	if (r == 0)
		r = barrier_until(deadline_us);
	if (r == 0)
		r = poll_all(peers, n, 0);
	if (r > 0) {
		poll_all(NULL, 0, CHILD_CLOSES_MS);
		r = poll_all(peers, n, 0);
	}
	for (unsigned i = 0; i < n; i++) {
		if (r >= 0 && !(peers[i].revents & POLLHUP))
			kept++;
		close(peers[i].fd);
	}
	return kept;
}

unsigned systemd_store_room(unsigned wanted, unsigned n_stored)
{
	const char *stated = getenv("FDSTORE");
	uint64_t deadline_us = clock_now_us() + BARRIER_US;
	unsigned long max = stated ? strtoul(stated, NULL, 10) : ULONG_MAX;
	unsigned room = 0, n, kept;

	if (!systemd_has_store() || max <= n_stored)
		return 0;
	if (wanted > max - n_stored)
		wanted = (unsigned)max - n_stored;
	while (room < wanted) {
		n = wanted - room + (stated ? 0 : 1);
		n = n < FDS_MAX ? n : FDS_MAX;
		kept = probe(n, deadline_us);
		room += kept;
		if (kept < n)
			break;
	}
	systemd_store_remove(PROBE_NAME);
	return room < wanted ? room : wanted;
}

int systemd_store_end(const char *name, int end, int peer)
{
	uint64_t deadline_us = clock_now_us() + BARRIER_US;
	int r = systemd_has_store() ? store_send(ADD, name, &end, 1) : -ENOTCONN;
	unsigned kept;

	close(end);
	if (r < 0)
		return r;
	kept = probe(2, deadline_us);
	systemd_store_remove(PROBE_NAME);
	if (kept == 2)
		return 0; /* there is room for more */
	r = barrier_until(deadline_us);
	if (r == 0 && has_hung_up(peer, CHILD_CLOSES_MS))
		r = -ENOSPC;
	if (r < 0)
		systemd_store_remove(name);
	return r;
}

bool systemd_store_has_end(int peer)
{
	return !has_hung_up(peer, 0);
}

int systemd_store_remove(const char *name)
{
	return store_send("FDSTOREREMOVE=1", name, NULL, 0);
}

const char *systemd_version(void)
{
	return LIBSYSTEMD_VERSION;
}
