/*
 * Three steps, each a write and the replies to it: probe 1, probe 2, probes 3 and 4 at once. A
 * step's replies are complete when its last text has come back with a line end somewhere behind it,
 * and then nothing for a while: only silence tells where an unknown suffix ends.
 *
 * When a text does not come back, something near it or a NAK may have; that is looked for when the
 * time is up, the server closes, or after a short silence.
 */

#include "ackc/scout.h"
#include "ackc/words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TEXTS 4
#define TEXT_MIN 8
#define TEXT_MAX 1000
/* A greeting, and what four replies can be. */
#define RECEIVED_MAX (16 * 1024)
#define SILENCE_MIN_MS 30
#define SILENCE_MAX_MS 1000
/* After so long without the text, what came instead is looked at. */
#define SUSPICION_MS 250

struct scout {
	struct scout_task task;
	scout_cb cb;
	void *data;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct dial *dial;
	uv_stream_t *stream;
	size_t text_n; /* without LF */
	char texts[N_TEXTS][TEXT_MAX + 1];
	int first; /* the step's texts */
	int last;
	size_t mark;	   /* where the step's replies begin in received */
	size_t marks[2];   /* where the replies to probes 1 and 2 end */
	uint64_t asked_ms; /* of the loop's clock */
	uint64_t silence_ms;
	const struct sockaddr_storage *peer; /* whom it reached */
	size_t n;
	uint8_t received[RECEIVED_MAX];
};

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

	tell(s, &result);
}

__attribute__((format(printf, 2, 3))) static void tell_other(struct scout *s, const char *format,
							     ...)
{
	struct scout_result result = {.fault.kind = FAULT_OTHER};
	va_list args;

	va_start(args, format);
	vsnprintf(result.fault.words, sizeof(result.fault.words), format, args);
	va_end(args);
	tell(s, &result);
}

/* Looks for a NAK, or for something near to a text of the step. Ends the scout if there is. */
static bool tell_fault(struct scout *s)
{
	struct scout_result result = {0};
	const uint8_t *p = s->received + s->mark;
	size_t n = s->n - s->mark;

	for (size_t i = 0; i < n && result.fault.kind == FAULT_NONE; i++) {
		if (i == 0 || p[i - 1] == '\n')
			explain_nak(p + i, n - i, &result.fault);
	}
	for (int i = s->first; i <= s->last && result.fault.kind == FAULT_NONE; i++) {
		if (!memmem(p, n, s->texts[i], s->text_n))
			explain_search((const uint8_t *)s->texts[i], s->text_n, p, n,
				       &result.fault);
	}
	if (result.fault.kind == FAULT_NONE)
		return false;
	tell(s, &result);
	return true;
}

static size_t find(const struct scout *s, int text)
{
	const uint8_t *p = memmem(s->received, s->n, s->texts[text], s->text_n);

	return p ? (size_t)(p - s->received) : SIZE_MAX;
}

/* Whether the step's last text is there, and a line end after it. */
static bool answered(const struct scout *s)
{
	size_t at = find(s, s->last);

	return at != SIZE_MAX && find(s, s->first) != SIZE_MAX &&
	       memchr(s->received + at + s->text_n, '\n', s->n - at - s->text_n);
}

static bool as_given(struct scout *s, const char *what, const char *given, const struct affix *a)
{
	uint8_t found[AFFIX_MAX];
	size_t n = affix_render(a, 1, found);
	char shown[61];
	size_t shown_n = 0;

	if (!given || (strlen(given) == n && memcmp(given, found, n) == 0))
		return true;
	/* It may be meant for the terminal. */
	for (size_t i = 0; i < n && shown_n + 4 < sizeof(shown); i++)
		shown_n += (size_t)snprintf(shown + shown_n, sizeof(shown) - shown_n,
					    found[i] >= ' ' && found[i] < 0x7F ? "%c" : "\\x%02x",
					    found[i]);
	tell_other(s, "its %s is '%.*s', not '%.60s'", what, (int)shown_n, shown, given);
	return false;
}

/*
 * What stood between texts 3 and 4, which were sent as one: the line's end and no more when they
 * were taken as one message.
 */
static enum shape_framing framing(const struct scout *s, const uint8_t *behind, size_t behind_n)
{
	size_t third = find(s, 2);
	size_t fourth = find(s, 3);

	if (third != SIZE_MAX && fourth == third + s->text_n + 1)
		return SHAPE_STREAM;
	return behind[behind_n - 1] == '\n' ? SHAPE_LINES : SHAPE_STREAM;
}

static uint32_t count_lines(const uint8_t *p, size_t n)
{
	uint32_t lines = 0;

	for (size_t i = 0; i < n; i++)
		lines += p[i] == '\n';
	return lines;
}

