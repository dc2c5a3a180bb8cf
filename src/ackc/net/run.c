#include "ackc/net/run.h"

#include "ackc/output/output.h"
#include "ackc/output/process.h"

#include <signal.h>

static void signalled(uv_signal_t *signal, int number)
{
	struct run *r = signal->data;

	r->on_signal(r->data, number);
}

int run_start(struct run *r, const struct target *target, uint64_t timeout_ms, lookup_cb on_found,
	      int extra_signal, void (*on_signal)(void *data, int number), void *data)
{
	const int numbers[] = {SIGINT, SIGTERM, extra_signal};
	int error = uv_loop_init(&r->loop);

	if (error < 0)
		return error;
	r->on_signal = on_signal;
	r->data = data;
	for (int i = 0; i < RUN_SIGNALS; i++) {
		uv_signal_init(&r->loop, &r->signals[i]);
		r->signals[i].data = r;
		if (numbers[i])
			uv_signal_start(&r->signals[i], signalled, numbers[i]);
	}
	lookup_start(&r->lookup, &r->loop, target, timeout_ms, on_found, data);
	return 0;
}

void run_release_signals(struct run *r)
{
	for (int i = 0; i < RUN_SIGNALS; i++)
		uv_signal_stop(&r->signals[i]);
}

void run_end(struct run *r, int status)
{
	r->ended = true;
	r->status = status;
	lookup_cancel(&r->lookup);
	for (int i = 0; i < RUN_SIGNALS; i++)
		uv_close((uv_handle_t *)&r->signals[i], NULL);
}

int run_wait(struct run *r)
{
	int status;

	while (!r->ended)
		uv_run(&r->loop, UV_RUN_ONCE);
	status = output_end(r->status);
	if (r->lookup.blocking || r->reading_input)
		process_exit(status);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	uv_loop_close(&r->loop);
	return status;
}
