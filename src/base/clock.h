#pragma once

/* The one clock that durations are measured by: it does not jump when someone sets the time. */

#include <stdint.h>
#include <time.h>

/* Returns CLOCK_MONOTONIC in microseconds. Any thread. */
static inline uint64_t clock_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
