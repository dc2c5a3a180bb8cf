/*
 * ackc ping. It looks up the name once, then sends a probe every interval, one at a time. A probe
 * learns the shape of the replies if it is unknown (scout.c), connects if there is no connection,
 * waits for the greeting, writes a message and checks the reply. As in ping(8), only a failed
 * look-up, an output error or a signal ends the command early.
 *
 * A failed probe (no connection, no reply in time, or a wrong reply) is counted and reported. Its
 * connection is closed, so that a late reply is never taken for another probe's, and the next probe
 * opens a new one. The same happens if the peer closes the connection between two probes; this is
 * reported, but is not a loss.
 */

#include "ackc/ping/ping.h"

#include "ackc/message/scout.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/net/run.h"
#include "ackc/net/tcpinfo.h"
#include "ackc/output/failure.h"
#include "ackc/output/output.h"
#include "ackc/output/process.h"
#include "ackc/ping/report.h"
#include "base/states.h"

#include <stdlib.h>

#define CHUNK (64 * 1024)
/* The time that the server has to close at the end. */
#define FAREWELL_MS 200
/* An early end does not count a probe that was sent less than this ago. */
#define FORGIVEN_MS 1000

enum ping_state {
	LOOKING_UP,
	IDLE,	  /* between two probes */
	SCOUTING, /* the first probes, until one has learnt the shape */
	DIALLING,
	GREETING, /* connected; the greeting is not complete */
	ASKED,	  /* the probe's message is written */
	FAREWELL, /* half-closed: all that arrives is unsolicited */
	OVER,
};

static const struct state_row ping_states[] = {
	[LOOKING_UP] = {"looking up", STATES_BIT(IDLE) | STATES_BIT(OVER)},
	[IDLE] = {"idle", STATES_BIT(SCOUTING) | STATES_BIT(DIALLING) | STATES_BIT(GREETING) |
				  STATES_BIT(FAREWELL) | STATES_BIT(OVER)},
	[SCOUTING] = {"scouting", STATES_BIT(IDLE) | STATES_BIT(DIALLING) | STATES_BIT(OVER)},
	[DIALLING] = {"dialling", STATES_BIT(IDLE) | STATES_BIT(GREETING) | STATES_BIT(OVER)},
	[GREETING] = {"greeting", STATES_BIT(IDLE) | STATES_BIT(ASKED) | STATES_BIT(OVER)},
	[ASKED] = {"asked", STATES_BIT(IDLE) | STATES_BIT(OVER)},
	[FAREWELL] = {"farewell", STATES_BIT(OVER)},
	[OVER] = {"over", 0},
};

/* A probe is under way. */
#define PROBING                                                                                    \
	(STATES_BIT(SCOUTING) | STATES_BIT(DIALLING) | STATES_BIT(GREETING) | STATES_BIT(ASKED))

struct ping {
	const struct options *options;
	struct run run;
	uv_timer_t interval; /* the next probe */
	uv_timer_t wait;     /* timeout for the reply, or for the server's close */
	uv_timer_t deadline;
	struct scout *scout;
	struct dial *dial;
	struct stream *stream; /* NULL: not connected */
	struct source source;
	struct shape shape;
	bool shape_known;
	struct shape own_shape; /* the connection's own shape, if it differs */
	struct verifier verifier;
	uint8_t state;
	bool lost;	   /* the last connection was ended by the peer or by a failure */
	uint64_t seq;	   /* of the current or last probe; from 1 */
	uint64_t began_ms; /* start of that probe, in the loop's clock */
	uint64_t asked_ns;
	uint64_t reply_start;	  /* verifier.reply_bytes when the probe's reply was next */
	uint64_t connect_ns;	  /* of the connect made and reported with this probe; or 0 */
	uint64_t handshake_ns;	  /* the same for the TLS handshake */
	uint64_t quiet_ns;	  /* when the last reply was complete */
	uint64_t retransmissions; /* of this connection, as reported so far */
	struct ping_report report;
	uint8_t *message;
	char received[CHUNK];
};

