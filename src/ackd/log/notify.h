#pragma once

/*
 * Notifications to the service manager. A thread of their own sends them, so that a blocked journal
 * does not look like a daemon that misses its watchdog.
 */

#include <stdint.h>

/*
 * Queues a notification for the service manager (newline-separated assignments, see sd_notify(3)).
 * It replaces an unsent one that begins with the same name, because only the latest state counts.
 * All others are sent in order. Does nothing without a service manager. Never blocks between
 * log_start() and log_stop(). Any thread.
 */
void log_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For log_start(): starts the thread if a service manager runs. Returns 0 or a negative errno. */
int log_notify_start(void);

/* For log_stop(): makes the thread send the queue and end. */
void log_notify_stop(void);

/* Waits for the end of the thread until @deadline_us (CLOCK_MONOTONIC). */
void log_notify_join(uint64_t deadline_us);
