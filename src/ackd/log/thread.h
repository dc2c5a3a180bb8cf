#pragma once

/* A thread that writes what others queue, and that can be left behind when its write hangs. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum log_thread_state {
	LOG_THREAD_OFF,
	LOG_THREAD_ON,
	LOG_THREAD_STOPPING,  /* write what is queued, then return */
	LOG_THREAD_ABANDONED, /* return at once */
};

struct log_thread {
	pthread_mutex_t mutex;	/* of the state, and of the owner's queue; held for copying only */
	pthread_cond_t changed; /* the queue or the state; clock: CLOCK_MONOTONIC */
	pthread_cond_t ended;
	pthread_t id;
	enum log_thread_state state;
	bool alive; /* @run has not returned yet */
	void (*run)(void);
};

#define LOG_THREAD_INITIALIZER                                                                     \
	{                                                                                          \
		.mutex = PTHREAD_MUTEX_INITIALIZER                                                 \
	}

/*
 * Starts @run in a thread called @name (at most 15 characters) with every signal blocked. @t is
 * static. Returns 0 or a negative errno: -EBUSY when it is not off.
 */
int log_thread_start(struct log_thread *t, const char *name, void (*run)(void));

/* Tells @run to end. */
void log_thread_stop(struct log_thread *t);

/*
 * After log_thread_stop(): waits for the end until @deadline_us, and abandons the thread then. Does
 * nothing when it was never started.
 */
void log_thread_join(struct log_thread *t, uint64_t deadline_us);

/* With the mutex held: waits until the queue or the state changes, or @deadline_us (0: none). */
void log_thread_wait(struct log_thread *t, uint64_t deadline_us);
