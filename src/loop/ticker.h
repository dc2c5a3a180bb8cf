#pragma once

/*
 * A timer that is not one of the loop's own. ticker_linux.c uses a timer descriptor, which has two
 * advantages over a uv_timer_t: its resolution is finer than milliseconds, and it costs nothing
 * while it waits. With a uv_timer_t each epoll_wait() has a timeout, so the kernel starts and
 * cancels a timer every time the thread sleeps. ticker_uv.c is for other systems.
 */

#include <stdint.h>
#include <uv.h>

struct ticker {
	union {
		uv_handle_t handle;
		uv_poll_t poll;
		uv_timer_t timer;
	} watcher;
	uv_loop_t *loop;
	void (*cb)(void *data);
	void *data;
	int fd;		/* ticker_linux.c */
	uint64_t at_ns; /* ticker_uv.c */
};

/* Returns 0 or a negative errno; on an error @t must not be closed. */
int ticker_init(struct ticker *t, uv_loop_t *loop, void (*cb)(void *data), void *data);

/*
 * Calls back once, at or soon after @at_ns in the clock of uv_hrtime(). Replaces the previous
 * setting.
 */
void ticker_set(struct ticker *t, uint64_t at_ns);

/*
 * Closes the timer; it does not call back any more. @t must stay valid for one more loop iteration.
 */
void ticker_close(struct ticker *t);
