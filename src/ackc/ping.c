/*
 * ackc ping: look up once; then, every interval, a probe: learn the shape of the replies if it is
 * not known yet (scout.c), connect if there is no connection, write a message, check the reply.
 *
 * One probe is under way at a time. One that fails (no connection, no reply in time, a wrong reply)
 * is counted and said, and its connection is given up, so that a late reply can never be taken for
 * another probe's; the next probe begins with a new one. As with ping(8), only a name that cannot
 * be looked up ends it before its time. At the end the connection is half-closed and what still
 * comes is looked at: nobody asked for it.
 */

#include "ackc/commands.h"
#include "ackc/dial.h"
#include "ackc/ping_report.h"
#include "ackc/scout.h"
#include "ackc/tcpinfo.h"
#include "ackc/verify.h"
#include "ackc/words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK (64 * 1024)
#define N_SIGNALS 3
/* So long the server may take to close when it is done. */
#define FAREWELL_MS 200

enum phase { PHASE_IDLE, PHASE_PROBING, PHASE_FAREWELL, PHASE_OVER };

struct ping {
	const struct ping_options *options;
	uv_loop_t loop;
	uv_timer_t interval; /* to the next probe */
	uv_timer_t wait;     /* for the reply */
	uv_signal_t signals[N_SIGNALS];
	struct lookup *lookup;
	struct scout *scout;
	struct dial *dial;
	struct addresses addresses;
	uv_stream_t *stream;
	uv_shutdown_t shutdown_request;
	struct source source;
	struct shape shape;
	bool shape_known;
	struct greeting greeting;
	struct verifier verifier;
	enum phase phase;
	bool asked; /* the probe is written, or being written */
	bool stopping;
	uint64_t seq; /* of the probe under way, from 1 */
	uint64_t began_ms;
	uint64_t asked_ns;
	uint64_t connect_ns; /* of the probe's own connection; 0 on an old one */
	uint64_t got_bytes;
	uint8_t *message;
	char *received;
	struct ping_report report;
	int status;
};

static void probe(struct ping *p);
static void farewell(struct ping *p);

static void drop_connection(struct ping *p)
{
	stream_close(p->stream);
	p->stream = NULL;
}

