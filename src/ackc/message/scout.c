/*
 * A scout takes three steps, each a write and its replies: probe 1, probe 2, then probes 3 and 4
 * together, unless the framing is known. The replies of a step are complete when its last text has
 * returned, followed by a line end, or by that of a frame, and then by silence. Only silence shows
 * where an unknown suffix ends.
 *
 * Bytes that cannot become the right reply may be a greeting or an earlier reply, with the right
 * one still in transit. A greeting comes once, a reply each time. So after a short silence the
 * scout sends a spare text. If more wrong bytes come, these are a wrong reply. If the reply was
 * only late, its end cannot be told from the reply to the spare text, and the scout starts again
 * without one.
 */

#include "ackc/message/scout.h"

#include "ackc/message/nak.h"
#include "ackc/output/failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TEXTS 5
#define SPARE_TEXT 4
#define TEXT_MIN 8
#define TEXT_MAX 1000
/* Room for a greeting and the replies to texts of at most TEXT_MAX bytes. */
#define RECEIVED_MAX (16 * 1024)
#define SILENCE_MIN_MS 30
#define SILENCE_MAX_MS 1000
/*
 * After this time without the text, or a quarter of the timeout, the received bytes are examined.
 */
#define SUSPICION_MS 250

/* The texts that each step sends. */
static const struct step {
	int first;
	int last;
} steps[] = {{0, 0}, {1, 1}, {2, 3}};

#define N_STEPS 3

struct scout {
	struct scout_task task;
	scout_cb cb;
	void *data;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct dial *dial;
	struct stream *stream;
	const struct sockaddr_storage *peer; /* the address reached */
	const struct frame *frame;	     /* of the probes */
	bool framed;			     /* the frame is known, and not assumed */
	int n_steps;
	size_t text_n;	 /* without the frame */
	size_t probe_n;	 /* with it */
	uint8_t *probes; /* N_TEXTS of them */
	uint8_t *received;
	size_t received_max;
	bool patient;	   /* the server is slow: the spare text is not sent */
	uint64_t asked_ms; /* in the loop's clock */
	/* The bytes that this connection has received so far. */
	struct transcript {
		int step;
		uint64_t silence_ms;	    /* how long the end of a reply takes; 0: unknown */
		size_t begins[N_STEPS + 1]; /* where the replies of a step begin in received */
		size_t spare_begins; /* where a reply to the spare text may begin; 0: not sent */
		size_t n;
	} t;
	uint8_t bytes[];
};

/* ---- what was received ---- */

/* Returns the text of a probe. */
static const uint8_t *text_of(const struct scout *s, int text)
{
	return s->probes + (size_t)text * s->probe_n + s->frame->header_n;
}

/* Returns the offset of @text in the received bytes; SIZE_MAX if it has not arrived. */
static size_t find(const struct scout *s, int text)
{
	/* A short text may also be a part of an earlier one. */
	size_t from = s->t.begins[text < 2 ? text : 2];
	const uint8_t *p = NULL;

	if (s->t.n - from >= s->text_n)
		p = memmem(s->received + from, s->t.n - from, text_of(s, text), s->text_n);
	return p ? (size_t)(p - s->received) : SIZE_MAX;
}

/* Returns the first text of the step that has not arrived; -1 if all have. */
static int awaited(const struct scout *s)
{
	for (int i = steps[s->t.step].first; i <= steps[s->t.step].last; i++) {
		if (find(s, i) == SIZE_MAX)
			return i;
	}
	return -1;
}

/* Returns what follows the last text of the step, all of which have arrived. */
static const uint8_t *after_texts(const struct scout *s, size_t *ret_n)
{
	size_t end = find(s, steps[s->t.step].last) + s->text_n;

	*ret_n = s->t.n - end;
	return s->received + end;
}

/* Returns whether the texts of the step arrived, with the end of a frame after the last one. */
static bool answered(const struct scout *s)
{
	const uint8_t *p;
	size_t n;

	if (awaited(s) >= 0)
		return false;
	p = after_texts(s, &n);
	return memmem(p, n, s->frame->end, s->frame->end_n);
}

/* Returns whether the received bytes may be the beginning of the right reply. */
static bool unfinished(const struct scout *s, bool more_may_come)
{
	int text = awaited(s);
	size_t came = s->t.n - s->t.begins[s->t.step];
	size_t n = came < s->text_n ? came : s->text_n;

	if (text < 0) {
		after_texts(s, &n);
		return n == 0 || more_may_come;
	}
	while (n > 0 && memcmp(s->received + s->t.n - n, text_of(s, text), n) != 0)
		n--;
	return n >= (more_may_come ? 1 : DIFFERENCE_PROOF);
}

