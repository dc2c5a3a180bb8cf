#pragma once

/* The clocks: for durations, which setting the system time does not affect, and for the log. */

#include <stdint.h>
#include <time.h>

/* Returns CLOCK_MONOTONIC in microseconds. Any thread. */
static inline uint64_t clock_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Returns CLOCK_REALTIME, the time since 1970, in microseconds. Any thread. */
static inline uint64_t clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
