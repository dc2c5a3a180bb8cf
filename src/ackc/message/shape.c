#include "ackc/message/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool affix_set(struct affix *a, const uint8_t *bytes, size_t n)
{
	if (n > AFFIX_MAX)
		return false;
	a->n = (uint32_t)n;
	a->n_numbers = 0;
	if (n)
		memcpy(a->bytes, bytes, n);
	return true;
}

static size_t count_digits(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= '0' && p[i] <= '9')
		i++;
	return i;
}

/* Returns the value of @n digits, modulo 2^64. */
static uint64_t number(const uint8_t *p, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value * 10 + (p[i] - '0');
	return value;
}

bool affix_learn(struct affix *a, const uint8_t *first, size_t first_n, const uint8_t *second,
		 size_t second_n)
{
	size_t i = 0;
	size_t j = 0;

	if (!affix_set(a, first, first_n))
		return false;
	while (i < first_n && j < second_n) {
		size_t was_n = count_digits(first + i, first_n - i);
		size_t is_n = count_digits(second + j, second_n - j);
		bool same = was_n == is_n && memcmp(first + i, second + j, was_n ? was_n : 1) == 0;
		uint64_t was = number(first + i, was_n);
		/* A counter with leading zeros keeps its width. */
		bool padded = (was_n > 1 && first[i] == '0') || (is_n > 1 && second[j] == '0');
		bool counts = was_n && is_n && is_n < AFFIX_DIGITS_MAX &&
			      number(second + j, is_n) == was + 1 && (!padded || is_n == was_n);

		if (!same && !counts)
			return false;
		if (counts && a->n_numbers == AFFIX_NUMBERS_MAX)
			return false;
		if (was_n && was_n <= AFFIX_DIGITS_MAX && a->n_numbers < AFFIX_NUMBERS_MAX) {
			a->numbers[a->n_numbers++] =
				(struct affix_number){(uint32_t)i, (uint32_t)was_n, counts, was};
		}
		i += was_n ? was_n : 1;
		j += is_n ? is_n : 1;
	}
	return i == first_n && j == second_n;
}

void affix_fix_end(struct affix *a)
{
	const struct affix_number *last = a->numbers + a->n_numbers - 1;

	if (a->n_numbers && !last->counts && last->offset + last->length == a->n)
		a->n_numbers--;
}

static bool has_number(const struct affix *a, bool counts)
{
	for (uint32_t i = 0; i < a->n_numbers; i++) {
		if (a->numbers[i].counts == counts)
			return true;
	}
	return false;
}

bool affix_is_fixed(const struct affix *a)
{
	return !has_number(a, false);
}

bool affix_counts(const struct affix *a)
{
	return has_number(a, true);
}

enum affix_status affix_match(const struct affix *pattern, size_t text_digits, bool final,
			      struct affix *own, size_t *ret_own, size_t *ret_pattern)
{
	const struct affix_number *next = pattern->numbers;
	const struct affix_number *end = next + pattern->n_numbers;
	enum affix_status status = AFFIX_COMPLETE;
	size_t i = 0;
	size_t at = 0;

	own->n_numbers = 0;
	while (at < pattern->n && status == AFFIX_COMPLETE) {
		bool numeric = next < end && at == next->offset;
		size_t digits = count_digits(own->bytes + i, own->n - i);
		size_t after = numeric && at + next->length == pattern->n ? text_digits : 0;

		if (numeric && next->counts) {
			own->numbers[own->n_numbers] = *next++;
			own->numbers[own->n_numbers++].offset = (uint32_t)i;
			numeric = false;
		}
		if (numeric && digits > after + AFFIX_DIGITS_MAX) {
			status = AFFIX_DIFFERS;
		} else if (i == own->n || (numeric && i + digits == own->n && !final)) {
			status = final ? AFFIX_DIFFERS : AFFIX_MORE;
		} else if (numeric ? digits <= after : own->bytes[i] != pattern->bytes[at]) {
			status = AFFIX_DIFFERS;
		} else if (numeric) {
			i += digits - after;
			at += next++->length;
		} else {
			i++;
			at++;
		}
	}
	*ret_own = i;
	*ret_pattern = at;
	if (status == AFFIX_COMPLETE)
		own->n = (uint32_t)i;
	return status == AFFIX_MORE && own->n == AFFIX_MAX ? AFFIX_DIFFERS : status;
}

size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out)
{
	size_t from = 0;
	size_t n = 0;

	for (uint32_t i = 0; i <= a->n_numbers; i++) {
		const struct affix_number *counter = i < a->n_numbers ? &a->numbers[i] : NULL;
		size_t to = counter ? counter->offset : a->n;
		char digits[24];
		size_t digits_n;
		int width;

		if (counter && !counter->counts)
			continue;
		if (to - from > AFFIX_MAX - n)
			break;
		memcpy(out + n, a->bytes + from, to - from);
		n += to - from;
		if (!counter)
			break;
		width = a->bytes[counter->offset] == '0' ? (int)counter->length : 0;
		digits_n = (size_t)snprintf(digits, sizeof(digits), "%0*" PRIu64, width,
					    counter->first + number - 1);
		if (digits_n > AFFIX_MAX - n)
			break;
		memcpy(out + n, digits, digits_n);
		n += digits_n;
		from = to + counter->length;
	}
	return n;
}

bool shape_in_pieces(const struct shape *s)
{
	return s->framing == SHAPE_STREAM && !shape_is_echo(s) && !affix_counts(&s->prefix) &&
	       s->suffix.n_numbers == 0;
}

