/*
 * A probe. It learns the shape of the replies if it is unknown (scout.c), connects if there is no
 * connection, writes a message and checks the reply.
 *
 * A failed probe (no connection, no reply in time, or a wrong reply) is counted and reported. Its
 * connection is closed, so that a late reply is never taken for another probe's, and the next probe
 * opens a new one. The same happens if the peer closes the connection between two probes; this is
 * reported, but is not a loss.
 */

#include "ackc/ping/prober.h"

#include "ackc/net/tcpinfo.h"
#include "ackc/net/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK (64 * 1024)
/* The time that the server has to close at the end. */
#define FAREWELL_MS 200

void prober_hang_up(struct prober *b)
{
	stream_close(b->stream);
	b->stream = NULL;
}

/*
 * Returns the kernel's round-trip time, or 0. Sets *@ret_retransmissions to the retransmissions
 * since the last call.
 */
static uint64_t look_at_kernel(struct prober *b, uint64_t *ret_retransmissions)
{
	struct tcpinfo info;

	*ret_retransmissions = 0;
	if (!b->stream || !tcpinfo_read(b->stream, &info))
		return 0;
	*ret_retransmissions = info.retransmissions - b->retransmissions;
	b->retransmissions = info.retransmissions;
	ping_report_retransmissions(b->report, *ret_retransmissions);
	return info.rtt_ns;
}

/* Closes a connection that has failed. */
static void lose(struct prober *b)
{
	uint64_t retransmissions;

	look_at_kernel(b, &retransmissions);
	b->lost = b->lost || b->stream;
	prober_hang_up(b);
}

/* Ends a probe, with any outcome, or the farewell. */
static void done(struct prober *b)
{
	uv_timer_stop(&b->wait);
	b->phase = PROBER_IDLE;
	b->asked = false;
	b->on_done(b);
}

static void failed_after(struct prober *b, int failure, const char *detail)
{
	ping_report_failure(b->report, b->seq, failure, detail);
	lose(b);
	done(b);
}

static void failed(struct prober *b, int failure)
{
	char detail[80] = "";

	if (b->asked && b->got_bytes)
		snprintf(detail, sizeof(detail), "%llu of %zu bytes of the reply came",
			 (unsigned long long)b->got_bytes,
			 verifier_reply_size(&b->verifier, b->seq));
	failed_after(b, failure, detail);
}

static void wrong(struct prober *b, const struct fault *fault)
{
	ping_report_wrong(b->report, b->seq, fault);
	lose(b);
	done(b);
}

static void right(struct prober *b)
{
	struct ping_reply reply = {.seq = b->seq, .bytes = b->got_bytes};

	b->quiet_ns = uv_hrtime();
	reply.rtt_ns = b->quiet_ns - b->asked_ns;
	reply.kernel_ns = look_at_kernel(b, &reply.retransmissions);
	reply.connect_ns = b->connect_ns;
	ping_report_reply(b->report, &reply);
	done(b);
}

static void on_wait(uv_timer_t *timer)
{
	struct prober *b = timer->data;

	if (b->phase == PROBER_FAREWELL)
		done(b);
	else
		failed(b, FAILURE_REPLY_TIMEOUT);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct prober *b = handle->data;

	*ret_buf = uv_buf_init(b->received, CHUNK);
}

static void ask(struct prober *b);

/* Handles bytes, or the end of the connection, that arrive outside a probe. */
static void stray(struct prober *b, ssize_t n)
{
	struct fault fault = {0};
	uint64_t completed = 0;

	if (n < 0) {
		if (b->phase != PROBER_FAREWELL)
			ping_report_cut(b->report, b->seq, stream_failure(b->stream, (int)n),
					uv_hrtime() - b->quiet_ns);
	} else if (!verifier_feed(&b->verifier, b->verifier.index, (uint8_t *)b->received,
				  (size_t)n, &completed, &fault)) {
		ping_report_wrong(b->report, b->seq, &fault);
		/* The previous probe's reply was wrong after all. */
		if (b->report->received)
			b->report->received--;
	} else {
		return;
	}
	lose(b);
	if (b->phase == PROBER_FAREWELL || b->options->no_reconnect)
		done(b);
}

static void take(struct prober *b, const uint8_t *data, size_t n)
{
	struct fault fault = {0};
	uint64_t completed = 0;
	size_t used;

	if (!b->asked && explain_nak(data, n, &fault)) {
		wrong(b, &fault);
		return;
	}
	used = greeting_skip(&b->greeting, &b->shape, data, n);
	data += used;
	n -= used;
	if (!b->asked && greeting_over(&b->greeting, &b->shape))
		ask(b);
	b->got_bytes += n;
	if (!verifier_feed(&b->verifier, b->seq + 1, data, n, &completed, &fault))
		wrong(b, &fault);
	else if (b->verifier.index == b->seq + 1 && !verifier_suffix_due(&b->verifier))
		right(b);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct prober *b = stream->data;

	if (n == 0)
		return;
	if (b->phase != PROBER_PROBING)
		stray(b, n);
	else if (n < 0)
		failed(b, stream_failure(stream, (int)n));
	else
		take(b, (const uint8_t *)buf->base, (size_t)n);
}

