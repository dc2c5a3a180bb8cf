/*
 * A scout takes three steps, each a write and its replies: probe 1, probe 2, then probes 3 and 4
 * together. The replies of a step are complete when its last text has returned, followed by a line
 * end and then by silence. Only silence shows where an unknown suffix ends.
 *
 * Bytes that cannot become the right reply may be a greeting or an earlier reply, with the right
 * one still in transit. A greeting comes once, a reply each time. So after a short silence the
 * scout sends a spare text. If more wrong bytes come, these are a wrong reply. If the reply was
 * only late, its end cannot be told from the reply to the spare text, and the scout starts again
 * without one.
 */

#include "ackc/message/scout.h"

#include "ackc/net/failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TEXTS 5
#define SPARE_TEXT 4
#define TEXT_MIN 8
#define TEXT_MAX 1000
/* Room for a greeting and the replies. */
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
	size_t text_n;			     /* without LF */
	char texts[N_TEXTS][TEXT_MAX + 1];
	bool patient;	   /* the server is slow: the spare text is not sent */
	uint64_t asked_ms; /* in the loop's clock */
	/* The bytes that this connection has received so far. */
	struct transcript {
		int step;
		uint64_t silence_ms;	    /* how long the end of a reply takes; 0: unknown */
		size_t begins[N_STEPS + 1]; /* where the replies of a step begin in received */
		size_t spare_begins; /* where a reply to the spare text may begin; 0: not sent */
		size_t n;
		uint8_t received[RECEIVED_MAX];
	} t;
};

/* ---- what was received ---- */

/* Returns the offset of @text in the received bytes; SIZE_MAX if it has not arrived. */
static size_t find(const struct scout *s, int text)
{
	const uint8_t *p = memmem(s->t.received, s->t.n, s->texts[text], s->text_n);

	return p ? (size_t)(p - s->t.received) : SIZE_MAX;
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
static const uint8_t *behind(const struct scout *s, size_t *ret_n)
{
	size_t end = find(s, steps[s->t.step].last) + s->text_n;

	*ret_n = s->t.n - end;
	return s->t.received + end;
}

/* Returns whether the texts of the step arrived, with a line end after the last one. */
static bool answered(const struct scout *s)
{
	const uint8_t *p;
	size_t n;

	if (awaited(s) >= 0)
		return false;
	p = behind(s, &n);
	return memchr(p, '\n', n);
}

/* Returns whether the received bytes may be the beginning of the right reply. */
static bool unfinished(const struct scout *s, bool more_may_come)
{
	int text = awaited(s);
	size_t came = s->t.n - s->t.begins[s->t.step];
	size_t n = came < s->text_n ? came : s->text_n;

	if (text < 0) {
		behind(s, &n);
		return n == 0 || more_may_come;
	}
	while (n > 0 && memcmp(s->t.received + s->t.n - n, s->texts[text], n) != 0)
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
	uint8_t expected[AFFIX_MAX + TEXT_MAX + 1];
	size_t prefix_n = s->task.prefix ? strlen(s->task.prefix) : 0;
	struct difference d = {.expected = expected, .expected_n = prefix_n + s->text_n + 1};
	size_t best = 0;
	size_t start = 0;
	enum fault_kind kind;

	memcpy(expected, s->task.prefix ? s->task.prefix : "", prefix_n);
	memcpy(expected + prefix_n, s->texts[text], s->text_n + 1);
	for (size_t i = 0; !s->task.prefix && i + DIFFERENCE_PROOF < n; i++) {
		size_t same = bytes_in_common(expected + 1, s->text_n, got + i + 1, n - i - 1);

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

/*
 * Looks for a wrong reply. If there is none, what was received is the beginning of the right one,
 * or a greeting.
 */
static bool find_fault(const struct scout *s, bool more_may_come, struct fault *ret)
{
	const struct transcript *t = &s->t;
	size_t from = t->begins[t->step];
	bool spare = t->spare_begins && t->n > t->spare_begins;

	for (size_t i = from; i < t->n; i++) {
		if ((i == from || t->received[i - 1] == '\n') &&
		    fault_find_nak(t->received + i, t->n - i, ret))
			return true;
	}
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
		t->received + from, t->n - from, ret);
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
	result->greeting = s->t.received;
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
		bytes_quote(t->received + from, t->n - from, received, sizeof(received));
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
		.received = s->t.received,
		.text_n = s->text_n,
		.ends = {s->t.begins[1], s->t.begins[2]},
		.prefix = s->task.prefix,
		.suffix = s->task.suffix,
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

/* Writes texts in one piece. A failure shows in reading. */
static void write_texts(struct scout *s, int first, int last)
{
	char bytes[2 * (TEXT_MAX + 1)];
	size_t n = 0;

	for (int i = first; i <= last; i++, n += s->text_n + 1)
		memcpy(bytes + n, s->texts[i], s->text_n + 1);
	stream_write(s->stream, bytes, n);
}

static void on_timer(uv_timer_t *timer);

static void step_begin(struct scout *s, int step)
{
	s->t.step = step;
	s->t.begins[step] = s->t.n;
	uv_update_time(s->loop);
	s->asked_ms = uv_now(s->loop);
	write_texts(s, steps[step].first, steps[step].last);
	uv_timer_start(&s->timer, on_timer, s->task.timeout_ms, 0);
}

static void step_done(struct scout *s)
{
	size_t one = find(s, 0);
	int next = s->t.step + 1;
	bool echo =
		next == 2 && find(s, 1) == s->t.begins[1] && s->t.begins[1] == one + s->text_n + 1;

	s->t.begins[next] = s->t.n;
	if (next == N_STEPS || echo)
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
			 "the server sent more than %d bytes in reply", RECEIVED_MAX);
		report(s, &result);
	} else if (!report_fault(s, false)) {
		report_failure(s, failure);
	}
}

static void read_on(struct scout *s)
{
	static const struct stream_events events = {on_received, on_ended, NULL};

	stream_read(s->stream, s->t.received + s->t.n, sizeof(s->t.received) - s->t.n, &events, s);
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
			write_texts(s, SPARE_TEXT, SPARE_TEXT);
		}
		uv_timer_start(&s->timer, on_timer, left_ms(s), 0);
	}
}

/*
 * Makes the texts from random letters that no greeting contains by chance. Digits would be taken
 * for counters. The letters include capitals, to detect a server that changes case. Neighbours
 * differ, to detect a duplicated byte.
 */
static void make_texts(struct scout *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const size_t n_letters = sizeof(letters) - 1;
	size_t n = s->task.size - 1;
	uint64_t state = uv_hrtime();

	s->text_n = n < TEXT_MIN ? TEXT_MIN : n > TEXT_MAX ? TEXT_MAX : n;
	for (int i = 0; i < N_TEXTS; i++) {
		size_t letter = 0;

		for (size_t j = 0; j < s->text_n; j++) {
			/* Knuth's linear congruential generator (MMIX) */
			state = state * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
			letter = (letter + 1 + (state >> 33) % (n_letters - 1)) % n_letters;
			s->texts[i][j] = letters[letter];
		}
		s->texts[i][s->text_n] = '\n';
	}
}

int scout_start(uv_loop_t *loop, const struct scout_task *task, scout_cb cb, void *data,
		struct scout **ret_scout)
{
	struct scout *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->task = *task;
	s->loop = loop;
	s->cb = cb;
	s->data = data;
	make_texts(s);
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