static void check_invariant(const struct ping *p)
{
	assert((p->scout != NULL) == (p->state == SCOUTING));
	assert((p->dial != NULL) == (p->state == DIALLING));
	assert(p->stream || !states_in(p->state, STATES_BIT(GREETING) | STATES_BIT(ASKED) |
							 STATES_BIT(FAREWELL)));
	assert(!p->stream || !states_in(p->state, STATES_BIT(LOOKING_UP) | STATES_BIT(SCOUTING) |
							  STATES_BIT(DIALLING) | STATES_BIT(OVER)));
}

static void hang_up(struct ping *p)
{
	stream_close(p->stream);
	p->stream = NULL;
}

static void over(struct ping *p)
{
	if (p->state == OVER)
		return;
	states_move(ping_states, &p->state, OVER);
	scout_cancel(p->scout);
	p->scout = NULL;
	dial_cancel(p->dial);
	p->dial = NULL;
	hang_up(p);
	uv_close((uv_handle_t *)&p->interval, NULL);
	uv_close((uv_handle_t *)&p->wait, NULL);
	uv_close((uv_handle_t *)&p->deadline, NULL);
	run_end(&p->run, ping_report_end(&p->report));
	check_invariant(p);
}

/*
 * Returns the kernel's round-trip time, or 0. Sets *@ret_retransmissions to the retransmissions
 * since the last call.
 */
static uint64_t look_at_kernel(struct ping *p, uint64_t *ret_retransmissions)
{
	struct tcpinfo info;

	*ret_retransmissions = 0;
	if (!p->stream || !tcpinfo_read(stream_socket(p->stream), &info))
		return 0;
	*ret_retransmissions = info.retransmissions - p->retransmissions;
	p->retransmissions = info.retransmissions;
	p->report.retransmissions += *ret_retransmissions;
	return info.rtt_ns;
}

/* Closes a connection that has failed, or that the peer has ended. */
static void lose(struct ping *p)
{
	uint64_t retransmissions;

	look_at_kernel(p, &retransmissions);
	p->lost = p->lost || p->stream;
	hang_up(p);
}

static void on_interval(uv_timer_t *timer);
static void say_farewell(struct ping *p);

/* Ends a probe, whatever its outcome, and prepares the next one. */
static void probe_done(struct ping *p)
{
	uint64_t due_ms = p->began_ms + p->options->interval_ms;
	uint64_t now_ms;

	uv_timer_stop(&p->wait);
	states_move(ping_states, &p->state, IDLE);
	check_invariant(p);
	if (!output_flush() || (p->options->no_reconnect && p->lost)) {
		over(p);
	} else if (p->seq == p->options->count) {
		say_farewell(p);
	} else {
		if (p->options->new_connection)
			hang_up(p);
		uv_update_time(&p->run.loop);
		now_ms = uv_now(&p->run.loop);
		uv_timer_start(&p->interval, on_interval, due_ms > now_ms ? due_ms - now_ms : 0, 0);
	}
}

static void probe_failed(struct ping *p, int failure, const char *detail)
{
	p->dial = NULL;
	ping_report_failure(&p->report, p->seq, failure, detail);
	lose(p);
	probe_done(p);
}

static void probe_wrong(struct ping *p, const struct fault *fault)
{
	ping_report_wrong(&p->report, p->seq, fault);
	lose(p);
	probe_done(p);
}

/* The wait for a reply has failed. */
static void reply_failed(struct ping *p, int failure)
{
	char detail[VERIFIER_TEXT_MAX] = "";
	struct fault fault;

	if (!verifier_end(&p->verifier, p->seq + 1, &fault)) {
		probe_wrong(p, &fault);
		return;
	}
	if (p->state == ASKED)
		verifier_partial(&p->verifier, detail);
	probe_failed(p, failure, detail);
}

static void probe_answered(struct ping *p)
{
	struct ping_reply reply = {
		.seq = p->seq,
		.bytes = p->verifier.reply_bytes - p->reply_start,
		.connect_ns = p->connect_ns,
		.handshake_ns = p->handshake_ns,
	};

	p->quiet_ns = uv_hrtime();
	reply.rtt_ns = p->quiet_ns - p->asked_ns;
	reply.kernel_ns = look_at_kernel(p, &reply.retransmissions);
	ping_report_reply(&p->report, &reply);
	probe_done(p);
}

