/*
 * A scout takes three steps, each a write and its replies: probe 1, probe 2, then probes 3 and 4
 * together. The replies of a step are complete when its last text has returned, followed by a line
 * end and then by silence. Only silence shows where an unknown suffix ends.
 *
 * If a text does not return, the scout looks for a damaged text or a NAK: at the timeout, at the
 * server's close, and after a short silence. Anything else may be a greeting with the reply still
 * in transit. Then one more text is sent; what arrives in reply to that is not a greeting.
 *
 * If the replies contain numbers that do not count messages, all steps are repeated on a second
 * connection. Numbers that differ there belong to the connection.
 */

#include "ackc/message/scout_parts.h"
#include "ackc/net/failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENCE_MIN_MS 30
#define SILENCE_MAX_MS 1000
/*
 * After this time without the text, or a quarter of the timeout, the received bytes are examined.
 */
#define SUSPICION_MS 250

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void scout_cancel(struct scout *s)
{
	if (!s || uv_is_closing((uv_handle_t *)&s->timer))
		return;
	dial_cancel(s->dial);
	stream_close(s->stream);
	uv_close((uv_handle_t *)&s->timer, on_closed);
}

static void tell(struct scout *s, struct scout_result *result)
{
	result->peer = s->peer;
	result->greeting = s->received;
	scout_cancel(s);
	s->cb(s->data, result);
}

static void tell_failure(struct scout *s, int failure)
{
	struct scout_result result = {.failure = failure};

	if (s->stream)
		scout_explain_failure(s, result.detail);
	tell(s, &result);
}

/* Reports a wrong reply of a known kind. */
static bool tell_fault(struct scout *s)
{
	struct scout_result result = {0};

	if (s->n == s->mark || !scout_find_fault(s, &result.fault))
		return false;
	tell(s, &result);
	return true;
}

/*
 * Reports any other wrong reply, unless the received bytes can be a greeting or the beginning of
 * the correct reply.
 */
static bool tell_other(struct scout *s, bool more_may_come)
{
	struct scout_result result = {0};
	size_t greeting_end = s->spare_mark ? s->spare_mark : SIZE_MAX;

	if (s->first > 0 && !more_may_come)
		greeting_end = s->mark;
	if (greeting_end >= s->n || scout_beginning(s) >= (more_may_come ? 1 : EXPLAIN_PROOF))
		return false;
	scout_explain_other(s, &result.fault);
	tell(s, &result);
	return true;
}

static void tell_too_much(struct scout *s)
{
	struct scout_result result = {.fault.kind = FAULT_OTHER};

	snprintf(result.fault.words, sizeof(result.fault.words), "more than %d bytes came in reply",
		 RECEIVED_MAX);
	tell(s, &result);
}

static void dial_again(struct scout *s);

static void conclude(struct scout *s)
{
	struct scout_result result = {0};

	scout_learn(s, &result);
	if (result.fault.kind == FAULT_NONE && s->second) {
		scout_compare(s, &result);
	} else if (result.fault.kind == FAULT_NONE && scout_wants_second(s, &result.shape)) {
		s->second = true;
		s->first_shape = result.shape;
		dial_again(s);
		return;
	}
	tell(s, &result);
}

static void ask(struct scout *s, int first, int last);

static void step_done(struct scout *s)
{
	size_t one = scout_find(s, 0);

	if (s->first < 2)
		s->marks[s->first] = s->n;
	if (s->first == 0) {
		ask(s, 1, 1);
	} else if (s->first == 1) {
		bool echo = scout_find(s, 1) == s->marks[0] && s->marks[0] == one + s->text_n + 1;

		if (echo)
			conclude(s);
		else
			ask(s, 2, 3);
	} else {
		conclude(s);
	}
}

static uint64_t left_ms(const struct scout *s)
{
	uint64_t end = s->asked_ms + s->task.timeout_ms;
	uint64_t now = uv_now(s->loop);

	return now < end ? end - now : 0;
}

static void write_texts(struct scout *s, int first, int last);
static void start_over(struct scout *s);

/*
 * Sends one more text to tell a greeting, which comes once, from a reply, which comes each time. If
 * the expected reply was only late, it cannot be told from the spare one, and the scout starts
 * again.
 */
