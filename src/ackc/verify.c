#include "ackc/verify.h"

#include <stdio.h>
#include <string.h>

/* So much of a faulty reply is looked at to say what is wrong with it. */
#define LOOK_MAX 4096
/* So many neighbours of a message are tried to find whose reply came in its place. */
#define NEIGHBOURS 16

void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   uint32_t connection, uint64_t index)
{
	*v = (struct verifier){
		.source = source,
		.shape = shape,
		.connection = connection,
		.first = index,
		.index = index,
		/* A stream opens with a prefix: as if a suffix had come already. */
		.inset = shape->suffix.n,
		.in_inset = shape->prefix.n > 0,
	};
}

struct span {
	const uint8_t *p;
	size_t n;
};

#define SPANS 5

/* A reply in one piece, and what its spans point into. */
struct reply {
	struct message message;
	uint8_t prefix[AFFIX_MAX];
	uint8_t suffix[AFFIX_MAX];
	struct span spans[SPANS];
	size_t n;
};

static struct span affix_span(const struct affix *a, uint64_t number, uint8_t *room)
{
	if (a->n_counters == 0)
		return (struct span){a->bytes, a->n};
	return (struct span){room, affix_render(a, number, room)};
}

static void reply_make(const struct verifier *v, uint64_t index, struct reply *r)
{
	uint64_t number = index - v->first + 1;
	int suffix_at = v->shape->framing == SHAPE_LINES ? 3 : 4;

	source_message(v->source, v->connection, index, &r->message);
	r->spans[0] = affix_span(&v->shape->prefix, number, r->prefix);
	r->spans[1] = (struct span){r->message.head, r->message.head_n};
	r->spans[2] = (struct span){r->message.body, r->message.body_n};
	r->spans[suffix_at] = affix_span(&v->shape->suffix, number, r->suffix);
	r->spans[7 - suffix_at] = (struct span){r->message.terminator, r->message.terminator_n};
	r->n = 0;
	for (int i = 0; i < SPANS; i++)
		r->n += r->spans[i].n;
}