static void over(struct ping *p)
{
	if (p->phase == PHASE_OVER)
		return;
	p->phase = PHASE_OVER;
	lookup_cancel(p->lookup);
	scout_cancel(p->scout);
	dial_cancel(p->dial);
	drop_connection(p);
	uv_close((uv_handle_t *)&p->interval, NULL);
	uv_close((uv_handle_t *)&p->wait, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	p->status = ping_report_end(&p->report);
}

static void on_interval(uv_timer_t *timer)
{
	probe(timer->data);
}

/* After a probe, whatever became of it. */
static void next(struct ping *p)
{
	uint64_t due_ms = p->began_ms + p->options->interval_ms;
	uint64_t now_ms;

	uv_timer_stop(&p->wait);
	p->phase = PHASE_IDLE;
	p->asked = false;
	if (p->stopping || p->seq == p->options->count) {
		farewell(p);
		return;
	}
	if (p->options->new_connection)
		drop_connection(p);
	uv_update_time(&p->loop);
	now_ms = uv_now(&p->loop);
	uv_timer_start(&p->interval, on_interval, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static void failed(struct ping *p, int failure)
{
	char detail[80] = "";

	if (p->asked && p->got_bytes)
		snprintf(detail, sizeof(detail), "%llu of %zu bytes of the reply came",
			 (unsigned long long)p->got_bytes,
			 verifier_reply_size(&p->verifier, p->seq));
	ping_report_failure(&p->report, p->seq, failure, detail);
	drop_connection(p);
	next(p);
}

static void wrong(struct ping *p, const struct fault *fault)
{
	ping_report_wrong(&p->report, p->seq, fault);
	drop_connection(p);
	next(p);
}

static void right(struct ping *p)
{
	uint64_t now_ns = uv_hrtime();
	uint64_t kernel_ns = 0;

	tcpinfo_rtt(p->stream, &kernel_ns);
	ping_report_reply(&p->report, p->seq, p->got_bytes, now_ns - p->asked_ns, kernel_ns,
			  p->options->new_connection ? p->connect_ns : 0);
	next(p);
}

static void on_wait(uv_timer_t *timer)
{
	struct ping *p = timer->data;

	if (p->phase == PHASE_FAREWELL)
		over(p);
	else
		failed(p, FAILURE_REPLY_TIMEOUT);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct ping *p = handle->data;

	*ret_buf = uv_buf_init(p->received, CHUNK);
}

static void ask(struct ping *p);

/* Bytes outside of a probe, or an end that is none. */
static void stray(struct ping *p, ssize_t n)
{
	struct fault fault = {0};
	uint64_t completed = 0;

	if (n < 0) {
		drop_connection(p);
		if (p->phase == PHASE_FAREWELL)
			over(p);
		return;
	}
	if (!verifier_feed(&p->verifier, p->verifier.index, (uint8_t *)p->received, (size_t)n,
			   &completed, &fault)) {
		ping_report_wrong(&p->report, p->seq, &fault);
		/* The probe before it was not answered right after all. */
		if (p->report.received)
			p->report.received--;
		drop_connection(p);
		if (p->phase == PHASE_FAREWELL)
			over(p);
	}
}

static void take(struct ping *p, const uint8_t *data, size_t n)
{
	struct fault fault = {0};
	uint64_t completed = 0;
	size_t used;

	if (!p->asked && explain_nak(data, n, &fault)) {
		wrong(p, &fault);
		return;
	}
	used = greeting_skip(&p->greeting, &p->shape, data, n);
	data += used;
	n -= used;
	if (!p->asked && greeting_over(&p->greeting, &p->shape))
		ask(p);
	p->got_bytes += n;
	if (!verifier_feed(&p->verifier, p->seq + 1, data, n, &completed, &fault))
		wrong(p, &fault);
	else if (p->verifier.index == p->seq + 1 && !verifier_suffix_due(&p->verifier))
		right(p);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct ping *p = stream->data;

	if (n == 0)
		return;
	if (p->phase != PHASE_PROBING)
		stray(p, n);
	else if (n < 0)
		failed(p, stream_failure(stream, (int)n));
	else
		take(p, (const uint8_t *)buf->base, (size_t)n);
}

static void on_written(uv_write_t *request, int status)
{
	/* If it failed, reading will tell. */
	free(request);
}

/* Writes the probe's message; of a long one, what does not fit now when it does. */
static void ask(struct ping *p)
{
	struct message m;
	uv_buf_t buf;
	uv_write_t *request;
	int written;

	source_message(&p->source, 0, p->seq, &m);
	buf = uv_buf_init((char *)p->message, (unsigned)message_copy(&m, p->message));
	p->asked = true;
	p->asked_ns = uv_hrtime();
	written = uv_try_write(p->stream, &buf, 1);
	if (written == (int)buf.len)
		return;
	if (written > 0) {
		buf.base += written;
		buf.len -= (size_t)written;
	}
	request = malloc(sizeof(*request));
	if (!request || uv_write(request, p->stream, &buf, 1, on_written) < 0)
		free(request);
}

static void talk(struct ping *p)
{
	uv_timer_start(&p->wait, on_wait, p->options->wait_ms, 0);
	p->got_bytes = 0;
	if (greeting_over(&p->greeting, &p->shape))
		ask(p);
}

static void on_connected(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct ping *p = data;

	p->dial = NULL;
	if (status < 0) {
		failed(p, status);
		return;
	}
	p->stream = stream;
	stream->data = p;
	address_text(peer, p->report.peer);
	histogram_record(p->report.connect, connect_ns);
	p->connect_ns = connect_ns;
	p->greeting = (struct greeting){0};
	verifier_init(&p->verifier, &p->source, &p->shape, 0, p->seq);
	uv_read_start(stream, on_alloc, on_read);
	talk(p);
}

static void connect_or_talk(struct ping *p)
{
	int r;

	if (p->stream) {
		talk(p);
		return;
	}
	r = dial_start(&p->loop, &p->addresses, p->options->common.timeout_ms, on_connected, p,
		       &p->dial);
	if (r < 0)
		failed(p, r);
}

static void on_scouted(void *data, const struct scout_result *result)
{
	struct ping *p = data;

	p->scout = NULL;
	if (result->failure) {
		failed(p, result->failure);
	} else if (result->fault.kind != FAULT_NONE) {
		wrong(p, &result->fault);
	} else {
		p->shape = result->shape;
		p->shape_known = true;
		if (p->shape.greeting_n)
			ping_report_greeting(&p->report, result->greeting, p->shape.greeting_n);
		connect_or_talk(p);
	}
}

static void probe(struct ping *p)
{
	const struct ping_options *o = p->options;
	struct scout_task task = {&p->addresses, o->common.timeout_ms, o->size, o->prefix,
				  o->suffix};
	int r;

	if (p->options->common.timeout_ms > p->options->wait_ms)
		task.timeout_ms = p->options->wait_ms;
	p->phase = PHASE_PROBING;
	p->seq++;
	p->report.transmitted++;
	p->connect_ns = 0;
	p->began_ms = uv_now(&p->loop);
	if (p->shape_known) {
		connect_or_talk(p);
		return;
	}
	r = scout_start(&p->loop, &task, on_scouted, p, &p->scout);
	if (r < 0)
		failed(p, r);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	/* If it failed, reading will tell. */
}

static void farewell(struct ping *p)
{
	uv_timer_stop(&p->interval);
	if (!p->stream || uv_shutdown(&p->shutdown_request, p->stream, on_shutdown) < 0) {
		over(p);
		return;
	}
	p->phase = PHASE_FAREWELL;
	uv_timer_start(&p->wait, on_wait, FAREWELL_MS, 0);
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

static void on_signal(uv_signal_t *signal, int number)
{
	struct ping *p = signal->data;

	if (number == SIGQUIT) {
		ping_report_interim(&p->report);
		return;
	}
	/* A probe under way is not lost but no longer waited for, unless there never was a reply.
	 */
	if (p->phase == PHASE_PROBING && p->report.received)
		p->report.transmitted--;
	over(p);
}

static int start(struct ping *p)
{
	static const int numbers[N_SIGNALS] = {SIGINT, SIGTERM, SIGQUIT};
	int r = uv_loop_init(&p->loop);

	if (r < 0)
		return r;
	uv_timer_init(&p->loop, &p->interval);
	uv_timer_init(&p->loop, &p->wait);
	p->interval.data = p->wait.data = p;
	for (int i = 0; i < N_SIGNALS; i++) {
		uv_signal_init(&p->loop, &p->signals[i]);
		p->signals[i].data = p;
		uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	r = lookup_start(&p->loop, &p->options->common.target, p->options->common.timeout_ms,
			 on_found, p, &p->lookup);
	if (r < 0) {
		ping_report_failure(&p->report, 0, r, "");
		over(p);
	}
	return 0;
}

int ping_run(const struct ping_options *options)
{
	struct ping *p = calloc(1, sizeof(*p));
	int status = EXIT_NETWORK;
	int r = -ENOMEM;

	if (p) {
		p->options = options;
		p->received = malloc(CHUNK);
		p->message = malloc(options->size);
		r = source_generate(options->size, &p->source);
	}
	if (r == 0 && p->received && p->message)
		r = ping_report_init(&p->report, options);
	if (r == 0)
		r = start(p);
	if (r < 0) {
		fprintf(stderr, "ackc: %s\n", words_for(r));
	} else {
		while (p->phase != PHASE_OVER)
			uv_run(&p->loop, UV_RUN_ONCE);
		status = loop_finish(&p->loop, p->status);
	}
	if (p) {
		ping_report_finish(&p->report);
		source_finish(&p->source);
		free(p->received);
		free(p->message);
	}
	free(p);
	return status;
}
