/*
 * ackc ping. It looks up the name once, then sends a probe (prober.c) every interval, one at a
 * time. As in ping(8), only a failed look-up or an output error ends it early. SIGINT ends it with
 * the summary.
 */

#include "ackc/ping/ping.h"

#include "ackc/net/words.h"
#include "ackc/output/output.h"
#include "ackc/ping/prober.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define N_SIGNALS 3
#define FORGIVEN_MS 1000

struct ping {
	const struct options *options;
	uv_loop_t loop;
	uv_timer_t interval; /* timer for the next probe */
	uv_timer_t deadline;
	uv_signal_t signals[N_SIGNALS];
	struct lookup *lookup;
	struct addresses addresses;
	struct prober prober;
	uint64_t began_ms; /* start of the last probe */
	bool saying_farewell;
	bool over;
	struct ping_report report;
	int status;
};

static void over(struct ping *p)
{
	if (p->over)
		return;
	p->over = true;
	lookup_cancel(p->lookup);
	prober_close(&p->prober);
	uv_close((uv_handle_t *)&p->interval, NULL);
	uv_close((uv_handle_t *)&p->deadline, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	p->status = ping_report_end(&p->report);
}

static void probe(struct ping *p)
{
	p->began_ms = uv_now(&p->loop);
	prober_begin(&p->prober, &p->addresses);
}

static void on_interval(uv_timer_t *timer)
{
	probe(timer->data);
}

static void on_done(struct prober *b)
{
	struct ping *p = b->data;
	uint64_t due_ms = p->began_ms + p->options->interval_ms;
	uint64_t now_ms;

	if (p->saying_farewell || !output_flush() || (p->options->no_reconnect && b->lost)) {
		over(p);
	} else if (b->seq == p->options->count) {
		p->saying_farewell = true;
		if (!prober_farewell(b))
			over(p);
	} else {
		if (p->options->new_connection)
			prober_hang_up(b);
		uv_update_time(&p->loop);
		now_ms = uv_now(&p->loop);
		uv_timer_start(&p->interval, on_interval, due_ms > now_ms ? due_ms - now_ms : 0, 0);
	}
}

static void on_found(void *data, int status, const struct addresses *addresses)
{
	struct ping *p = data;

	p->lookup = NULL;
	if (status < 0) {
		ping_report_failure(&p->report, 0, status, "");
		over(p);
		return;
	}
	p->addresses = *addresses;
	ping_report_begin(&p->report, &addresses->list[0]);
	p->report.began_ns = uv_hrtime();
	probe(p);
}

/*
 * Ends before the last probe. If the server has answered before, a probe sent less than FORGIVEN_MS
 * ago is not counted.
 */
static void end_early(struct ping *p)
{
	uv_update_time(&p->loop);
	if (p->prober.phase == PROBER_PROBING && p->report.received &&
	    uv_now(&p->loop) - p->began_ms < FORGIVEN_MS)
		p->report.transmitted--;
	over(p);
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct ping *p = signal->data;

	if (number == SIGQUIT)
		ping_report_interim(&p->report);
	else
		end_early(p);
}

static void on_deadline(uv_timer_t *timer)
{
	struct ping *p = timer->data;

	if (p->lookup)
		ping_report_failure(&p->report, 0, FAILURE_LOOKUP_TIMEOUT, "");
	if (!p->options->plugin) {
		end_early(p);
		return;
	}
	/* if only the farewell is left, all replies have arrived */
	p->report.late = !p->saying_farewell;
	over(p);
}

static int start(struct ping *p)
{
	static const int numbers[N_SIGNALS] = {SIGINT, SIGTERM, SIGQUIT};
	int r = uv_loop_init(&p->loop);

	if (r < 0)
		return r;
	uv_timer_init(&p->loop, &p->interval);
	p->interval.data = p;
	uv_timer_init(&p->loop, &p->deadline);
	p->deadline.data = p;
	if (p->options->deadline_ms)
		uv_timer_start(&p->deadline, on_deadline, p->options->deadline_ms, 0);
	prober_open(&p->prober, &p->loop);
	for (int i = 0; i < N_SIGNALS; i++) {
		uv_signal_init(&p->loop, &p->signals[i]);
		p->signals[i].data = p;
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	r = lookup_start(&p->loop, &p->options->target, p->options->timeout_ms, on_found, p,
			 &p->lookup);
	if (r < 0) {
		ping_report_failure(&p->report, 0, r, "");
		over(p);
	}
	return 0;
}

int ping_run(const struct options *options)
{
	struct ping *p = calloc(1, sizeof(*p));
	int status = options->plugin ? EXIT_UNKNOWN : EXIT_NETWORK;
	int r = -ENOMEM;

	if (p) {
		p->options = options;
		r = prober_init(&p->prober, options, &p->report, on_done, p);
	}
	if (r == 0)
		r = ping_report_init(&p->report, options);
	if (r == 0)
		r = start(p);
	if (r < 0) {
		if (options->plugin)
			ping_plugin_unknown(words_for(r));
		else
			fprintf(stderr, "ackc: %s\n", words_for(r));
	} else {
		while (!p->over)
			uv_run(&p->loop, UV_RUN_ONCE);
		status = loop_finish(&p->loop, p->status);
	}
	if (p) {
		ping_report_finish(&p->report);
		prober_finish(&p->prober);
	}
	free(p);
	return status;
}
