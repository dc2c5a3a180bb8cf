#pragma once

/* Notifications to the service manager, from a bounded queue, by a thread of their own. */

#include <stdint.h>

/* Starts the thread, if there is a service manager. Returns 0 or a negative errno. */
int log_notify_start(void);

/* Tells the thread to send what is queued and end. */
void log_notify_stop(void);

/* Waits for its end until @deadline_us of CLOCK_MONOTONIC. */
void log_notify_join(uint64_t deadline_us);