static void on_written(uv_write_t *request, int status)
{
	/* A failure shows in reading. */
	free(request);
}

/* Writes the probe's message. libuv queues what does not fit now. */
static void ask(struct prober *b)
{
	struct message m;
	uv_buf_t buf;
	uv_write_t *request;
	int written;

	source_message(&b->source, 0, b->seq, &m);
	buf = uv_buf_init((char *)b->message, (unsigned)message_copy(&m, b->message));
	b->asked = true;
	b->asked_ns = uv_hrtime();
	written = uv_try_write(b->stream, &buf, 1);
	if (written == (int)buf.len)
		return;
	if (written > 0) {
		buf.base += written;
		buf.len -= (size_t)written;
	}
	request = malloc(sizeof(*request));
	if (!request || uv_write(request, b->stream, &buf, 1, on_written) < 0)
		free(request);
}

static void talk(struct prober *b)
{
	uv_timer_start(&b->wait, on_wait, b->options->wait_ms, 0);
	b->got_bytes = 0;
	if (greeting_over(&b->greeting, &b->shape))
		ask(b);
}

static void on_connected(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct prober *b = data;

	b->dial = NULL;
	if (status < 0) {
		failed(b, status);
		return;
	}
	b->stream = stream;
	stream->data = b;
	address_text(peer, b->report->peer);
	histogram_record(b->report->connect, connect_ns);
	if (b->lost && !b->options->new_connection)
		b->report->reconnects++;
	b->connect_ns = b->options->new_connection || b->lost ? connect_ns : 0;
	b->lost = false;
	b->retransmissions = 0;
	b->greeting = (struct greeting){0};
	verifier_init(&b->verifier, &b->source, &b->shape, &b->own_shape, 0, b->seq);
	uv_read_start(stream, on_alloc, on_read);
	talk(b);
}

static void connect_or_talk(struct prober *b)
{
	int r;

	if (b->stream) {
		talk(b);
		return;
	}
	r = dial_start(b->loop, b->addresses, b->options->timeout_ms, on_connected, b, &b->dial);
	if (r < 0)
		failed(b, r);
}

static void on_scouted(void *data, const struct scout_result *result)
{
	struct prober *b = data;

	b->scout = NULL;
	if (result->peer)
		address_text(result->peer, b->report->peer);
	if (result->failure) {
		failed_after(b, result->failure, result->detail);
	} else if (result->fault.kind != FAULT_NONE) {
		wrong(b, &result->fault);
	} else {
		b->shape = result->shape;
		b->shape_known = true;
		if (b->shape.greeting_n)
			ping_report_greeting(b->report, result->greeting, b->shape.greeting_n);
		connect_or_talk(b);
	}
}

void prober_begin(struct prober *b, const struct addresses *addresses)
{
	const struct options *o = b->options;
	struct scout_task task = {addresses, o->timeout_ms, o->size, o->prefix, o->suffix};
	int r;

	if (b->options->timeout_ms > b->options->wait_ms)
		task.timeout_ms = b->options->wait_ms;
	b->addresses = addresses;
	b->phase = PROBER_PROBING;
	b->seq++;
	b->report->transmitted++;
	b->connect_ns = 0;
	if (b->shape_known) {
		connect_or_talk(b);
		return;
	}
	r = scout_start(b->loop, &task, on_scouted, b, &b->scout);
	if (r < 0)
		failed(b, r);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	/* A failure shows in reading. */
}

bool prober_farewell(struct prober *b)
{
	if (!b->stream || uv_shutdown(&b->shutdown_request, b->stream, on_shutdown) < 0)
		return false;
	b->phase = PROBER_FAREWELL;
	uv_timer_start(&b->wait, on_wait, FAREWELL_MS, 0);
	return true;
}

int prober_init(struct prober *b, const struct options *options, struct ping_report *report,
		void (*on_done)(struct prober *b), void *data)
{
	*b = (struct prober){
		.options = options, .report = report, .on_done = on_done, .data = data};
	b->received = malloc(CHUNK);
	b->message = malloc(options->size);
	if (!b->received || !b->message)
		return -ENOMEM;
	return source_generate(options->size, &b->source);
}

void prober_open(struct prober *b, uv_loop_t *loop)
{
	b->loop = loop;
	uv_timer_init(loop, &b->wait);
	b->wait.data = b;
}

void prober_close(struct prober *b)
{
	scout_cancel(b->scout);
	dial_cancel(b->dial);
	prober_hang_up(b);
	uv_close((uv_handle_t *)&b->wait, NULL);
}

void prober_finish(struct prober *b)
{
	source_finish(&b->source);
	free(b->received);
	free(b->message);
}
