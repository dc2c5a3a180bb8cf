/*
 * A server in stream framing puts prefix and suffix around each piece of text that one of its reads
 * delivers, which may split messages. Between any two bytes of the text there may therefore be an
 * inset: the suffix of one piece and the prefix of the next.
 */

#include "ackc/message/verify_parts.h"

/* Returns byte @i of an inset, or -1 after its end. */
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

/* Matches text from v->offset on. Returns the number of bytes used. */
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
		part = span_match(&spans[i], from, data + used, n - used);
		used += part;
		v->offset += part;
		if (v->offset < start)
			break;
	}
	return used;
}

/*
 * Enters an inset at a byte that is not the text's. The inset starts here, or up to a few bytes
 * earlier if these also match the text; these are then assigned to the inset.
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

/* Returns how much of the prefix of the next piece has arrived. */
static size_t inset_matched(const struct verifier *v)
{
	return v->inset < v->shape->suffix.n ? 0 : v->inset - v->shape->suffix.n;
}

bool pieces_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		 uint64_t *ret_completed, struct fault *ret_fault)
{
	size_t inset_n = (size_t)v->shape->suffix.n + v->shape->prefix.n;
	struct message m;

	while (n > 0) {
		size_t used;

		source_message(v->source, v->connection, v->index, &m);
		if (v->in_inset) {
			/*
			 * With no message in flight, only the suffix of the last piece may arrive.
			 */
			if (v->index == sent && v->inset >= v->shape->suffix.n)
				return fault_unasked(v, data, n, ret_fault);
			if (inset_byte(v->shape, v->inset) != *data)
				return fault_explain(v, inset_matched(v), data, n, ret_fault);
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
				return fault_unasked(v, data, n, ret_fault);
			return fault_explain(v, v->shape->prefix.n + v->offset, data, n, ret_fault);
		}
	}
	return true;
}
