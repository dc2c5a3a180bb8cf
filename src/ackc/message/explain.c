#include "ackc/message/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const names[FAULT_KINDS] = {
	[FAULT_NONE] = "none",
	[FAULT_BIT] = "bit changed",
	[FAULT_CHANGED] = "byte changed",
	[FAULT_DROPPED] = "byte dropped",
	[FAULT_DOUBLED] = "byte doubled",
	[FAULT_ADDED] = "byte added",
	[FAULT_SWAPPED] = "replies swapped",
	[FAULT_EXTRA] = "unasked bytes",
	[FAULT_NAK] = "NAK",
	[FAULT_OTHER] = "other text",
};

const char *fault_name(enum fault_kind kind)
{
	return names[kind];
}

__attribute__((format(printf, 3, 4))) static void say(struct fault *ret, enum fault_kind kind,
						      const char *format, ...)
{
	va_list args;

	ret->kind = kind;
	va_start(args, format);
	vsnprintf(ret->words, sizeof(ret->words), format, args);
	va_end(args);
}

size_t explain_common(const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
	size_t i = 0;

	while (i < n && i < m && a[i] == b[i])
		i++;
	return i;
}

/* Returns whether @same equal bytes are all that remain, or enough to be conclusive. */
static bool enough(size_t same, size_t n, size_t m)
{
	return same == n || (same == m && same >= EXPLAIN_PROOF);
}

/*
 * Tries whether one changed, added or dropped byte at @at explains the difference. Chooses the case
 * that makes most of the rest match. Reports the position as @from + @at.
 */
static bool single_byte(size_t from, const uint8_t *expected, size_t n, const uint8_t *got,
			size_t m, size_t at, struct fault *ret)
{
	const uint8_t *e = expected + at;
	const uint8_t *g = got + at;
	size_t e_n = n - at;
	size_t g_n = m - at;

	if (at == n || at == m)
		return false;

	size_t changed = explain_common(e + 1, e_n - 1, g + 1, g_n - 1);
	size_t added = explain_common(e, e_n, g + 1, g_n - 1);
	size_t dropped = explain_common(e + 1, e_n - 1, g, g_n);

	if (dropped > changed && dropped > added && enough(dropped, e_n - 1, g_n)) {
		say(ret, FAULT_DROPPED, "byte %zu (0x%02x) is missing", from + at, *e);
	} else if (added > changed && enough(added, e_n, g_n - 1)) {
		if (at > 0 && *g == g[-1])
			say(ret, FAULT_DOUBLED, "byte %zu (0x%02x) came twice", from + at - 1, *g);
		else
			say(ret, FAULT_ADDED, "byte %zu (0x%02x) was put in", from + at, *g);
	} else if (enough(changed, e_n - 1, g_n - 1)) {
		if (__builtin_popcount((unsigned)(*e ^ *g)) == 1)
			say(ret, FAULT_BIT, "one bit changed: byte %zu is 0x%02x, not 0x%02x",
			    from + at, *g, *e);
		else
			say(ret, FAULT_CHANGED, "byte %zu is 0x%02x, not 0x%02x", from + at, *g,
			    *e);
	} else {
		return false;
	}
	return true;
}

void explain_difference(size_t from, const uint8_t *expected, size_t n, const uint8_t *got,
			size_t m, struct fault *ret)
{
	size_t at = explain_common(expected, n, got, m);

	if (at == n && m > n) {
		bool doubled = n > 0 && got[n] == got[n - 1];

		if (doubled && m == n + 1)
			say(ret, FAULT_DOUBLED, "byte %zu (0x%02x) came twice", from + n - 1,
			    got[n]);
		else
			say(ret, FAULT_EXTRA, "bytes that answer nothing, from 0x%02x on", got[n]);
		return;
	}
	if (single_byte(from, expected, n, got, m, at, ret))
		return;
	if (at >= m)
		say(ret, FAULT_OTHER, "only %zu of %zu bytes", from + m, from + n);
	else
		say(ret, FAULT_OTHER, "other text from byte %zu on: 0x%02x, not 0x%02x", from + at,
		    got[at], expected[at]);
}

bool explain_nak(const uint8_t *got, size_t m, struct fault *ret)
{
	size_t i = 0;
	size_t digits;

	if (i < m && got[i] == '\n')
		i++;
	if (m - i < 6 || memcmp(got + i, "NAK ", 4) != 0)
		return false;
	for (digits = 0; i + 4 + digits < m; digits++) {
		uint8_t c = got[i + 4 + digits];

		if (c < '0' || c > '9')
			break;
	}
	if (digits == 0 || i + 4 + digits >= m || got[i + 4 + digits] != ' ')
		return false;
	size_t end = i;
	while (end < m && end - i < 100 && got[end] >= ' ' && got[end] < 0x7F)
		end++;
	say(ret, FAULT_NAK, "%.*s", (int)(end - i), (const char *)got + i);
	return true;
}

static bool explain_letters(const uint8_t *expected, size_t n, const uint8_t *got, size_t m,
			    struct fault *ret)
{
	size_t at = explain_common(expected, n, got, m);

	if (m < n || at == n || strncasecmp((const char *)expected, (const char *)got, n) != 0)
		return false;
	say(ret, FAULT_OTHER, "capitals and small letters changed: byte %zu is 0x%02x, not 0x%02x",
	    at, got[at], expected[at]);
	return true;
}

static bool explain_beginning(const uint8_t *expected, size_t n, const uint8_t *got, size_t m,
			      struct fault *ret)
{
	size_t at = explain_common(expected, n, got, m);

	if (at < 2 * EXPLAIN_PROOF || at == n || at == m)
		return false;
	explain_difference(0, expected, n, got, m, ret);
	return true;
}

bool explain_search(const uint8_t *expected, size_t n, const uint8_t *got, size_t m,
		    struct fault *ret)
{
	for (size_t start = 0; start < m && m - start + 1 >= n; start++) {
		size_t left = m - start < n + 1 ? m - start : n + 1;
		size_t at = explain_common(expected, n, got + start, left);

		if (n >= 2 * EXPLAIN_PROOF &&
		    single_byte(0, expected, n, got + start, left, at, ret))
			return true;
	}
	for (size_t start = 0; start < m; start++) {
		if (explain_letters(expected, n, got + start, m - start, ret) ||
		    explain_beginning(expected, n, got + start, m - start, ret))
			return true;
	}
	return false;
}

void explain_quote(const uint8_t *p, size_t n, char *out, size_t room)
{
	size_t used = 0;
	bool all = true;

	out[used++] = '\'';
	for (size_t i = 0; all && i < n; i++) {
		bool plain = p[i] >= ' ' && p[i] < 0x7F;

		all = used + 4 + sizeof("'...") <= room;
		if (all)
			used += (size_t)snprintf(out + used, room - used, plain ? "%c" : "\\x%02x",
						 p[i]);
	}
	snprintf(out + used, room - used, all ? "'" : "'...");
}
