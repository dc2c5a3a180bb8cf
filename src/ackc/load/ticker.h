#pragma once

/*
 * A timer on a loop for moments that libuv's milliseconds are too coarse for: a schedule of
 * messages. A file each for the systems with such a timer and for the others.
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
	int fd;
};

/* Returns 0 or a negative errno; then @t is not to be closed. */
int ticker_init(struct ticker *t, uv_loop_t *loop, void (*cb)(void *data), void *data);

/* Calls back once, at @at_ns of uv_hrtime() or soon after; replaces what was set before. */
void ticker_set(struct ticker *t, uint64_t at_ns);

/* No call back from here on. The loop needs one more turn to be done with it. */
void ticker_close(struct ticker *t);
