#include "ackc/message/verify_parts.h"

#include <stdio.h>
#include <string.h>

/* The number of bytes of a wrong reply that are examined to explain it. */
#define LOOK_MAX 4096
/* The number of neighbours of a message that are tried, to identify a swapped reply. */
#define NEIGHBOURS 16

/* Copies up to @room bytes of the reply, from byte @from on, for an explanation. */
static size_t reply_copy(const struct reply *r, size_t from, uint8_t *out, size_t room)
{
	size_t n = 0;

	for (int i = 0; i < SPANS; i++) {
		const struct span *s = &r->spans[i];
		size_t skip = from < s->n ? from : s->n;
		size_t part = s->n - skip < room - n ? s->n - skip : room - n;

		if (part)
			memcpy(out + n, s->p + skip, part);
		n += part;
		from -= skip;
	}
	return n;
}

static bool is_neighbour(const struct verifier *v, const uint8_t *got, size_t m, struct fault *ret)
{
	uint64_t low = v->index - v->first > NEIGHBOURS ? v->index - NEIGHBOURS : v->first;
	uint8_t expected[LOOK_MAX];
	struct reply r;

	for (uint64_t i = low; i < v->index + NEIGHBOURS; i++) {
		size_t n;

		if (i == v->index)
			continue;
		reply_make(v, i, &r);
		n = reply_copy(&r, 0, expected, sizeof(expected));
		if (n > m || memcmp(expected, got, n) != 0)
			continue;
		ret->kind = FAULT_SWAPPED;
		snprintf(ret->words, sizeof(ret->words),
			 "the reply to message %llu came where that to message %llu was due",
			 (unsigned long long)i + 1, (unsigned long long)v->index + 1);
		return true;
	}
	return false;
}

bool fault_explain(const struct verifier *v, size_t matched, const uint8_t *data, size_t n,
		   struct fault *ret)
{
	uint8_t expected[LOOK_MAX];
	uint8_t got[LOOK_MAX];
	/* in a long reply, start a little before the wrong byte */
	size_t from = matched > LOOK_MAX / 2 ? matched - LOOK_MAX / 2 : 0;
	struct reply r;
	size_t expected_n;
	size_t more;

	if (explain_nak(data, n, ret))
		return false;
	reply_make(v, v->index, &r);
	expected_n = reply_copy(&r, from, expected, sizeof(expected));
	matched -= from;
	more = n < sizeof(got) - matched ? n : sizeof(got) - matched;
	memcpy(got, expected, matched);
	memcpy(got + matched, data, more);
	if (from > 0 || !is_neighbour(v, got, matched + more, ret))
		explain_difference(from, expected, expected_n, got, matched + more, ret);
	return false;
}

bool fault_unasked(const struct verifier *v, const uint8_t *data, size_t n, struct fault *ret)
{
	struct reply r;
	uint8_t last = 0;

	if (explain_nak(data, n, ret))
		return false;
	ret->kind = FAULT_EXTRA;
	snprintf(ret->words, sizeof(ret->words), "bytes that answer nothing, from 0x%02x on",
		 data[0]);
	if (n > 1 || v->index == v->first)
		return false;
	reply_make(v, v->index - 1, &r);
	for (int i = 0; i < SPANS; i++)
		last = r.spans[i].n ? r.spans[i].p[r.spans[i].n - 1] : last;
	if (data[0] == last) {
		ret->kind = FAULT_DOUBLED;
		snprintf(ret->words, sizeof(ret->words), "byte %zu (0x%02x) came twice", r.n - 1,
			 last);
	}
	return false;
}
