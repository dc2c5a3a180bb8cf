#pragma once

/*
 * A rate limit with a burst: the generic cell rate algorithm (ITU-T I.371). Its only state is the
 * time at which the next event would be due if all had kept to the rate. It is equivalent to a
 * token bucket and lock-free.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_limit {
	_Atomic uint64_t due_us; /* zeroed: a full burst is available */
};

/*
 * Returns whether an event is permitted at @now_us, and counts it if so. Permits bursts of @burst
 * (> 0) and @per_second (> 0) in the long term. @now_us never decreases by more than a burst. Any
 * thread.
 */
bool log_limit_take(struct log_limit *limit, unsigned burst, unsigned per_second, uint64_t now_us);