/* Takes the replies apart: greeting, prefix, 1, behind, mark, prefix, 2, behind, mark... */
static void conclude(struct scout *s)
{
	struct scout_result result = {0};
	struct shape *shape = &result.shape;
	size_t one = find(s, 0);
	size_t two = find(s, 1);
	size_t prefix_n = two - s->marks[0];
	const uint8_t *behind[2] = {s->received + one + s->text_n, s->received + two + s->text_n};
	size_t behind_n[2] = {s->marks[0] - one - s->text_n, s->marks[1] - two - s->text_n};
	size_t end;

	if (two < s->marks[0] || prefix_n > one ||
	    !affix_learn(&shape->prefix, 1, s->received + one - prefix_n, prefix_n,
			 s->received + s->marks[0], prefix_n)) {
		tell_other(s, "what stands before a text differs from reply to reply");
		return;
	}
	shape->greeting_n = (uint32_t)(one - prefix_n);
	if (shape->greeting_n && s->received[shape->greeting_n - 1] == '\n')
		shape->greeting_lines = count_lines(s->received, shape->greeting_n);
	shape->framing = SHAPE_LINES;
	if (prefix_n || behind_n[0] != 1)
		shape->framing = framing(s, behind[0], behind_n[0]);
	/* The line's end is the text's: it stands before a stream's suffix, and after a line's. */
	end = shape->framing == SHAPE_LINES ? behind_n[0] - 1 : 0;
	if (behind_n[0] < 1 || behind_n[1] < 1 || behind[0][end] != '\n' ||
	    !affix_learn(&shape->suffix, 1, behind[0] + (end == 0 && behind_n[0] > 1),
			 behind_n[0] - 1, behind[1] + (end == 0 && behind_n[1] > 1),
			 behind_n[1] - 1)) {
		tell_other(s, "what stands after a text differs from reply to reply");
		return;
	}
	if (as_given(s, "prefix", s->task.prefix, &shape->prefix) &&
	    as_given(s, "suffix", s->task.suffix, &shape->suffix))
		tell(s, &result);
}

static void ask(struct scout *s, int first, int last);

static void step_done(struct scout *s)
{
	size_t one = find(s, 0);

	if (s->first < 2)
		s->marks[s->first] = s->n;
	if (s->first == 0) {
		ask(s, 1, 1);
	} else if (s->first == 1) {
		bool echo = find(s, 1) == s->marks[0] && s->marks[0] == one + s->text_n + 1;

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

static void on_timer(uv_timer_t *timer)
{
	struct scout *s = timer->data;

	if (answered(s))
		step_done(s);
	else if (s->n > s->mark && tell_fault(s))
		return;
	else if (left_ms(s) > 0)
		uv_timer_start(&s->timer, on_timer, left_ms(s), 0);
	else if (s->first > 0 && s->n > s->mark)
		tell_other(s, "the reply does not contain what was sent");
	else
		tell_failure(s, FAILURE_REPLY_TIMEOUT);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct scout *s = handle->data;

	*ret_buf = uv_buf_init((char *)s->received + s->n, (unsigned)(sizeof(s->received) - s->n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct scout *s = stream->data;
	uint64_t wait_ms;

	if (n == UV_ENOBUFS) {
		tell_other(s, "more than %d bytes came in reply", RECEIVED_MAX);
		return;
	}
	if (n < 0) {
		if (!tell_fault(s))
			tell_failure(s, stream_failure(stream, (int)n));
		return;
	}
	s->n += (size_t)n;
	uv_update_time(s->loop);
	if (answered(s)) {
		if (s->silence_ms == 0)
			s->silence_ms = 3 * (uv_now(s->loop) - s->asked_ms);
		wait_ms = s->silence_ms < SILENCE_MIN_MS   ? SILENCE_MIN_MS
			  : s->silence_ms > SILENCE_MAX_MS ? SILENCE_MAX_MS
							   : s->silence_ms;
	} else {
		wait_ms = SUSPICION_MS;
	}
	/* A server that never falls silent must not hold it up. */
	uv_timer_start(&s->timer, on_timer, wait_ms < left_ms(s) ? wait_ms : left_ms(s), 0);
}

static void on_written(uv_write_t *request, int status)
{
	/* If it failed, reading will tell. The stream may outlive the scout: its own memory. */
	free(request);
}

static void ask(struct scout *s, int first, int last)
{
	uv_write_t *request = malloc(sizeof(*request));
	uv_buf_t bufs[2];
	unsigned n = 0;

	s->mark = s->n;
	s->first = first;
	s->last = last;
	uv_update_time(s->loop);
	s->asked_ms = uv_now(s->loop);
	for (int i = first; i <= last; i++)
		bufs[n++] = uv_buf_init(s->texts[i], (unsigned)s->text_n + 1);
	if (!request || uv_write(request, s->stream, bufs, n, on_written) < 0)
		free(request);
	uv_timer_start(&s->timer, on_timer, s->task.timeout_ms, 0);
}

static void on_connected(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
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
	stream->data = s;
	uv_read_start(stream, on_alloc, on_read);
	ask(s, 0, 0);
}

/*
 * Letters that no greeting has by chance: digits would be taken for counters. Neighbours differ, so
 * that a doubled byte can be told.
 */
static void make_texts(struct scout *s)
{
	size_t n = s->task.size - 1;
	uint64_t state = uv_hrtime();

	s->text_n = n < TEXT_MIN ? TEXT_MIN : n > TEXT_MAX ? TEXT_MAX : n;
	for (int i = 0; i < N_TEXTS; i++) {
		for (size_t j = 0; j < s->text_n; j++) {
			char before = j ? s->texts[i][j - 1] : 0;
			char letter;

			/* Knuth's generator (MMIX). */
			state = state * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
			letter = (char)('a' + (state >> 33) % 26);
			s->texts[i][j] = letter != before ? letter
					 : letter == 'z'  ? 'a'
							  : (char)(letter + 1);
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
	r = dial_start(loop, task->addresses, task->timeout_ms, on_connected, s, &s->dial);
	if (r < 0) {
		scout_cancel(s);
		return r;
	}
	*ret_scout = s;
	return 0;
}