/*
 * Learns what stands before or after the texts from the replies to texts 1 and 2. If it is @given,
 * it must be that.
 */
static bool learn_affix(const char *what, const char *given, const uint8_t *first, size_t first_n,
			const uint8_t *second, size_t second_n, struct affix *a,
			struct fault *ret_fault)
{
	const uint8_t *expected = given ? (const uint8_t *)given : first;
	size_t n = given ? strlen(given) : first_n;
	size_t at = bytes_in_common(expected, n, second, second_n);
	struct difference d = {expected, n, at, second + at, second_n - at, at};
	char words[40];

	if (given && at == n && n == second_n && affix_set(a, expected, n))
		return true;
	if (!given && affix_learn(a, first, first_n, second, second_n))
		return true;
	snprintf(words, sizeof(words), "%s %s", what, given ? "differs" : "changes");
	difference_describe(&d, FAULT_DIFFERENT, words, ret_fault);
	if (at == n && at == second_n)
		snprintf(ret_fault->words, sizeof(ret_fault->words),
			 "%s is too long, or has too many numbers", what);
	return false;
}

/*
 * Determines the framing. If texts 3 and 4 were taken as one message, only the line end is between
 * them. Otherwise the server answers lines if its replies end with a line end.
 */
static enum shape_framing learn_framing(const struct shape_evidence *e, bool echo)
{
	if (e->framed || echo)
		return SHAPE_LINES;
	if (e->texts[2] != SIZE_MAX && e->texts[3] == e->texts[2] + e->text_n + 1)
		return SHAPE_STREAM;
	return e->received[e->ends[0] - 1] == '\n' ? SHAPE_LINES : SHAPE_STREAM;
}

/* Returns the number of whole lines or frames that the @n bytes at @p are; 0 if they are not. */
static uint32_t count_frames(const struct frame *f, const uint8_t *p, size_t n)
{
	struct frame_splitter s;
	struct frame_piece piece;
	enum frame_event event;
	uint32_t count = 0;

	frame_splitter_init(&s, f);
	while ((event = frame_next(&s, &p, &n, &piece)) == FRAME_TEXT || event == FRAME_END)
		count += event == FRAME_END;
	return event == FRAME_MORE && !frame_is_begun(&s) ? count : 0;
}

/* Returns whether reply @i, which begins at @begin, is one frame; else, fills @ret_fault. */
static bool is_frame(const struct shape_evidence *e, int i, size_t begin, struct fault *ret_fault)
{
	const struct frame *f = e->frame;
	const uint8_t *reply = e->received + begin;
	size_t n = e->ends[i] - begin;
	uint8_t header[FRAME_HEADER_MAX];
	char quote[QUOTE_MAX];

	frame_header(f, n - f->header_n - f->end_n, header);
	if (!e->framed || (e->texts[i] >= begin + f->header_n &&
			   e->texts[i] + e->text_n + f->end_n <= e->ends[i] &&
			   memcmp(reply, header, f->header_n) == 0 &&
			   memcmp(reply + n - f->end_n, f->end, f->end_n) == 0 &&
			   (f->kind == FRAME_FIXED || count_frames(f, reply, n) == 1)))
		return true;
	bytes_quote(reply, n, quote, sizeof(quote));
	ret_fault->kind = FAULT_DIFFERENT;
	snprintf(ret_fault->words, sizeof(ret_fault->words),
		 "the reply is not one frame as --frame says: received %s", quote);
	return false;
}

bool shape_learn(const struct shape_evidence *e, struct shape *ret_shape, struct fault *ret_fault)
{
	struct shape *s = ret_shape;
	size_t header_n = e->frame->header_n;
	size_t end_n = e->frame->end_n;
	const uint8_t *second = e->received + e->ends[0] + header_n;
	size_t before_n = e->texts[1] - e->ends[0]; /* header and prefix */
	size_t greeting_n = e->texts[0] - (before_n < e->texts[0] ? before_n : e->texts[0]);
	const uint8_t *first = e->received + greeting_n + header_n;
	const uint8_t *suffix[2];
	size_t n[2];

	if (!is_frame(e, 0, greeting_n, ret_fault) || !is_frame(e, 1, e->ends[0], ret_fault))
		return false;
	if (!learn_affix("prefix", e->prefix, first, e->texts[0] - greeting_n - header_n, second,
			 before_n - header_n, &s->prefix, ret_fault))
		return false;
	s->greeting_n = (uint32_t)greeting_n;
	s->greeting_lines = count_frames(e->frame, e->received, greeting_n);
	for (int i = 0; i < 2; i++) {
		suffix[i] = e->received + e->texts[i] + e->text_n;
		n[i] = e->ends[i] - e->texts[i] - e->text_n;
	}
	s->framing = learn_framing(e, s->prefix.n == 0 && n[0] == end_n);
	/*
	 * The line end belongs to the text. It comes before the suffix of a stream, and after the
	 * suffix of a line or frame.
	 */
	for (int i = 0; i < 2; i++) {
		bool lines = s->framing == SHAPE_LINES;

		if (n[i] >= end_n &&
		    memcmp(suffix[i] + (lines ? n[i] - end_n : 0), e->frame->end, end_n) == 0) {
			suffix[i] += lines ? 0 : end_n;
			n[i] -= end_n;
		}
	}
	if (!learn_affix("suffix", e->suffix, suffix[0], n[0], suffix[1], n[1], &s->suffix,
			 ret_fault))
		return false;
	if (s->framing == SHAPE_STREAM || e->frame->kind == FRAME_FIXED)
		affix_fix_end(&s->suffix);
	return true;
}