static void on_wait(uv_timer_t *timer)
{
	struct ping *p = timer->data;

	if (p->state == FAREWELL)
		over(p);
	else
		reply_failed(p, FAILURE_REPLY_TIMEOUT);
}

/* Writes the probe's message. */
static void ask(struct ping *p)
{
	struct message m;

	states_move(ping_states, &p->state, ASKED);
	source_message(&p->source, 0, p->seq, &m);
	message_copy(&m, p->message);
	p->asked_ns = uv_hrtime();
	/* A failure shows in reading. */
	stream_write(p->stream, p->message, message_size(&m));
}

/* Uses the open connection for the probe. */
static void talk(struct ping *p)
{
	states_move(ping_states, &p->state, GREETING);
	p->reply_start = p->verifier.reply_bytes;
	uv_timer_start(&p->wait, on_wait, p->options->wait_ms, 0);
	if (verifier_greeted(&p->verifier))
		ask(p);
	check_invariant(p);
}

/* Ends the command, or waits for the next probe, after the connection has ended between probes. */
static void lose_idle(struct ping *p)
{
	lose(p);
	if (p->state == FAREWELL || p->options->no_reconnect)
		over(p);
}

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct ping *p = data;
	bool probing = states_in(p->state, PROBING);
	/* Between two probes nothing is due, so whatever arrives is wrong. */
	uint64_t sent = probing ? p->seq + 1 : p->verifier.index;
	struct fault fault = {0};

	if (!verifier_feed(&p->verifier, sent, bytes, n, &fault)) {
		if (probing) {
			probe_wrong(p, &fault);
			return;
		}
		/* The previous probe's reply was wrong after all. */
		ping_report_wrong(&p->report, p->seq, &fault);
		if (p->report.received)
			p->report.received--;
		lose_idle(p);
		return;
	}
	if (p->state == GREETING && verifier_greeted(&p->verifier))
		ask(p);
	if (p->state == ASKED && p->verifier.index == p->seq + 1 &&
	    !verifier_suffix_due(&p->verifier))
		probe_answered(p);
}

static void on_ended(void *data, int failure)
{
	struct ping *p = data;

	if (states_in(p->state, PROBING)) {
		reply_failed(p, failure);
		return;
	}
	if (p->state != FAREWELL)
		ping_report_cut(&p->report, p->seq, failure, uv_hrtime() - p->quiet_ns);
	lose_idle(p);
}

static void on_connected(void *data, int status, struct stream *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	static const struct stream_events events = {on_received, on_ended, NULL};
	struct ping *p = data;
	struct tls_facts tls = {0};
	bool reported = p->options->new_connection || p->lost;

	p->dial = NULL;
	if (status < 0) {
		probe_failed(p, status, "");
		return;
	}
	p->stream = stream;
	peer_text(peer, p->report.peer);
	histogram_record(&p->report.connect, connect_ns);
	if (p->lost && !p->options->new_connection)
		p->report.reconnects++;
	p->connect_ns = reported ? connect_ns : 0;
	p->handshake_ns = reported ? stream_handshake_ns(stream) : 0;
	if (stream_tls_facts(stream, &tls))
		ping_report_tls(&p->report, &tls);
	p->lost = false;
	p->retransmissions = 0;
	verifier_init(&p->verifier, &p->source, &p->shape, &p->own_shape, 0, p->seq);
	stream_read(stream, p->received, CHUNK, &events, p);
	talk(p);
}

static void connect_or_talk(struct ping *p)
{
	int r;

	if (p->stream) {
		talk(p);
		return;
	}
	states_move(ping_states, &p->state, DIALLING);
	r = dial_start(&p->run.loop, &p->run.lookup.addresses, p->options->timeout_ms, on_connected,
		       p, &p->dial);
	if (r < 0)
		probe_failed(p, r, "");
}

