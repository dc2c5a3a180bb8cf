#include "ackc/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool affix_set(struct affix *a, const uint8_t *bytes, size_t n)
{
	if (n > AFFIX_MAX)
		return false;
	a->n = (uint32_t)n;
	a->n_counters = 0;
	if (n)
		memcpy(a->bytes, bytes, n);
	return true;
}

/* Reads the digits at @p into *@ret; returns how many there are, at most 18. */
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