/* Copies up to @room bytes of the reply, for an explanation. */
static size_t reply_copy(const struct reply *r, uint8_t *out, size_t room)
{
	size_t n = 0;

	for (int i = 0; i < SPANS; i++) {
		size_t part = r->spans[i].n < room - n ? r->spans[i].n : room - n;

		if (part)
			memcpy(out + n, r->spans[i].p, part);
		n += part;
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
		n = reply_copy(&r, expected, sizeof(expected));
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

/*
 * Explains a wrong byte: @matched bytes of the reply were right (they may have come in earlier
 * reads), and the @n at @data, the first of which is wrong, follow them.
 */
static void explain(const struct verifier *v, size_t matched, const uint8_t *data, size_t n,
		    struct fault *ret)
{
	uint8_t expected[LOOK_MAX];
	uint8_t got[LOOK_MAX];
	struct reply r;
	size_t expected_n;
	size_t more;

	if (explain_nak(data, n, ret))
		return;
	reply_make(v, v->index, &r);
	expected_n = reply_copy(&r, expected, sizeof(expected));
	/* Far into a long reply: from a little before the wrong byte. */
	if (matched > expected_n)
		matched = expected_n;
	more = n < sizeof(got) - matched ? n : sizeof(got) - matched;
	memcpy(got, expected, matched);
	memcpy(got + matched, data, more);
	if (is_neighbour(v, got, matched + more, ret))
		return;
	explain_difference(expected, expected_n, got, matched + more, ret);
}

/* Explains bytes that came when every message had its reply. Returns false. */
static bool unasked(const struct verifier *v, const uint8_t *data, size_t n, struct fault *ret)
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

/* Returns how many bytes at @data are those at @want, at most @n. */
static size_t match_span(const uint8_t *want, const uint8_t *data, size_t n)
{
	size_t i = 0;

	if (memcmp(want, data, n) == 0)
		return n;
	while (want[i] == data[i])
		i++;
	return i;
}

/* Matches one reply from v->offset on; returns the bytes used, fewer than @n at its end or a fault.
 */
static size_t match_reply(struct verifier *v, const struct reply *r, const uint8_t *data, size_t n)
{
	size_t start = 0; /* of the span, in the reply */
	size_t used = 0;

	for (int i = 0; i < SPANS && used < n; i++) {
		const struct span *s = &r->spans[i];
		size_t from = v->offset - start;
		size_t part;

		start += s->n;
		if (s->n == 0 || v->offset >= start)
			continue;
		part = s->n - from < n - used ? s->n - from : n - used;
		part = match_span(s->p + from, data + used, part);
		used += part;
		v->offset += part;
		if (v->offset < start)
			break;
	}
	return used;
}

static bool terminator_matches(const struct message *m, const uint8_t *p)
{
	for (uint32_t i = 0; i < m->terminator_n; i++) {
		if (p[i] != m->terminator[i])
			return false;
	}
	return true;
}

/*
 * The common case in half the instructions: a reply that came whole and is right. Returns its
 * length; 0 when it is to be looked at more closely.
 */
static size_t match_at_once(const struct verifier *v, const uint8_t *data, size_t n)
{
	const struct shape *s = v->shape;
	size_t prefix_n = s->prefix.n;
	size_t suffix_n = s->suffix.n;
	struct message m;
	const uint8_t *p = data + prefix_n;
	const uint8_t *terminator;
	const uint8_t *suffix;
	size_t length;

	if (v->offset || s->prefix.n_counters || s->suffix.n_counters)
		return 0;
	source_message(v->source, v->connection, v->index, &m);
	length = prefix_n + message_size(&m) + suffix_n;
	if (n < length)
		return 0;
	terminator = p + m.head_n + m.body_n + (s->framing == SHAPE_LINES ? suffix_n : 0);
	suffix = p + m.head_n + m.body_n + (s->framing == SHAPE_LINES ? 0 : m.terminator_n);
	if ((prefix_n && memcmp(data, s->prefix.bytes, prefix_n) != 0) ||
	    !message_head_matches(&m, p) || memcmp(p + m.head_n, m.body, m.body_n) != 0 ||
	    !terminator_matches(&m, terminator) ||
	    (suffix_n && memcmp(suffix, s->suffix.bytes, suffix_n) != 0))
		return 0;
	return length;
}

static bool feed_whole(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		       uint64_t *ret_completed, struct fault *ret_fault)
{
	struct reply r;

	while (n > 0) {
		size_t used;

		if (v->index == sent)
			return unasked(v, data, n, ret_fault);
		used = match_at_once(v, data, n);
		if (used > 0) {
			data += used;
			n -= used;
			v->index++;
			++*ret_completed;
			continue;
		}
		reply_make(v, v->index, &r);
		used = match_reply(v, &r, data, n);
		data += used;
		n -= used;
		if (v->offset == r.n) {
			v->offset = 0;
			v->index++;
			++*ret_completed;
		} else if (n > 0) {
			explain(v, v->offset, data, n, ret_fault);
			return false;
		}
	}
	return true;
}

/* Byte @i of what stands between two pieces of a stream. */
static int inset_byte(const struct shape *s, size_t i)
{
	if (i < s->suffix.n)
		return s->suffix.bytes[i];
	i -= s->suffix.n;
	return i < s->prefix.n ? s->prefix.bytes[i] : -1;
}

static int text_byte(const struct message *m, size_t i)
{
	if (i < m->head_n)
		return m->head[i];
	i -= m->head_n;
	if (i < m->body_n)
		return m->body[i];
	return m->terminator[i - m->body_n];
}

/* Matches text from v->offset on; returns the bytes used. */
static size_t match_text(struct verifier *v, const struct message *m, const uint8_t *data, size_t n)
{
	const struct span spans[] = {
		{m->head, m->head_n}, {m->body, m->body_n}, {m->terminator, m->terminator_n}};
	size_t start = 0;
	size_t used = 0;

	for (int i = 0; i < 3 && used < n; i++) {
		size_t from = v->offset - start;
		size_t part;

		start += spans[i].n;
		if (v->offset >= start)
			continue;
		part = spans[i].n - from < n - used ? spans[i].n - from : n - used;
		part = match_span(spans[i].p + from, data + used, part);
		used += part;
		v->offset += part;
		if (v->offset < start)
			break;
	}
	return used;
}

/*
 * At a byte that is not the text's: an inset has begun, here or up to a few bytes ago, if these
 * happen to be the text's too. Gives those back to the inset.
 */
static bool enter_inset(struct verifier *v, const struct message *m, uint8_t byte)
{
	size_t inset_n = (size_t)v->shape->suffix.n + v->shape->prefix.n;

	for (size_t back = 0; back < inset_n && back <= v->offset; back++) {
		size_t i = 0;

		if (inset_byte(v->shape, back) != byte)
			continue;
		while (i < back && text_byte(m, v->offset - back + i) == inset_byte(v->shape, i))
			i++;
		if (i < back)
			continue;
		v->offset -= back;
		v->inset = back;
		v->in_inset = true;
		return true;
	}
	return false;
}

/* How much of the prefix of the next piece has come. */
static size_t inset_matched(const struct verifier *v)
{
	return v->inset < v->shape->suffix.n ? 0 : v->inset - v->shape->suffix.n;
}

static bool feed_stream(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
			uint64_t *ret_completed, struct fault *ret_fault)
{
	size_t inset_n = (size_t)v->shape->suffix.n + v->shape->prefix.n;
	struct message m;

	while (n > 0) {
		size_t used;

		source_message(v->source, v->connection, v->index, &m);
		if (v->in_inset) {
			/* With nothing under way, only the last piece's suffix may come. */
			if (v->index == sent && v->inset >= v->shape->suffix.n)
				return unasked(v, data, n, ret_fault);
			if (inset_byte(v->shape, v->inset) != *data) {
				explain(v, inset_matched(v), data, n, ret_fault);
				return false;
			}
			data++;
			n--;
			v->in_inset = ++v->inset < inset_n;
			continue;
		}
		used = v->index == sent ? 0 : match_text(v, &m, data, n);
		if (used > 0)
			v->inset = 0;
		data += used;
		n -= used;
		if (v->index != sent && v->offset == message_size(&m)) {
			v->offset = 0;
			v->index++;
			++*ret_completed;
		} else if (n > 0 && !enter_inset(v, &m, *data)) {
			if (v->index == sent)
				return unasked(v, data, n, ret_fault);
			explain(v, v->shape->prefix.n + v->offset, data, n, ret_fault);
			return false;
		}
	}
	return true;
}

/* Whether the text may come back cut anywhere. Pieces with numbers are taken as one a message. */
static bool in_pieces(const struct shape *s)
{
	return s->framing == SHAPE_STREAM && !shape_is_echo(s) && s->prefix.n_counters == 0 &&
	       s->suffix.n_counters == 0;
}

bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   uint64_t *ret_completed, struct fault *ret_fault)
{
	if (in_pieces(v->shape))
		return feed_stream(v, sent, data, n, ret_completed, ret_fault);
	return feed_whole(v, sent, data, n, ret_completed, ret_fault);
}

bool verifier_suffix_due(const struct verifier *v)
{
	return in_pieces(v->shape) && v->offset == 0 && v->inset < v->shape->suffix.n;
}

size_t verifier_reply_size(const struct verifier *v, uint64_t index)
{
	struct reply r;

	reply_make(v, index, &r);
	return r.n;
}
