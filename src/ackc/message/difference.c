#include "ackc/message/difference.h"

#include "ackc/message/nak.h"

#include <stdio.h>
#include <string.h>

/* More equal bytes than this prove nothing more. */
#define ENOUGH 1000

static const char *const names[FAULT_KINDS] = {
	[FAULT_NONE] = "none",
	[FAULT_FLIPPED] = "bit flipped",
	[FAULT_LOST] = "bytes lost",
	[FAULT_DUPLICATED] = "bytes duplicated",
	[FAULT_SWAPPED] = "another message's reply",
	[FAULT_UNEXPECTED] = "unexpected bytes",
	[FAULT_NAK] = "NAK",
	[FAULT_DIFFERENT] = "difference",
};

const char *fault_name(enum fault_kind kind)
{
	return names[kind];
}

size_t bytes_in_common(const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
	size_t i = 0;

	while (i < n && i < m && a[i] == b[i])
		i++;
	return i;
}

/*
 * Returns how much speaks for it that the received bytes from @skip on are the expected ones from
 * @from on: the more of them are equal, the more; and a little more if both end there. Returns 0 if
 * it may be a coincidence.
 */
static size_t evidence(const struct difference *d, size_t from, size_t skip)
{
	size_t n = d->expected_n - from;
	size_t m = d->received_n - skip;
	size_t same = bytes_in_common(d->expected + from, n, d->received + skip, m);
	bool all = same == n && same == m;

	if (!all && same < DIFFERENCE_PROOF)
		return 0;
	return 2 * (same < ENOUGH ? same : ENOUGH) + all;
}

enum fault_kind difference_kind(const struct difference *d)
{
	size_t left = d->expected_n - d->at;
	enum fault_kind kind = left > 0 ? FAULT_DIFFERENT : FAULT_UNEXPECTED;
	size_t best = 0;

	if (left > 0 && __builtin_popcount((unsigned)(d->expected[d->at] ^ d->received[0])) == 1) {
		best = evidence(d, d->at + 1, 1);
		if (best > 0)
			kind = FAULT_FLIPPED;
	}
	/* The shortest gap or repetition first: text may be periodic. */
	for (size_t n = 1; n < left || n <= d->at; n++) {
		size_t lost = n < left ? evidence(d, d->at + n, 0) : 0;
		size_t duplicated = n <= d->at ? evidence(d, d->at - n, 0) : 0;

		if (lost > best || duplicated > best)
			kind = lost >= duplicated ? FAULT_LOST : FAULT_DUPLICATED;
		if (lost > best)
			best = lost;
		if (duplicated > best)
			best = duplicated;
	}
	return kind;
}

void bytes_quote(const uint8_t *p, size_t n, char *out, size_t room)
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

void difference_describe(const struct difference *d, enum fault_kind kind, const char *what,
			 struct fault *ret)
{
	char expected[QUOTE_MAX] = "nothing";
	char received[QUOTE_MAX] = "nothing";

	if (d->at < d->expected_n)
		bytes_quote(d->expected + d->at, d->expected_n - d->at, expected, QUOTE_MAX);
	if (d->received_n)
		bytes_quote(d->received, d->received_n, received, QUOTE_MAX);
	ret->kind = kind;
	snprintf(ret->words, sizeof(ret->words), "%s at byte %zu: expected %s, received %s", what,
		 d->offset, expected, received);
}

bool fault_find_nak(const uint8_t *p, size_t n, struct fault *ret)
{
	size_t skip = n > 0 && p[0] == '\n';
	size_t length = nak_length(p + skip, n - skip);

	if (length == 0)
		return false;
	ret->kind = FAULT_NAK;
	memcpy(ret->words, p + skip, length);
	ret->words[length] = '\0';
	return true;
}
