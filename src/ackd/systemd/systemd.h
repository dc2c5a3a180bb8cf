#pragma once

/*
 * The interface to systemd. systemd.c uses libsystemd. none.c replaces it in builds without
 * libsystemd and behaves like a process outside systemd. meson.build selects the file.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Returns whether stderr is connected to the journal ($JOURNAL_STREAM contains its device and
 * inode).
 */
bool systemd_stderr_is_journal(void);

/*
 * Writes one journal entry of @n fields "NAME=value". May block. Returns 0 or a negative errno,
 * also without a journal.
 */
int systemd_journal_send(const struct iovec *fields, int n);

/*
 * Waits until the journal has read the entries sent so far, for at most @timeout_us. Call it before
 * the process ends: the journal asks the kernel for the sender of each entry, and cannot assign
 * entries of an ended process to its unit.
 */
void systemd_journal_flush(uint64_t timeout_us);

/*
 * Returns whether the file system at the absolute @path was created by systemd for this service
 * alone (PrivateTmp=). Reads /proc/self/mountinfo.
 */
bool systemd_is_private(const char *path);

/* Returns whether a service manager expects notifications ($NOTIFY_SOCKET). */
bool systemd_notify_wanted(void);

/* Sends a notification (sd_notify(3)); does nothing without a service manager. May block. */
void systemd_notify(const char *state);

/* Returns the watchdog interval in microseconds; 0 when it is off. */
uint64_t systemd_watchdog_us(void);

/* A descriptor passed by the service manager. */
struct systemd_fd {
	int fd;	    /* CLOEXEC; owned by the caller */
	char *name; /* FileDescriptorName=, "" for none; owned by the caller (free) */
};

/*
 * Returns the number of passed descriptors (0 without a service manager) and gives *@ret_fds to the
 * caller (may be NULL if 0), or returns a negative errno. Removes the variables from the
 * environment, so it must be called before other threads start.
 */
int systemd_listen_fds(struct systemd_fd **ret_fds);

/* Closes the @n descriptors @fds that are not negative, and frees the names, but not the array. */
void systemd_fds_finish(struct systemd_fd *fds, size_t n);

/*
 * Returns whether the service manager may keep descriptors of this process in its store: it is
 * systemd and started this very process ($SYSTEMD_EXEC_PID). This does not say how many it keeps.
 */
bool systemd_has_store(void);

/*
 * ---- the service manager's descriptor store, which outlives the process ----
 *
 * The functions that wait for the manager block for at most 5 s while it is silent. The manager
 * keeps FileDescriptorStoreMax= descriptors, drops the others, and reports neither.
 */

/*
 * Waits for the manager. Returns for how many more descriptors, at most @wanted, the store has room
 * now; 0 without a store. @n_stored: how many of ours it already contains. The function stores
 * socket pairs and detects which of them have been closed. If the manager states its limit
 * ($FDSTORE, systemd 254), the result respects it.
 */
unsigned systemd_store_room(unsigned wanted, unsigned n_stored);

/*
 * Sends copies of @n descriptors to the store under @name. If there is room, they stay until they
 * are removed or the unit stops. Returns 0 or a negative errno.
 */
int systemd_store_add(const char *name, const int *fds, size_t n);

/*
 * Stores @end, one end of a stream socket pair, and closes this process's copy. @peer is the other
 * end and stays the caller's. Waits until it is known whether the manager has kept @end. Returns 0,
 * or a negative errno with nothing named @name in the store: -ENOSPC when the manager did not keep
 * it.
 */
int systemd_store_end(const char *name, int end, int peer);

/*
 * Returns whether any process still has the other end of @peer, see systemd_store_end(). Never
 * blocks.
 */
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
