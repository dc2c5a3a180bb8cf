/*
 * The first reply on a connection to a server whose replies contain data of the connection. The
 * prefix fills its holes, the text is checked as usual, and the suffix fills its holes. After that
 * the connection's shape is fixed, and the numbers must not change.
 */

#include "ackc/message/verify_parts.h"

#include <stdio.h>
#include <string.h>

static void learn_suffix(struct verifier *v)
{
	v->own->suffix = v->pattern->suffix;
	v->learning = LEARNING_NOTHING;
	if (!v->pattern->suffix.n_holes)
		return;
	v->learning = LEARNING_SUFFIX;
	affix_read_begin(&v->reader, &v->pattern->suffix, &v->own->suffix, 0);
}

static uint8_t text_byte(const struct message *m, size_t i)
{
	return i < m->head_n ? m->head[i] : m->body[i - m->head_n];
}

/* Returns the number of digits at the start of message @m. */
static size_t leading_digits(const struct message *m)
{
	size_t n = 0;

	while (n < (size_t)m->head_n + m->body_n && text_byte(m, n) >= '0' &&
	       text_byte(m, n) <= '9')
		n++;
	return n;
}

void learning_begin(struct verifier *v)
{
	struct message m;

	if (!shape_has_holes(v->pattern))
		return;
	*v->own = *v->pattern;
	v->shape = v->own;
	v->learning = LEARNING_PREFIX;
	source_message(v->source, v->connection, v->index, &m);
	affix_read_begin(&v->reader, &v->pattern->prefix, &v->own->prefix, leading_digits(&m));
}

/*
 * Completes the prefix. A number at its end was read together with the leading digits of the text.
 * These are known, so the remaining digits are the number. Returns false if the text's digits
 * differ.
 */
static bool prefix_learnt(struct verifier *v)
{
	struct affix *prefix = &v->own->prefix;
	uint32_t digits = v->reader.text_digits;
	struct message m;

	source_message(v->source, v->connection, v->index, &m);
	if (digits && prefix->n <= digits)
		return false;
	prefix->n -= digits;
	for (uint32_t i = 0; i < digits; i++) {
		if (prefix->bytes[prefix->n + i] != text_byte(&m, i))
			return false;
	}
	learn_suffix(v);
	if (shape_in_pieces(v->own)) {
		v->in_inset = false;
		v->inset = digits ? 0 : (size_t)v->own->suffix.n + prefix->n;
		v->offset = digits;
	} else {
		v->offset = (size_t)prefix->n + digits;
	}
	return true;
}

static size_t wrong_affix(const struct verifier *v, uint8_t byte, struct fault *ret)
{
	bool prefix = v->learning == LEARNING_PREFIX;
	const struct affix *pattern = v->reader.pattern;
	uint8_t due = pattern->bytes[v->reader.at];

	ret->kind = FAULT_OTHER;
	if (due >= '0' && due <= '9')
		snprintf(ret->words, sizeof(ret->words),
			 "byte %zu is 0x%02x, where the %s has a number", verifier_reply_came(v),
			 byte, prefix ? "prefix" : "suffix");
	else
		snprintf(ret->words, sizeof(ret->words),
			 "byte %zu is 0x%02x, where the %s has 0x%02x", verifier_reply_came(v),
			 byte, prefix ? "prefix" : "suffix", due);
	return SIZE_MAX;
}

static size_t suffix_learnt(struct verifier *v, size_t used)
{
	v->offset += v->own->suffix.n;
	v->learning = LEARNING_NOTHING;
	if (v->own->framing == SHAPE_LINES)
		return used;
	/* Nothing follows in a stream: keep the last byte, which completes the message. */
	v->offset--;
	return used - 1;
}

static size_t read_affix(struct verifier *v, const uint8_t *data, size_t n, struct fault *ret_fault)
{
	size_t used = affix_read(&v->reader, data, n);

	if (affix_read_over(&v->reader)) {
		if (v->learning == LEARNING_SUFFIX)
			return suffix_learnt(v, used);
		if (prefix_learnt(v))
			return used;
		ret_fault->kind = FAULT_OTHER;
		snprintf(ret_fault->words, sizeof(ret_fault->words),
			 "other digits at the end of the prefix or the beginning of the text");
		return SIZE_MAX;
	}
	if (used == n)
		return used;
	return explain_nak(data, n, ret_fault) ? SIZE_MAX : wrong_affix(v, data[used], ret_fault);
}

/* Checks the text before a suffix that is still unknown. */
static size_t read_text(struct verifier *v, const struct reply *r, size_t left, const uint8_t *data,
			size_t n, struct fault *ret_fault)
{
	size_t due = n < left ? n : left;
	size_t used = reply_match(v, r, data, due);

	if (used == due)
		return used;
	/*
	 * The explanation must not depend on the suffix, where the successor of a missing byte
	 * would be.
	 */
	due -= due - used > 1;
	fault_explain(v, v->offset, data + used, due - used, ret_fault);
	return SIZE_MAX;
}

size_t learning_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		     struct fault *ret_fault)
{
	size_t total = 0;

	while (v->learning != LEARNING_NOTHING && total < n) {
		struct reply r;
		size_t text_end;
		size_t used;

		if (v->index == sent) {
			fault_unasked(v, data + total, n - total, ret_fault);
			return SIZE_MAX;
		}
		reply_make(v, v->index, &r);
		text_end = v->own->prefix.n + message_size(&r.message) -
			   (v->own->framing == SHAPE_LINES ? r.message.terminator_n : 0);
		if (v->learning == LEARNING_SUFFIX && v->offset < text_end)
			used = read_text(v, &r, text_end - v->offset, data + total, n - total,
					 ret_fault);
		else
			used = read_affix(v, data + total, n - total, ret_fault);
		if (used == SIZE_MAX)
			return SIZE_MAX;
		total += used;
	}
	return total;
}
