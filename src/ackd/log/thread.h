#pragma once

/*
 * A thread that writes entries queued by other threads, and that can be abandoned if a write
 * blocks.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* thread.c has the table of transitions. */
enum log_thread_state {
	LOG_THREAD_OFF,
	LOG_THREAD_ON,
	LOG_THREAD_STOPPING,  /* @run writes the queue, then returns */
	LOG_THREAD_ENDED,     /* @run has returned */
	LOG_THREAD_ABANDONED, /* @run returns immediately, if it ever can */
};

struct log_thread {
	pthread_mutex_t mutex; /* protects the state and the owner's queue; held only for copying */
	pthread_cond_t changed; /* signals a change of queue or state; of thread_cond_init() */
	pthread_t id;
	uint8_t state; /* enum log_thread_state */
	const char *name;
	void (*run)(void);
};

#define LOG_THREAD_INITIALIZER                                                                     \
	{                                                                                          \
		.mutex = PTHREAD_MUTEX_INITIALIZER                                                 \
	}

/*
 * Starts @run in a thread named @name (static, at most 15 characters) with every signal blocked. @t
 * must be static. Returns 0 or a negative errno: -EBUSY if it is not off.
 */
int log_thread_start(struct log_thread *t, const char *name, void (*run)(void));

/* Orders @run to end, if the thread is on. */
void log_thread_stop(struct log_thread *t);

/*
 * Waits for the end after log_thread_stop() until @deadline_us, then abandons the thread. Does
 * nothing if it was never started.
 */
void log_thread_join(struct log_thread *t, uint64_t deadline_us);

/*
 * Waits until the queue or the state changes, or until @deadline_us (0: none). The mutex must be
 * held. Returns 0 or ETIMEDOUT.
 */
int log_thread_wait(struct log_thread *t, uint64_t deadline_us);
