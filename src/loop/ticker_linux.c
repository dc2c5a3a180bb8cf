#include "loop/ticker.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void on_expired(uv_poll_t *poll, int status, int events)
{
	struct ticker *t = poll->data;
	uint64_t expirations;

	if (read(t->fd, &expirations, sizeof(expirations)) > 0)
		t->cb(t->data);
}

int ticker_init(struct ticker *t, uv_loop_t *loop, void (*cb)(void *data), void *data)
{
	int r;

	/* the clock of uv_hrtime() */
	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	t->loop = loop;
	t->cb = cb;
	t->data = data;
	r = uv_poll_init(loop, &t->watcher.poll, t->fd);
	if (r < 0) {
		close(t->fd);
		return r;
	}
	t->watcher.poll.data = t;
	return uv_poll_start(&t->watcher.poll, UV_READABLE, on_expired);
}

void ticker_set(struct ticker *t, uint64_t at_ns)
{
	struct itimerspec at = {
		.it_value = {(time_t)(at_ns / 1000000000), (long)(at_ns % 1000000000)},
	};

	timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_closed(uv_handle_t *handle)
{
	struct ticker *t = handle->data;

	close(t->fd);
}

void ticker_close(struct ticker *t)
{
	uv_close(&t->watcher.handle, on_closed);
}
