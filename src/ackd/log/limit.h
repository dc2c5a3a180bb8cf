#pragma once

/*
 * How often something may happen: a burst at once, then so many a second. The generic cell rate
 * algorithm (ITU-T I.371): one number, the time at which the next would be due had all kept to the
 * rate. It is a token bucket without a lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_limit {
	_Atomic uint64_t due_us; /* zeroed: a full burst is free */
};

/*
 * Whether one more may happen at @now_us: at most @burst (> 0) at once, @per_second (> 0) in the
 * long run. It is counted when it may. @now_us never goes back by more than a burst. Any thread.
 */
bool log_limit_take(struct log_limit *limit, unsigned burst, unsigned per_second, uint64_t now_us);