/*
 * Describes how the @n bytes at @got differ from the reply to @text. If the prefix is unknown, the
 * reply is taken to start where most of the text follows, whose first byte may be wrong.
 */
static void explain(const struct scout *s, int text, const uint8_t *got, size_t n,
		    struct fault *ret)
{
	uint8_t expected[AFFIX_MAX + TEXT_MAX + FRAME_SEQUENCE_MAX];
	size_t prefix_n = s->task.prefix ? strlen(s->task.prefix) : 0;
	/* The text, and the end of its frame, which follows it. */
	size_t text_n = s->text_n > TEXT_MAX ? TEXT_MAX : s->text_n + s->frame->end_n;
	struct difference d = {.expected = expected, .expected_n = prefix_n + text_n};
	size_t best = 0;
	size_t start = s->task.prefix && n > s->frame->header_n ? s->frame->header_n : 0;
	enum fault_kind kind;

	memcpy(expected, s->task.prefix ? s->task.prefix : "", prefix_n);
	memcpy(expected + prefix_n, text_of(s, text), text_n);
	for (size_t i = 0; !s->task.prefix && i + DIFFERENCE_PROOF < n; i++) {
		size_t same = bytes_in_common(expected + 1, text_n - 1, got + i + 1, n - i - 1);

		if (same > best && same >= DIFFERENCE_PROOF) {
			best = same;
			start = i;
		}
	}
	d.at = d.offset = bytes_in_common(expected, d.expected_n, got + start, n - start);
	d.received = got + start + d.at;
	d.received_n = n - start - d.at;
	kind = d.received_n ? difference_kind(&d) : FAULT_DIFFERENT;
	difference_describe(&d, kind, fault_name(kind), ret);
}

/* Returns whether a NAK may begin at @i: at the first of the new bytes, or after a frame. */
static bool is_boundary(const struct scout *s, size_t from, size_t i)
{
	size_t end_n = s->frame->end_n;

	return i == from ||
	       (end_n && i >= end_n && memcmp(s->received + i - end_n, s->frame->end, end_n) == 0);
}

/* Looks for a NAK in a frame, or as a line, among the bytes received from @from on. */
static bool find_nak(const struct scout *s, size_t from, bool more_may_come, struct fault *ret)
{
	for (size_t i = from; i < s->t.n; i++) {
		const uint8_t *p = s->received + i;
		size_t n = s->t.n - i;
		enum nak_status status;

		if (!is_boundary(s, from, i))
			continue;
		status = nak_in_frame(s->frame, p, n, ret->words);
		if (status == NAK_YES)
			ret->kind = FAULT_NAK;
		if (status == NAK_YES ||
		    (!(status == NAK_MAYBE && more_may_come) && fault_find_nak(p, n, ret)))
			return true;
	}
	return false;
}

/*
 * Looks for a wrong reply. If there is none, what was received is the beginning of the right one,
 * or a greeting.
 */
static bool find_fault(const struct scout *s, bool more_may_come, struct fault *ret)
{
	const struct transcript *t = &s->t;
	size_t from = t->begins[t->step];
	bool spare = t->spare_begins && t->n > t->spare_begins;

	if (find_nak(s, from, more_may_come, ret))
		return true;
	if (t->n == from || (!spare && (t->step == 0 || more_may_come)) ||
	    unfinished(s, more_may_come))
		return false;
	if (spare && find(s, SPARE_TEXT) == SIZE_MAX)
		from = t->spare_begins;
	else
		spare = false;
	explain(s,
		spare		 ? SPARE_TEXT
		: awaited(s) < 0 ? steps[t->step].last
				 : awaited(s),
		s->received + from, t->n - from, ret);
	return true;
}

/* ---- the conversation ---- */

void scout_cancel(struct scout *s)
{
	if (!s || uv_is_closing((uv_handle_t *)&s->timer))
		return;
	dial_cancel(s->dial);
	stream_close(s->stream);
	uv_close((uv_handle_t *)&s->timer, handle_free);
}

static void report(struct scout *s, struct scout_result *result)
{
	result->peer = s->peer;
	result->greeting = s->received;
	if (s->stream)
		stream_tls_facts(s->stream, &result->tls);
	scout_cancel(s);
	s->cb(s->data, result);
}

