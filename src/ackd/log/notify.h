#pragma once

/* Notifications to the service manager: a bounded queue and a separate thread. */

#include <stdint.h>

/* Starts the thread if there is a service manager. Returns 0 or a negative errno. */
int log_notify_start(void);

/* Makes the thread send the queue and end. */
void log_notify_stop(void);

/* Waits for the end of the thread until @deadline_us (CLOCK_MONOTONIC). */
void log_notify_join(uint64_t deadline_us);
