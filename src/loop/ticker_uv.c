#include "loop/ticker.h"

static void on_timer(uv_timer_t *timer)
{
	struct ticker *t = timer->data;

	/* libuv has rounded down the time from which it waits */
	if (uv_hrtime() < t->at_ns)
		ticker_set(t, t->at_ns);
	else
		t->cb(t->data);
}

int ticker_init(struct ticker *t, uv_loop_t *loop, void (*cb)(void *data), void *data)
{
	t->loop = loop;
	t->cb = cb;
	t->data = data;
	uv_timer_init(loop, &t->watcher.timer);
	t->watcher.timer.data = t;
	return 0;
}

void ticker_set(struct ticker *t, uint64_t at_ns)
{
	uint64_t now_ns = uv_hrtime();

	t->at_ns = at_ns;
	uv_update_time(t->loop);
	uv_timer_start(&t->watcher.timer, on_timer,
		       at_ns > now_ns ? (at_ns - now_ns + 999999) / 1000000 : 0, 0);
}

void ticker_close(struct ticker *t)
{
	uv_close(&t->watcher.handle, NULL);
}