/* Reports a failure of the network, with what arrived before it. */
static void report_failure(struct scout *s, int failure)
{
	struct scout_result result = {.failure = failure};
	const struct transcript *t = &s->t;
	size_t from = t->step > 0 ? t->begins[t->step] : 0;
	char received[QUOTE_MAX];

	if (s->stream && t->n > from) {
		bytes_quote(s->received + from, t->n - from, received, sizeof(received));
		snprintf(result.detail, sizeof(result.detail), "received %zu bytes: %s",
			 t->n - from, received);
	} else if (s->stream && t->step > 0) {
		snprintf(result.detail, sizeof(result.detail), "after reply %d", t->step);
	}
	report(s, &result);
}

/* Reports a wrong reply. Returns false if there is none. */
static bool report_fault(struct scout *s, bool more_may_come)
{
	struct scout_result result = {0};

	if (!find_fault(s, more_may_come, &result.fault))
		return false;
	report(s, &result);
	return true;
}

static void report_shape(struct scout *s)
{
	struct scout_result result = {0};
	struct shape_evidence e = {
		.received = s->received,
		.text_n = s->text_n,
		.ends = {s->t.begins[1], s->t.begins[2]},
		.prefix = s->task.prefix,
		.suffix = s->task.suffix,
		.frame = s->frame,
		.framed = s->framed,
	};

	for (int i = 0; i < SHAPE_TEXTS; i++)
		e.texts[i] = find(s, i);
	shape_learn(&e, &result.shape, &result.fault);
	report(s, &result);
}

static uint64_t left_ms(const struct scout *s)
{
	uint64_t end = s->asked_ms + s->task.timeout_ms;
	uint64_t now = uv_now(s->loop);

	return now < end ? end - now : 0;
}

/* Writes probes in one piece. A failure shows in reading. */
static void write_probes(struct scout *s, int first, int last)
{
	stream_write(s->stream, s->probes + (size_t)first * s->probe_n,
		     (size_t)(last - first + 1) * s->probe_n);
}

static void on_timer(uv_timer_t *timer);

static void step_begin(struct scout *s, int step)
{
	s->t.step = step;
	s->t.begins[step] = s->t.n;
	uv_update_time(s->loop);
	s->asked_ms = uv_now(s->loop);
	write_probes(s, steps[step].first, steps[step].last);
	uv_timer_start(&s->timer, on_timer, s->task.timeout_ms, 0);
}

static void step_done(struct scout *s)
{
	size_t one = find(s, 0);
	int next = s->t.step + 1;
	bool echo =
		next == 2 && find(s, 1) == s->t.begins[1] && s->t.begins[1] == one + s->text_n + 1;

	s->t.begins[next] = s->t.n;
	if (next == s->n_steps || echo)
		report_shape(s);
	else
		step_begin(s, next);
}

/* Returns how long the silence must last before the received bytes are examined. */
static uint64_t silence_ms(struct scout *s)
{
	uint64_t suspicion_ms = s->task.timeout_ms / 4;
	uint64_t ms = suspicion_ms < SUSPICION_MS ? suspicion_ms : SUSPICION_MS;

	if (answered(s)) {
		if (s->t.silence_ms == 0)
			s->t.silence_ms = 3 * (uv_now(s->loop) - s->asked_ms);
		ms = s->t.silence_ms < SILENCE_MIN_MS	? SILENCE_MIN_MS
		     : s->t.silence_ms > SILENCE_MAX_MS ? SILENCE_MAX_MS
							: s->t.silence_ms;
	}
	/* a server that sends continuously must not delay the end */
	return ms < left_ms(s) ? ms : left_ms(s);
}

static void read_on(struct scout *s);

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct scout *s = data;

	s->t.n += n;
	read_on(s);
	uv_update_time(s->loop);
	uv_timer_start(&s->timer, on_timer, silence_ms(s), 0);
}

static void on_ended(void *data, int failure)
{
	struct scout *s = data;
	struct scout_result result = {0};

	if (failure == UV_ENOBUFS) {
		result.fault.kind = FAULT_DIFFERENT;
		snprintf(result.fault.words, sizeof(result.fault.words),
			 "the server sent more than %zu bytes in reply", s->received_max);
		report(s, &result);
	} else if (!report_fault(s, false)) {
		report_failure(s, failure);
	}
}

