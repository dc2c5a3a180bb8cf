#pragma once

/*
 * Calls for threads that differ between systems. meson.build selects thread_posix.c or
 * thread_darwin.c.
 */

#include <pthread.h>
#include <stdint.h>

/* Initializes @ret_cond for thread_wait_until(). Returns 0 or a negative errno. */
int thread_cond_init(pthread_cond_t *ret_cond);

/*
 * Waits for @cond, of thread_cond_init(), at most until @deadline_us in the clock of
 * clock_now_us(). The caller holds @mutex. Returns 0 or ETIMEDOUT.
 */
int thread_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_us);

/* Names the calling thread, for debuggers and ps(1). At most 15 characters. */
void thread_set_name(const char *name);

/* Returns the CPU time that @thread has used, in nanoseconds, or 0 if unknown. Any thread. */
uint64_t thread_cpu_ns(pthread_t thread);
