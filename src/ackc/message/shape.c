#include "ackc/message/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool affix_set(struct affix *a, const uint8_t *bytes, size_t n)
{
	if (n > AFFIX_MAX)
		return false;
	a->n = (uint32_t)n;
	a->n_counters = 0;
	a->n_holes = 0;
	if (n)
		memcpy(a->bytes, bytes, n);
	return true;
}

/* Parses the digits at @p into *@ret. Returns their number, at most 18. */
static size_t digits(const uint8_t *p, size_t n, uint64_t *ret)
{
	size_t i;

	*ret = 0;
	for (i = 0; i < n && i < 18 && p[i] >= '0' && p[i] <= '9'; i++)
		*ret = *ret * 10 + (p[i] - '0');
	return i;
}

static bool add_counter(struct affix *a, size_t offset, size_t length, uint64_t first)
{
	if (a->n_counters == AFFIX_COUNTERS_MAX)
		return false;
	a->counters[a->n_counters].offset = (uint32_t)offset;
	a->counters[a->n_counters].length = (uint32_t)length;
	a->counters[a->n_counters].first = first;
	a->n_counters++;
	return true;
}

bool affix_learn(struct affix *a, uint64_t number, const uint8_t *first, size_t first_n,
		 const uint8_t *second, size_t second_n)
{
	size_t i = 0;
	size_t j = 0;

	if (!affix_set(a, first, first_n))
		return false;
	while (i < first_n && j < second_n) {
		uint64_t was;
		uint64_t is;
		size_t was_n = digits(first + i, first_n - i, &was);
		size_t is_n = digits(second + j, second_n - j, &is);

		if (was_n && is_n && is == was + 1 && was + 1 >= number) {
			if (!add_counter(a, i, was_n, was + 1 - number))
				return false;
			i += was_n;
			j += is_n;
		} else if (was_n != is_n || was != is || (!was_n && first[i] != second[j])) {
			return false;
		} else {
			i += was_n ? was_n : 1;
			j += is_n ? is_n : 1;
		}
	}
	return i == first_n && j == second_n;
}

/* Returns the index of the counter at @offset, or n_counters. */
static uint32_t counter_at(const struct affix *a, size_t offset)
{
	uint32_t i = 0;

	while (i < a->n_counters && a->counters[i].offset != offset)
		i++;
	return i;
}

/* Returns the length of the hole at @offset, or 0. */
static uint32_t hole_at(const struct affix *a, size_t offset)
{
	for (uint32_t i = 0; i < a->n_holes; i++) {
		if (a->holes[i].offset == offset)
			return a->holes[i].length;
	}
	return 0;
}

static size_t count_digits(const struct affix *a, size_t from)
{
	size_t n = 0;

	while (from + n < a->n && a->bytes[from + n] >= '0' && a->bytes[from + n] <= '9')
		n++;
	return n;
}

bool affix_has_numbers(const struct affix *a)
{
	for (size_t i = 0; i < a->n; i++) {
		uint32_t counter = counter_at(a, i);

		if (counter < a->n_counters)
			i += a->counters[counter].length - 1;
		else if (count_digits(a, i))
			return true;
	}
	return false;
}

static bool add_hole(struct affix *a, size_t offset, size_t length)
{
	if (a->n_holes == AFFIX_HOLES_MAX || length > AFFIX_HOLE_DIGITS_MAX)
		return false;
	a->holes[a->n_holes].offset = (uint32_t)offset;
	a->holes[a->n_holes].length = (uint32_t)length;
	a->n_holes++;
	return true;
}

bool affix_compare(struct affix *a, const struct affix *other)
{
	size_t i = 0;
	size_t j = 0;

	while (i < a->n && j < other->n) {
		size_t digits_n = count_digits(a, i);
		size_t other_n = count_digits(other, j);
		bool same = digits_n == other_n &&
			    memcmp(a->bytes + i, other->bytes + j, digits_n ? digits_n : 1) == 0;
		/* a counter must be equal on each connection, or it is none */
		bool counts = counter_at(a, i) < a->n_counters ||
			      counter_at(other, j) < other->n_counters;

		if (!same && (counts || !digits_n || !other_n || !add_hole(a, i, digits_n)))
			return false;
		i += digits_n ? digits_n : 1;
		j += other_n ? other_n : 1;
	}
	return i == a->n && j == other->n;
}

bool affix_ends_with_hole(const struct affix *a)
{
	return a->n_holes &&
	       a->holes[a->n_holes - 1].offset + a->holes[a->n_holes - 1].length == a->n;
}

void affix_read_begin(struct affix_reader *r, const struct affix *pattern, struct affix *own,
		      size_t text_digits)
{
	*r = (struct affix_reader){.pattern = pattern, .own = own};
	if (affix_ends_with_hole(pattern))
		r->text_digits = text_digits < AFFIX_MAX ? (uint32_t)text_digits : AFFIX_MAX;
	affix_set(own, NULL, 0);
	own->n_holes = pattern->n_holes;
}

/* Returns the number of digits of the text that follow the hole of @length being read. */
static uint32_t digits_behind(const struct affix_reader *r, uint32_t length)
{
	return r->at + length == r->pattern->n ? r->text_digits : 0;
}

size_t affix_read(struct affix_reader *r, const uint8_t *p, size_t n)
{
	const struct affix *pattern = r->pattern;
	struct affix *own = r->own;
	size_t used = 0;

	while (used < n && !affix_read_over(r) && own->n < AFFIX_MAX) {
		uint32_t hole = hole_at(pattern, r->at);
		uint32_t counter = counter_at(pattern, r->at);

		if (hole && p[used] >= '0' && p[used] <= '9' &&
		    r->digits < AFFIX_HOLE_DIGITS_MAX + digits_behind(r, hole)) {
			r->digits++;
		} else if (hole && r->digits > digits_behind(r, hole)) {
			r->at += hole;
			r->digits = 0;
			continue;
		} else if (hole || p[used] != pattern->bytes[r->at]) {
			break;
		} else {
			if (counter < pattern->n_counters) {
				own->counters[own->n_counters] = pattern->counters[counter];
				own->counters[own->n_counters++].offset = own->n;
			}
			r->at++;
		}
		own->bytes[own->n++] = p[used++];
	}
	return used;
}

size_t affix_render(const struct affix *a, uint64_t number, uint8_t *out)
{
	size_t from = 0;
	size_t n = 0;

	for (uint32_t i = 0; i <= a->n_counters; i++) {
		size_t to = i < a->n_counters ? a->counters[i].offset : a->n;
		char text[24];
		int text_n;

		if (to - from > AFFIX_MAX - n)
			break;
		memcpy(out + n, a->bytes + from, to - from);
		n += to - from;
		if (i == a->n_counters)
			break;
		text_n =
			snprintf(text, sizeof(text), "%" PRIu64, a->counters[i].first + number - 1);
		if ((size_t)text_n > AFFIX_MAX - n)
			break;
		memcpy(out + n, text, (size_t)text_n);
		n += (size_t)text_n;
		from = to + a->counters[i].length;
	}
	return n;
}

bool greeting_over(const struct greeting *g, const struct shape *s)
{
	return s->greeting_lines ? g->lines == s->greeting_lines : g->n == s->greeting_n;
}

size_t greeting_skip(struct greeting *g, const struct shape *s, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && !greeting_over(g, s)) {
		g->n++;
		if (p[i++] == '\n')
			g->lines++;
	}
	return i;
}