static void read_on(struct scout *s)
{
	static const struct stream_events events = {on_received, on_ended, NULL};

	stream_read(s->stream, s->received + s->t.n, s->received_max - s->t.n, &events, s);
}

static void on_connected(void *data, int status, struct stream *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct scout *s = data;

	s->dial = NULL;
	if (status < 0) {
		report_failure(s, status);
		return;
	}
	s->stream = stream;
	s->peer = peer;
	read_on(s);
	step_begin(s, 0);
}

static int start_dial(struct scout *s)
{
	return dial_start(s->loop, s->task.addresses, s->task.timeout_ms, on_connected, s,
			  &s->dial);
}

/* Starts again on a new connection to a server that is slow. */
static void start_over(struct scout *s)
{
	int r;

	stream_close(s->stream);
	s->stream = NULL;
	uv_timer_stop(&s->timer);
	s->patient = true;
	s->t = (struct transcript){0};
	r = start_dial(s);
	if (r < 0)
		report_failure(s, r);
}

/* The server is silent, or the time is over. */
static void on_timer(uv_timer_t *timer)
{
	struct scout *s = timer->data;
	struct transcript *t = &s->t;
	bool in_time = left_ms(s) > 0;

	if (answered(s) && t->spare_begins) {
		start_over(s);
	} else if (answered(s)) {
		step_done(s);
	} else if (report_fault(s, in_time)) {
		return;
	} else if (!in_time) {
		report_failure(s, FAILURE_REPLY_TIMEOUT);
	} else {
		bool suspicious = t->n > t->begins[t->step] && !unfinished(s, false);

		if (suspicious && !s->patient && !t->spare_begins) {
			t->spare_begins = t->n;
			write_probes(s, SPARE_TEXT, SPARE_TEXT);
		}
		uv_timer_start(&s->timer, on_timer, left_ms(s), 0);
	}
}

/*
 * Makes the probes from random letters that no greeting contains by chance. Digits would be taken
 * for counters. The letters include capitals, to detect a server that changes case. Neighbours
 * differ, to detect a duplicated byte.
 */
static void make_probes(struct scout *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const size_t n_letters = sizeof(letters) - 1;
	uint64_t state = uv_hrtime();
	uint8_t *p = s->probes;

	for (int i = 0; i < N_TEXTS; i++) {
		size_t letter = 0;

		p += frame_header(s->frame, s->text_n, p);
		for (size_t j = 0; j < s->text_n; j++) {
			/* Knuth's linear congruential generator (MMIX) */
			state = state * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
			letter = (letter + 1 + (state >> 33) % (n_letters - 1)) % n_letters;
			*p++ = (uint8_t)letters[letter];
		}
		memcpy(p, s->frame->end, s->frame->end_n);
		p += s->frame->end_n;
	}
}

/* Returns the size of the texts: that of the messages to come, within bounds. */
static size_t text_size(const struct scout_task *task)
{
	size_t n = task->frame->kind == FRAME_NONE ? task->size - 1 : task->size;

	if (task->frame->kind == FRAME_FIXED)
		return task->frame->size;
	return n < TEXT_MIN ? TEXT_MIN : n > TEXT_MAX ? TEXT_MAX : n;
}

int scout_start(uv_loop_t *loop, const struct scout_task *task, scout_cb cb, void *data,
		struct scout **ret_scout)
{
	const struct frame *frame = task->frame->kind == FRAME_NONE ? &frame_line : task->frame;
	size_t text_n = text_size(task);
	size_t probe_n = frame->header_n + text_n + frame->end_n;
	size_t received_max = RECEIVED_MAX + (text_n > TEXT_MAX ? N_TEXTS * text_n : 0);
	struct scout *s = calloc(1, sizeof(*s) + N_TEXTS * probe_n + received_max);
	int r;

	if (!s)
		return UV_ENOMEM;
	s->task = *task;
	s->loop = loop;
	s->cb = cb;
	s->data = data;
	s->frame = frame;
	s->framed = task->frame->kind != FRAME_NONE;
	s->n_steps = s->framed ? N_STEPS - 1 : N_STEPS;
	s->text_n = text_n;
	s->probe_n = probe_n;
	s->probes = s->bytes;
	s->received = s->bytes + N_TEXTS * probe_n;
	s->received_max = received_max;
	make_probes(s);
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	r = start_dial(s);
	if (r < 0) {
		scout_cancel(s);
		return r;
	}
	*ret_scout = s;
	return 0;
}
