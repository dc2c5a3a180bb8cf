#include "ackc/message/scout_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

size_t scout_find(const struct scout *s, int text)
{
	const uint8_t *p = memmem(s->received, s->n, s->texts[text], s->text_n);

	return p ? (size_t)(p - s->received) : SIZE_MAX;
}

bool scout_answered(const struct scout *s)
{
	size_t at = scout_find(s, s->last);

	return at != SIZE_MAX && scout_find(s, s->first) != SIZE_MAX &&
	       memchr(s->received + at + s->text_n, '\n', s->n - at - s->text_n);
}

__attribute__((format(printf, 2, 3))) static void say(struct scout_result *ret, const char *format,
						      ...)
{
	va_list args;

	ret->fault.kind = FAULT_OTHER;
	va_start(args, format);
	vsnprintf(ret->fault.words, sizeof(ret->fault.words), format, args);
	va_end(args);
}

static bool as_given(struct scout_result *ret, const char *what, const char *given,
		     const struct affix *a)
{
	uint8_t found[AFFIX_MAX];
	size_t n = affix_render(a, 1, found);
	char found_words[QUOTE_MAX];
	char given_words[QUOTE_MAX];

	if (!given || (strlen(given) == n && memcmp(given, found, n) == 0))
		return true;
	explain_quote(found, n, found_words, sizeof(found_words));
	explain_quote((const uint8_t *)given, strlen(given), given_words, sizeof(given_words));
	say(ret, "its %s is %s, not %s", what, found_words, given_words);
	return false;
}

/*
 * Determines the framing from the bytes between texts 3 and 4, which were sent in one write. If
 * they were taken as one message, only the line end is between them.
 */
static enum shape_framing framing(const struct scout *s, const uint8_t *behind, size_t behind_n)
{
	size_t third = scout_find(s, 2);
	size_t fourth = scout_find(s, 3);

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

/* Describes where the bytes around two texts differ: "from @what to @what". */
static void say_changes(struct scout_result *ret, const char *where, const char *what,
			const uint8_t *first, size_t first_n, const uint8_t *second,
			size_t second_n)
{
	size_t at = explain_common(first, first_n, second, second_n);
	char first_words[QUOTE_MAX];
	char second_words[QUOTE_MAX];

	explain_quote(first + at, first_n - at, first_words, sizeof(first_words));
	explain_quote(second + at, second_n - at, second_words, sizeof(second_words));
	if (at == first_n && at == second_n)
		say(ret, "too much stands %s a text to learn it", where);
	else
		say(ret,
		    "what stands %s a text differs from %s to %s, from byte %zu on: %s, "
		    "then %s",
		    where, what, what, at, first_words, second_words);
}

static bool learn_before(const struct scout *s, size_t one, size_t two, struct scout_result *ret)
{
	struct shape *shape = &ret->shape;
	size_t n = two >= s->marks[0] ? two - s->marks[0] : 0;
	size_t first_n = n < one ? n : one;

	if (two < s->marks[0] || n > one ||
	    !affix_learn(&shape->prefix, 1, s->received + one - n, n, s->received + s->marks[0],
			 n)) {
		say_changes(ret, "before", "reply", s->received + one - first_n, first_n,
			    s->received + s->marks[0], n);
		return false;
	}
	shape->greeting_n = (uint32_t)(one - n);
	if (shape->greeting_n && s->received[shape->greeting_n - 1] == '\n')
		shape->greeting_lines = count_lines(s->received, shape->greeting_n);
	return true;
}

static bool learn_behind(const struct scout *s, size_t one, size_t two, struct scout_result *ret)
{
	struct shape *shape = &ret->shape;
	const uint8_t *behind[2] = {s->received + one + s->text_n, s->received + two + s->text_n};
	size_t n[2] = {s->marks[0] - one - s->text_n, s->marks[1] - two - s->text_n};
	size_t end;

	shape->framing = SHAPE_LINES;
	if (shape->prefix.n || n[0] != 1)
		shape->framing = framing(s, behind[0], n[0]);
	/*
	 * The line end belongs to the text. It comes before the suffix of a stream, and after the
	 * suffix of a line.
	 */
	end = shape->framing == SHAPE_LINES ? n[0] - 1 : 0;
	if (n[0] < 1 || n[1] < 1 || behind[0][end] != '\n' ||
	    !affix_learn(&shape->suffix, 1, behind[0] + (end == 0 && n[0] > 1), n[0] - 1,
			 behind[1] + (end == 0 && n[1] > 1), n[1] - 1)) {
		say_changes(ret, "after", "reply", behind[0], n[0], behind[1], n[1]);
		return false;
	}
	return true;
}

/* Splits the replies: greeting, prefix, 1, behind, mark, prefix, 2, behind, mark... */
void scout_learn(const struct scout *s, struct scout_result *ret)
{
	size_t one = scout_find(s, 0);
	size_t two = scout_find(s, 1);

	if (learn_before(s, one, two, ret) && learn_behind(s, one, two, ret) &&
	    as_given(ret, "prefix", s->task.prefix, &ret->shape.prefix))
		as_given(ret, "suffix", s->task.suffix, &ret->shape.suffix);
}

bool scout_wants_second(const struct scout *s, const struct shape *shape)
{
	return (!s->task.prefix && affix_has_numbers(&shape->prefix)) ||
	       (!s->task.suffix && affix_has_numbers(&shape->suffix));
}

static bool compare(struct scout_result *ret, const char *where, struct affix *a,
		    const struct affix *first)
{
	uint8_t texts[2][AFFIX_MAX];
	size_t n[2];

	if (affix_compare(a, first))
		return true;
	n[0] = affix_render(first, 1, texts[0]);
	n[1] = affix_render(a, 1, texts[1]);
	say_changes(ret, where, "connection", texts[0], n[0], texts[1], n[1]);
	return false;
}

void scout_compare(const struct scout *s, struct scout_result *ret)
{
	struct shape *shape = &ret->shape;

	if (compare(ret, "before", &shape->prefix, &s->first_shape.prefix) &&
	    compare(ret, "after", &shape->suffix, &s->first_shape.suffix) &&
	    shape->framing == SHAPE_STREAM && affix_ends_with_hole(&shape->suffix))
		say(ret, "a reply ends with a number that differs from connection to connection, "
			 "which can only be checked where a line end follows");
}