static void on_scouted(void *data, const struct scout_result *result)
{
	struct ping *p = data;

	p->scout = NULL;
	if (result->peer)
		peer_text(result->peer, p->report.peer);
	if (result->failure) {
		probe_failed(p, result->failure, result->detail);
	} else if (result->fault.kind != FAULT_NONE) {
		probe_wrong(p, &result->fault);
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
	const struct options *o = p->options;
	struct scout_task task = {
		.addresses = &p->run.lookup.addresses,
		.timeout_ms = o->timeout_ms < o->wait_ms ? o->timeout_ms : o->wait_ms,
		.size = o->size,
		.frame = &o->frame,
		.prefix = o->prefix,
		.suffix = o->suffix,
	};
	int r;

	p->began_ms = uv_now(&p->run.loop);
	p->seq++;
	p->report.transmitted++;
	p->connect_ns = p->handshake_ns = 0;
	if (p->shape_known) {
		connect_or_talk(p);
		return;
	}
	states_move(ping_states, &p->state, SCOUTING);
	r = scout_start(&p->run.loop, &task, on_scouted, p, &p->scout);
	if (r < 0)
		probe_failed(p, r, "");
}

static void on_interval(uv_timer_t *timer)
{
	probe(timer->data);
}

/* Half-closes after the last probe, to check that nothing else arrives. */
static void say_farewell(struct ping *p)
{
	if (!p->stream) {
		over(p);
		return;
	}
	states_move(ping_states, &p->state, FAREWELL);
	stream_half_close(p->stream);
	uv_timer_start(&p->wait, on_wait, FAREWELL_MS, 0);
	check_invariant(p);
}

static void on_found(void *data, int status)
{
	struct ping *p = data;

	if (status < 0) {
		ping_report_failure(&p->report, 0, status, "");
		over(p);
		return;
	}
	states_move(ping_states, &p->state, IDLE);
	ping_report_begin(&p->report, &p->run.lookup.addresses.list[0]);
	p->report.began_ns = uv_hrtime();
	probe(p);
}

/*
 * Ends before the last probe. If the server has answered before, a probe sent less than FORGIVEN_MS
 * ago is not counted.
 */
static void end_early(struct ping *p)
{
	uv_update_time(&p->run.loop);
	if (states_in(p->state, PROBING) && p->report.received &&
	    uv_now(&p->run.loop) - p->began_ms < FORGIVEN_MS)
		p->report.transmitted--;
	over(p);
}

static void on_signal(void *data, int number)
{
	struct ping *p = data;

	if (number == process_signal_interim)
		ping_report_interim(&p->report);
	else
		end_early(p);
}

static void on_deadline(uv_timer_t *timer)
{
	struct ping *p = timer->data;

	if (p->state == LOOKING_UP)
		ping_report_failure(&p->report, 0, FAILURE_LOOKUP_TIMEOUT, "");
	if (!p->options->plugin) {
		end_early(p);
		return;
	}
	/* if only the farewell is left, all replies have arrived */
	p->report.late = p->state != FAREWELL;
	over(p);
}

static int start(struct ping *p)
{
	int r = run_start(&p->run, &p->options->target, p->options->timeout_ms, on_found,
			  process_signal_interim, on_signal, p);

	if (r < 0)
		return r;
	uv_timer_init(&p->run.loop, &p->interval);
	uv_timer_init(&p->run.loop, &p->wait);
	uv_timer_init(&p->run.loop, &p->deadline);
	p->interval.data = p->wait.data = p->deadline.data = p;
	if (p->options->deadline_ms)
		uv_timer_start(&p->deadline, on_deadline, p->options->deadline_ms, 0);
	return 0;
}

int ping_run(const struct options *options)
{
	static struct ping ping;
	struct ping *p = &ping;
	int r = source_generate(options->size, &options->frame, &p->source);

	p->options = p->report.options = options;
	p->report.began_ns = uv_hrtime();
	p->message = malloc(p->source.size_max);
	if (r == 0)
		r = p->message ? start(p) : UV_ENOMEM;
	if (r == 0)
		r = run_wait(&p->run);
	source_finish(&p->source);
	free(p->message);
	return r;
}