static void ask_spare(struct scout *s)
{
	if (s->patient || s->spare_mark || s->n == s->mark || scout_beginning(s) >= EXPLAIN_PROOF)
		return;
	s->spare_mark = s->n;
	write_texts(s, SPARE_TEXT, SPARE_TEXT);
}

static void on_timer(uv_timer_t *timer)
{
	struct scout *s = timer->data;
	bool in_time = left_ms(s) > 0;

	if (scout_answered(s)) {
		if (s->spare_mark)
			start_over(s);
		else
			step_done(s);
	} else if (tell_fault(s) || tell_other(s, in_time)) {
		return;
	} else if (in_time) {
		ask_spare(s);
		uv_timer_start(&s->timer, on_timer, left_ms(s), 0);
	} else {
		tell_failure(s, FAILURE_REPLY_TIMEOUT);
	}
}

/* Returns how long the silence must last before the received bytes are examined. */
static uint64_t silence_ms(struct scout *s)
{
	uint64_t suspicion_ms = s->task.timeout_ms / 4;

	if (!scout_answered(s))
		return suspicion_ms < SUSPICION_MS ? suspicion_ms : SUSPICION_MS;
	if (s->silence_ms == 0)
		s->silence_ms = 3 * (uv_now(s->loop) - s->asked_ms);
	return s->silence_ms < SILENCE_MIN_MS	? SILENCE_MIN_MS
	       : s->silence_ms > SILENCE_MAX_MS ? SILENCE_MAX_MS
						: s->silence_ms;
}

static void read_on(struct scout *s);

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct scout *s = data;
	uint64_t wait_ms;

	s->n += n;
	read_on(s);
	uv_update_time(s->loop);
	wait_ms = silence_ms(s);
	/* a server that sends continuously must not delay the end */
	if (wait_ms > left_ms(s))
		wait_ms = left_ms(s);
	uv_timer_start(&s->timer, on_timer, wait_ms, 0);
}

static void on_ended(void *data, int failure)
{
	struct scout *s = data;

	if (failure == UV_ENOBUFS)
		tell_too_much(s);
	else if (!tell_fault(s) && !tell_other(s, false))
		tell_failure(s, failure);
}

static void read_on(struct scout *s)
{
	static const struct stream_events events = {on_received, on_ended, NULL};

	stream_read(s->stream, s->received + s->n, sizeof(s->received) - s->n, &events, s);
}

static void write_texts(struct scout *s, int first, int last)
{
	char bytes[2 * (TEXT_MAX + 1)];
	size_t n = 0;

	for (int i = first; i <= last; i++) {
		memcpy(bytes + n, s->texts[i], s->text_n + 1);
		n += s->text_n + 1;
	}
	/* A failure shows in reading. */
	stream_write(s->stream, bytes, n);
}

static void ask(struct scout *s, int first, int last)
{
	s->mark = s->n;
	s->first = first;
	s->last = last;
	uv_update_time(s->loop);
	s->asked_ms = uv_now(s->loop);
	write_texts(s, first, last);
	uv_timer_start(&s->timer, on_timer, s->task.timeout_ms, 0);
}

static void on_connected(void *data, int status, struct stream *stream, uint64_t connect_ns,
			 const struct sockaddr_storage *peer)
{
	struct scout *s = data;

	s->dial = NULL;
	if (status < 0) {
		tell_failure(s, status);
		return;
	}
	s->stream = stream;
	s->peer = peer;
	read_on(s);
	ask(s, 0, 0);
}

static int start_dial(struct scout *s)
{
	return dial_start(s->loop, s->task.addresses, s->task.timeout_ms, on_connected, s,
			  &s->dial);
}

static void dial_again(struct scout *s)
{
	int r;

	stream_close(s->stream);
	s->stream = NULL;
	uv_timer_stop(&s->timer);
	s->n = 0;
	s->spare_mark = 0;
	s->silence_ms = 0;
	r = start_dial(s);
	if (r < 0)
		tell_failure(s, r);
}

static void start_over(struct scout *s)
{
	s->patient = true;
	dial_again(s);
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
		for (size_t j = 0; j < s->text_n; j++) {
			char before = j ? s->texts[i][j - 1] : 0;
			char letter;

			/* Knuth's linear congruential generator (MMIX) */
			state = state * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
			letter = letters[(state >> 33) % n_letters];
			if (letter == before)
				letter = letters[((state >> 33) + 1) % n_letters];
			s->texts[i][j] = letter;
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
