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
		bool counts = was_n && is_n && is_n < AFFIX_DIGITS_MAX &&
			      number(second + j, is_n) == was + 1;

		if (!same && !counts)
			return false;
		if (was_n && was_n <= AFFIX_DIGITS_MAX) {
			if (a->n_numbers == AFFIX_NUMBERS_MAX)
				return false;
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

bool affix_is_fixed(const struct affix *a)
{
	for (uint32_t i = 0; i < a->n_numbers; i++) {
		if (!a->numbers[i].counts)
			return false;
	}
	return true;
}

bool affix_counts(const struct affix *a)
{
	for (uint32_t i = 0; i < a->n_numbers; i++) {
		if (a->numbers[i].counts)
			return true;
	}
	return false;
}

enum affix_status affix_match(const struct affix *pattern, size_t text_digits, struct affix *own,
			      size_t *ret_own, size_t *ret_pattern)
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
		} else if (i == own->n || (numeric && i + digits == own->n)) {
			status = AFFIX_MORE;
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

		if (counter && !counter->counts)
			continue;
		if (to - from > AFFIX_MAX - n)
			break;
		memcpy(out + n, a->bytes + from, to - from);
		n += to - from;
		if (!counter)
			break;
		digits_n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64,
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
