#pragma once

/*
 * Everything the daemon asks of systemd. systemd.c uses libsystemd; nosystemd.c takes its place
 * where there is none, and has the same outcome as running outside systemd. Which one: meson.build.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Whether stderr is connected to the journal ($JOURNAL_STREAM names its device and inode). */
bool systemd_stderr_is_journal(void);

/*
 * Writes one journal entry of @n fields "NAME=value". May block. Returns 0 or a negative errno,
 * also where there is no journal.
 */
int systemd_journal_send(const struct iovec *fields, int n);

/*
 * Waits until the journal has read the entries sent so far, for at most @timeout_us. It asks the
 * kernel who their sender is, so that those of a process that has ended are not found under its
 * unit: to be called before the end.
 */
void systemd_journal_flush(uint64_t timeout_us);

/*
 * Whether the file system at @path, which is absolute, is one that systemd has made for this
 * service alone (PrivateTmp=). Reads /proc/self/mountinfo.
 */
bool systemd_is_private(const char *path);

/* Whether a service manager wants notifications ($NOTIFY_SOCKET). */
bool systemd_notify_wanted(void);

/* Sends a notification (sd_notify(3)); without a service manager, nothing. May block. */
void systemd_notify(const char *state);

/* Returns the watchdog interval in microseconds; 0 when it is off. */
uint64_t systemd_watchdog_us(void);

/* A descriptor that the service manager passed. */
struct systemd_fd {
	int fd;	    /* CLOEXEC; the caller's from here */
	char *name; /* FileDescriptorName, allocated; "" for none; the caller's from here */
};

/*
 * Takes the passed descriptors out of the environment, which forgets them. Returns their number (0
 * without a service manager) and gives the caller *@ret_fds (may be NULL when 0), or a negative
 * errno. Call it before other threads start: it changes the environment.
 */
int systemd_listen_fds(struct systemd_fd **ret_fds);

/*
 * Whether the service manager may keep descriptors of this process in its store: it is systemd, and
 * has started this very process ($SYSTEMD_EXEC_PID). How many it keeps is another question.
 */
bool systemd_has_store(void);

/*
 * The service manager's descriptor store, which outlives the process. Each of these may block. The
 * manager keeps FileDescriptorStoreMax= descriptors, drops the others, and reports neither.
 *
 * Returns how many descriptors, of @wanted more, the store has room for now; 0 without a store.
 * @n_stored: how many of ours it has already. Puts socket pairs into it and finds out which of them
 * have been closed; where the manager states its limit ($FDSTORE, systemd 254), not more than that.
 */
unsigned systemd_store_room(unsigned wanted, unsigned n_stored);

/*
 * Sends copies of @n descriptors to the store under @name. They stay there until they are removed
 * or the unit stops, if there is room for them. Returns 0 or a negative errno.
 */
int systemd_store_add(const char *name, const int *fds, size_t n);

/*
 * Puts @end, one end of a stream socket pair, into the store, and closes our copy. @peer is the
 * other end, and stays ours. Waits until it is known whether the manager has kept @end. Returns 0;
 * or a negative errno, and nothing named @name is in the store: -ENOSPC when it has not kept it.
 */
int systemd_store_end(const char *name, int end, int peer);

/* Whether someone still has the other end of @peer, see systemd_store_end(). Never blocks. */
bool systemd_store_has_end(int peer);

/* Removes every descriptor named @name from the store. Returns 0 or a negative errno. */
int systemd_store_remove(const char *name);

/*
 * Waits until the service manager has handled every notification sent so far, for at most 5 s.
 * Returns 0, -ETIMEDOUT or another negative errno.
 */
int systemd_barrier(void);

/* Returns the version of libsystemd as text, or "none". Static. */
const char *systemd_version(void);
