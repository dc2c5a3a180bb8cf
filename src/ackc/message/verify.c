#include "ackc/message/verify_parts.h"

#include <string.h>

void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index)
{
	*v = (struct verifier){
		.source = source,
		.shape = shape,
		.pattern = shape,
		.own = own,
		.connection = connection,
		.first = index,
		.index = index,
		/* a stream starts with a prefix, as after a suffix */
		.inset = shape->suffix.n,
		.in_inset = shape->prefix.n > 0,
	};
	learning_begin(v);
}

static struct span affix_span(const struct affix *a, uint64_t number, uint8_t *room)
{
	if (a->n_counters == 0)
		return (struct span){a->bytes, a->n};
	return (struct span){room, affix_render(a, number, room)};
}

void reply_make(const struct verifier *v, uint64_t index, struct reply *r)
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

size_t span_match(const struct span *s, size_t from, const uint8_t *data, size_t n)
{
	const uint8_t *want = s->p + from;
	size_t i = 0;

	if (n > s->n - from)
		n = s->n - from;
	if (memcmp(want, data, n) == 0)
		return n;
	while (want[i] == data[i])
		i++;
	return i;
}

size_t reply_match(struct verifier *v, const struct reply *r, const uint8_t *data, size_t n)
{
	size_t start = 0; /* offset of the span in the reply */
	size_t used = 0;

	for (int i = 0; i < SPANS && used < n; i++) {
		const struct span *s = &r->spans[i];
		size_t from = v->offset - start;
		size_t part;

		start += s->n;
		if (s->n == 0 || v->offset >= start)
			continue;
		part = span_match(s, from, data + used, n - used);
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
 * The fast path, with half the instructions, for a correct reply that arrived whole. Returns its
 * length, or 0 if it needs the full check.
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
			return fault_unasked(v, data, n, ret_fault);
		used = match_at_once(v, data, n);
		if (used > 0) {
			data += used;
			n -= used;
			v->index++;
			++*ret_completed;
			continue;
		}
		reply_make(v, v->index, &r);
		used = reply_match(v, &r, data, n);
		data += used;
		n -= used;
		if (v->offset == r.n) {
			v->offset = 0;
			v->index++;
			++*ret_completed;
		} else if (n > 0) {
			return fault_explain(v, v->offset, data, n, ret_fault);
		}
	}
	return true;
}

bool shape_in_pieces(const struct shape *s)
{
	return s->framing == SHAPE_STREAM && !shape_is_echo(s) && s->prefix.n_counters == 0 &&
	       s->suffix.n_counters == 0 && s->suffix.n_holes == 0;
}

bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   uint64_t *ret_completed, struct fault *ret_fault)
{
	if (v->learning != LEARNING_NOTHING) {
		size_t used = learning_feed(v, sent, data, n, ret_fault);

		if (used == SIZE_MAX)
			return false;
		data += used;
		n -= used;
		if (v->learning != LEARNING_NOTHING)
			return true;
	}
	if (shape_in_pieces(v->shape))
		return pieces_feed(v, sent, data, n, ret_completed, ret_fault);
	return feed_whole(v, sent, data, n, ret_completed, ret_fault);
}

bool verifier_suffix_due(const struct verifier *v)
{
	return shape_in_pieces(v->shape) && v->offset == 0 && v->inset < v->shape->suffix.n;
}

size_t verifier_reply_came(const struct verifier *v)
{
	if (v->learning != LEARNING_NOTHING)
		return v->offset + v->reader.own->n;
	if (!shape_in_pieces(v->shape))
		return v->offset;
	if (v->offset > 0)
		return v->shape->prefix.n + v->offset;
	return v->inset > v->shape->suffix.n ? v->inset - v->shape->suffix.n : 0;
}

size_t verifier_reply_size(const struct verifier *v, uint64_t index)
{
	struct verifier whole = *v;
	struct reply r;

	/* The unknown part has the length of another connection's. */
	if (v->learning != LEARNING_NOTHING)
		whole.shape = v->pattern;
	reply_make(&whole, index, &r);
	return r.n;
}
