/*
 * A reply is a row of spans: the beginning of its frame, prefix, text, suffix and terminator, which
 * is the end of the frame. Received bytes are compared with them from the current offset on.
 *
 * A stream server puts prefix and suffix around each piece of text that one of its reads delivers,
 * which may split messages. Then a reply is the text alone, and between any two bytes of it there
 * may be an inset: the suffix of one piece and the prefix of the next.
 *
 * If the server's shape is not fixed, the bytes of the connection's first prefix and suffix are
 * collected until they are complete. They are the connection's own shape, by which they and all
 * other bytes are then checked. If the frame begins with a length, that is collected first, and
 * checked last.
 *
 * A NAK takes the place of a reply. If the first wrong bytes may belong to one, they are kept until
 * that is certain.
 */

#include "ackc/message/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How many bytes before and after a wrong byte are examined to name the fault. */
#define LOOK_MAX 2048
/* The number of neighbours of a message whose replies are tried. */
#define NEIGHBOURS 16

struct span {
	const uint8_t *p;
	size_t n;
};

#define SPANS 6

struct reply {
	struct message message;
	uint8_t header[FRAME_HEADER_MAX];
	uint8_t prefix[AFFIX_MAX]; /* room for an affix with counters */
	uint8_t suffix[AFFIX_MAX];
	struct span spans[SPANS];
	size_t n;
};

static struct span affix_span(const struct affix *a, uint64_t number, uint8_t *room)
{
	if (!affix_counts(a))
		return (struct span){a->bytes, a->n};
	return (struct span){room, affix_render(a, number, room)};
}

/*
 * Makes the expected reply to message @index, of shape @s or, if @s is NULL, the text alone. While
 * the suffix of @s is unknown, the reply ends before it, and begins as the received one. Points
 * into the source, @s and @r.
 */
static void reply_make(const struct verifier *v, const struct shape *s, uint64_t index,
		       struct reply *r)
{
	uint64_t counted = index - v->first + 1;
	int suffix_at = !s || s->framing == SHAPE_LINES ? 4 : 5;
	bool cut = s == v->own && (v->phase == VERIFY_TEXT || v->phase == COLLECT_SUFFIX);
	const struct message *m = &r->message;

	source_message(v->source, v->connection, index, &r->message);
	r->spans[1] = s ? affix_span(&s->prefix, counted, r->prefix) : (struct span){0};
	r->spans[2] = (struct span){m->head, m->head_n};
	r->spans[3] = (struct span){m->body, m->body_n};
	r->spans[suffix_at] = s ? affix_span(&s->suffix, counted, r->suffix) : (struct span){0};
	r->n = r->spans[1].n + m->head_n + m->body_n + r->spans[suffix_at].n;
	r->spans[0].p = r->header;
	r->spans[0].n = frame_header(v->source->frame, r->n, r->header);
	r->spans[9 - suffix_at] = (struct span){m->terminator, m->terminator_n};
	r->n += r->spans[0].n + m->terminator_n;
	if (cut)
		memcpy(r->header, v->header, sizeof(r->header));
	for (int i = suffix_at; cut && i < SPANS; i++) {
		r->n -= r->spans[i].n;
		r->spans[i].n = 0;
	}
}

/* Copies up to @room bytes of the reply, from byte @from on. Returns their number. */
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

/*
 * Compares @data with the reply from byte @from on. Returns the number of bytes that are equal,
 * which is less than @n at the end of the reply or at a fault.
 */
static size_t reply_match(const struct reply *r, size_t from, const uint8_t *data, size_t n)
{
	size_t used = 0;

	for (int i = 0; i < SPANS && used < n; i++) {
		const struct span *s = &r->spans[i];
		size_t skip = from < s->n ? from : s->n;
		size_t part = s->n - skip < n - used ? s->n - skip : n - used;

		from -= skip;
		if (part == 0)
			continue;
		if (memcmp(s->p + skip, data + used, part) != 0)
			return used + bytes_in_common(s->p + skip, part, data + used, part);
		used += part;
	}
	return used;
}

/* Returns whether the frame's beginning fits to a reply whose text, with affixes, has @n bytes. */
static bool header_matches(const struct frame *f, size_t n, const uint8_t *p)
{
	uint8_t header[FRAME_HEADER_MAX];

	frame_header(f, n, header);
	return memcmp(p, header, f->header_n) == 0;
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
 * The fast path, with half the instructions, for a right reply that arrived whole. Returns its
 * length, or 0 if it needs the full check.
 */
static size_t match_whole(const struct verifier *v, const uint8_t *data, size_t n)
{
	const struct shape *s = v->shape;
	size_t header_n = v->source->frame->header_n;
	size_t prefix_n = s->prefix.n;
	size_t suffix_n = s->suffix.n;
	struct message m;
	const uint8_t *p = data + header_n + prefix_n;
	const uint8_t *terminator;
	const uint8_t *suffix;
	size_t length;

	if (v->offset || v->phase != VERIFY_ALL || s->prefix.n_numbers || s->suffix.n_numbers)
		return 0;
	source_message(v->source, v->connection, v->index, &m);
	length = prefix_n + message_size(&m) + suffix_n;
	if (n < length || (header_n && !header_matches(v->source->frame,
						       length - header_n - m.terminator_n, data)))
		return 0;
	terminator = p + m.head_n + m.body_n + (s->framing == SHAPE_LINES ? suffix_n : 0);
	suffix = p + m.head_n + m.body_n + (s->framing == SHAPE_LINES ? 0 : m.terminator_n);
	if ((prefix_n && memcmp(data + header_n, s->prefix.bytes, prefix_n) != 0) ||
	    !message_head_matches(&m, p) || memcmp(p + m.head_n, m.body, m.body_n) != 0 ||
	    !terminator_matches(&m, terminator) ||
	    (suffix_n && memcmp(suffix, s->suffix.bytes, suffix_n) != 0))
		return 0;
	return length;
}

/* Returns byte @i of an inset, or -1 after its end. */
static int inset_byte(const struct shape *s, size_t i)
{
	if (i < s->suffix.n)
		return s->suffix.bytes[i];
	i -= s->suffix.n;
	return i < s->prefix.n ? s->prefix.bytes[i] : -1;
}

/*
 * Returns whether an inset may come directly after another one. Between the two there is a piece of
 * at least a byte. It can only be the end of the text that came before them, if this end and the
 * inset are repetitions of the same bytes: then the bytes may also be a piece after an inset.
 */
static bool may_repeat(const struct verifier *v)
{
	uint8_t inset[2 * AFFIX_MAX];
	uint8_t text[2 * AFFIX_MAX];
	size_t unit = 1;
	size_t n = 0;
	size_t part;
	struct reply r;

	for (int byte; (byte = inset_byte(v->shape, n)) >= 0; n++)
		inset[n] = (uint8_t)byte;
	if (n == 0)
		return false;
	while (n % unit != 0 || memcmp(inset, inset + unit, n - unit) != 0)
		unit++;
	part = v->offset < unit ? v->offset : unit;
	reply_make(v, NULL, v->index, &r);
	reply_copy(&r, v->offset - part, text + unit - part, part);
	if (part < unit && v->index == v->first)
		return false;
	if (part < unit) {
		reply_make(v, NULL, v->index - 1, &r);
		if (r.n < unit - part)
			return true;
		reply_copy(&r, r.n - (unit - part), text, unit - part);
	}
	return memcmp(text, inset, unit) == 0;
}

/*
 * Enters an inset at a byte that is not the text's. The inset starts here, or up to a few bytes
 * earlier if these also match the text; these are then assigned to the inset. Returns false if no
 * inset has this byte.
 */
static bool enter_inset(struct verifier *v, uint8_t byte)
{
	struct reply r;

	reply_make(v, NULL, v->index, &r);
	for (size_t back = 0; inset_byte(v->shape, back) >= 0 && back <= v->offset; back++) {
		uint8_t text[2 * AFFIX_MAX];
		size_t i = 0;

		if (inset_byte(v->shape, back) != byte)
			continue;
		reply_copy(&r, v->offset - back, text, back);
		while (i < back && text[i] == inset_byte(v->shape, i))
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

/* Returns how many bytes of an inset follow at @data: 1 or 0. */
static size_t match_inset(struct verifier *v, uint64_t sent, const uint8_t *data)
{
	if (!v->in_inset && ((v->inset > 0 && !may_repeat(v)) || !enter_inset(v, *data)))
		return 0;
	/* With no message in flight, only the suffix of the last piece may arrive. */
	if (inset_byte(v->shape, v->inset) != *data ||
	    (v->index == sent && v->inset >= v->shape->suffix.n))
		return 0;
	v->inset++;
	v->in_inset = inset_byte(v->shape, v->inset) >= 0;
	return 1;
}

/* The end of a reply, or of its known part. */
static void reply_end(struct verifier *v)
{
	if (v->phase == VERIFY_TEXT) {
		v->phase = COLLECT_SUFFIX;
		return;
	}
	v->offset = 0;
	v->index++;
}

/* Returns how many of the bytes at @data are right, up to the end of a reply at most. */
static size_t match(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n)
{
	size_t used = 0;
	struct reply r;

	if (v->index < sent && !v->in_pieces) {
		used = match_whole(v, data, n);
		if (used > 0) {
			reply_end(v);
			return used;
		}
	}
	if (v->index < sent && !v->in_inset) {
		reply_make(v, v->in_pieces ? NULL : v->shape, v->index, &r);
		used = reply_match(&r, v->offset, data, n);
		v->offset += used;
		if (used > 0)
			v->inset = 0;
		if (v->offset == r.n)
			reply_end(v);
	}
	if (used == 0 && v->in_pieces)
		used = match_inset(v, sent, data);
	return used;
}

bool verifier_suffix_due(const struct verifier *v)
{
	return v->in_pieces && v->index > v->first && v->offset == 0 &&
	       v->inset < v->shape->suffix.n;
}

/* Returns the number of bytes of the next reply that have arrived. */
static size_t reply_came(const struct verifier *v)
{
	if (v->phase == COLLECT_HEADER)
		return v->header_n;
	if (v->phase == COLLECT_PREFIX)
		return v->offset + v->own->prefix.n;
	if (v->phase == COLLECT_SUFFIX)
		return v->offset + v->own->suffix.n;
	if (!v->in_pieces)
		return v->offset;
	if (v->offset > 0)
		return v->shape->prefix.n + v->offset;
	return v->inset > v->shape->suffix.n ? v->inset - v->shape->suffix.n : 0;
}

/* Returns the length of the reply to message @index in one piece. */
static size_t reply_size(const struct verifier *v, uint64_t index)
{
	struct reply r;

	/* The unknown part has the length of another connection's. */
	reply_make(v, v->phase == VERIFY_ALL ? v->shape : v->pattern, index, &r);
	return r.n;
}

/*
 * Returns whether the wrong bytes at @data, which came @offset bytes into the reply to message
 * @index, make it the reply to a neighbour of that message.
 */
static bool is_neighbour(const struct verifier *v, uint64_t sent, uint64_t index, size_t offset,
			 const uint8_t *data, size_t n)
{
	uint64_t low = index - v->first > NEIGHBOURS ? index - NEIGHBOURS : v->first;
	uint8_t expected[LOOK_MAX];
	uint8_t other[LOOK_MAX];
	struct reply r;

	reply_make(v, v->shape, index, &r);
	reply_copy(&r, 0, expected, sizeof(expected));
	for (uint64_t i = low; i < index + NEIGHBOURS && i < sent; i++) {
		size_t length;

		reply_make(v, v->shape, i, &r);
		length = reply_copy(&r, 0, other, sizeof(other));
		if (i != index && length == r.n && offset < length && length - offset <= n &&
		    memcmp(other, expected, offset) == 0 &&
		    memcmp(other + offset, data, length - offset) == 0)
			return true;
	}
	return false;
}

/*
 * Returns whether a NAK is in the place of a reply that began with @begun bytes at @right, followed
 * by the wrong bytes at @data.
 */
static enum nak_status find_nak(const struct verifier *v, const uint8_t *right, size_t begun,
				const uint8_t *data, size_t n, struct fault *ret)
{
	uint8_t bytes[VERIFIER_HELD_MAX];
	size_t part;
	enum nak_status status;

	if (begun > FRAME_HEADER_MAX + NAK_KEPT_MAX)
		return NAK_NO;
	part = sizeof(bytes) - begun < n ? sizeof(bytes) - begun : n;
	memcpy(bytes, right, begun);
	memcpy(bytes + begun, data, part);
	status = nak_in_frame(v->source->frame, bytes, begun + part, ret->words);
	if (status == NAK_YES)
		ret->kind = FAULT_NAK;
	return status;
}

/* Describes a wrong length at the beginning of a frame. */
static void describe_length(const struct verifier *v, const uint8_t *expected,
			    const uint8_t *received, struct fault *ret)
{
	const struct frame *f = v->source->frame;

	ret->kind = FAULT_DIFFERENT;
	snprintf(ret->words, sizeof(ret->words),
		 "%s in the length of the frame: expected %" PRIu64 ", received %" PRIu64,
		 fault_name(FAULT_DIFFERENT), frame_stated_length(f, expected),
		 frame_stated_length(f, received));
}

/* Describes the difference if it is in the length at the beginning of a frame. */
static bool explain_length(const struct verifier *v, const struct difference *d, struct fault *ret)
{
	const struct frame *f = v->source->frame;
	const uint8_t *expected = d->expected + d->at - d->offset;
	uint8_t received[FRAME_HEADER_MAX];

	if (f->kind != FRAME_LENGTH || d->offset >= f->header_n || d->at < d->offset ||
	    d->at - d->offset + f->header_n > d->expected_n ||
	    d->received_n < f->header_n - d->offset)
		return false;
	memcpy(received, expected, d->offset);
	memcpy(received + d->offset, d->received, f->header_n - d->offset);
	describe_length(v, expected, received, ret);
	return true;
}

/*
 * Explains the wrong byte at @data, and returns false. If the bytes may be the beginning of a NAK,
 * keeps them and returns true, except with @final, or if no reply is due.
 */
static bool explain(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n, bool final,
		    struct fault *ret)
{
	uint64_t index = v->index - verifier_suffix_due(v);
	struct difference d = {.received = data, .received_n = n};
	uint8_t around[2 * LOOK_MAX];
	size_t begun;
	enum nak_status nak;
	enum fault_kind kind;
	struct reply r;

	d.expected = around;
	d.offset = reply_came(v);
	if (index < v->index) {
		d.offset = reply_size(v, index) - v->shape->suffix.n + v->inset;
	} else if (index == sent && index > v->first) {
		index--;
		d.offset = reply_size(v, index);
	}
	if (d.offset < LOOK_MAX && index > v->first) {
		size_t room = LOOK_MAX - d.offset;

		reply_make(v, v->shape, index - 1, &r);
		d.at = reply_copy(&r, r.n > room ? r.n - room : 0, around, room);
	}
	d.expected_n = d.at;
	d.at += d.offset < LOOK_MAX ? d.offset : LOOK_MAX;
	for (uint64_t i = index; i < sent && d.expected_n < sizeof(around); i++) {
		size_t from = i == index && d.offset > LOOK_MAX ? d.offset - LOOK_MAX : 0;

		reply_make(v, v->shape, i, &r);
		d.expected_n +=
			reply_copy(&r, from, around + d.expected_n, sizeof(around) - d.expected_n);
	}
	begun = index == v->index ? d.offset : 0;
	nak = begun > d.at ? NAK_NO : find_nak(v, around + d.at - begun, begun, data, n, ret);
	if (nak == NAK_MAYBE && !final && v->index < sent) {
		memmove(v->held, data, n);
		v->held_n = (uint8_t)n;
		return true;
	}
	if (nak == NAK_YES || fault_find_nak(data, n, ret))
		return false;
	kind = is_neighbour(v, sent, index, d.offset, data, n) ? FAULT_SWAPPED
							       : difference_kind(&d);
	if (kind == FAULT_SWAPPED || !explain_length(v, &d, ret))
		difference_describe(&d, kind, fault_name(kind), ret);
	return false;
}

static uint8_t text_byte(const struct message *m, size_t i)
{
	return i < m->head_n ? m->head[i] : m->body[i - m->head_n];
}

/* Returns the number of digits at the start of the next message. */
static size_t leading_digits(const struct verifier *v)
{
	struct message m;
	size_t n = 0;

	source_message(v->source, v->connection, v->index, &m);
	while (n < (size_t)m.head_n + m.body_n && text_byte(&m, n) >= '0' &&
	       text_byte(&m, n) <= '9')
		n++;
	return n;
}

static bool check(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		  struct fault *ret_fault);

/* Collects the beginning of a frame. */
static bool collect_header(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
			   struct fault *ret_fault)
{
	const struct frame *f = v->source->frame;
	struct difference d = {.expected = f->start, .expected_n = f->header_n};

	if (v->index == sent)
		return explain(v, sent, data, n, false, ret_fault);
	if (v->header_n == 0 && fault_find_nak(data, n, ret_fault))
		return false;
	for (; n > 0 && v->header_n < f->header_n; data++, n--)
		v->header[v->header_n++] = *data;
	if (v->header_n < f->header_n)
		return true;
	d.at = d.offset = bytes_in_common(f->start, f->header_n, v->header, f->header_n);
	if (f->kind == FRAME_DELIMITED && d.at < f->header_n) {
		d.received = v->header + d.at;
		d.received_n = f->header_n - d.at;
		difference_describe(&d, FAULT_DIFFERENT, fault_name(FAULT_DIFFERENT), ret_fault);
		return false;
	}
	v->phase = COLLECT_PREFIX;
	v->offset = f->header_n;
	return check(v, sent, data, n, ret_fault);
}

/*
 * Sets *@ret_n to the length of the unknown suffix, from the length at the beginning of the frame.
 * Returns false if that is not possible.
 */
static bool suffix_length(const struct verifier *v, size_t *ret_n, struct fault *ret_fault)
{
	const struct frame *f = v->source->frame;
	uint64_t stated = frame_stated_length(f, v->header);
	uint8_t expected[FRAME_HEADER_MAX];
	struct reply r;
	uint64_t n;

	reply_make(v, v->own, v->index, &r);
	n = r.n - (f->inclusive ? 0 : f->header_n);
	if (stated < n || stated - n > AFFIX_MAX) {
		frame_header(f, r.n - f->header_n + v->pattern->suffix.n, expected);
		describe_length(v, expected, v->header, ret_fault);
		return false;
	}
	*ret_n = (size_t)(stated - n);
	return true;
}

/* Checks the length at the beginning of the first frame; the shape is now known. */
static bool check_length(const struct verifier *v, struct fault *ret_fault)
{
	struct reply r;

	if (v->source->frame->kind != FRAME_LENGTH)
		return true;
	reply_make(v, v->own, v->index, &r);
	if (memcmp(r.header, v->header, v->header_n) == 0)
		return true;
	describe_length(v, r.header, v->header, ret_fault);
	return false;
}

/*
 * Explains the first wrong byte of an affix of this connection, at @at of @own. Returns true if a
 * NAK may have begun instead.
 */
static bool explain_affix(const struct verifier *v, const struct affix *own, size_t at,
			  struct difference *d, bool final, struct fault *ret_fault)
{
	bool prefix = v->phase == COLLECT_PREFIX;
	enum nak_status nak =
		prefix ? find_nak(v, v->header, v->header_n, own->bytes, own->n, ret_fault)
		       : NAK_NO;

	if (nak == NAK_MAYBE && !final)
		return true;
	d->received = own->bytes + at;
	d->received_n = own->n - at;
	d->offset = v->offset + at;
	if (nak != NAK_YES && !fault_find_nak(d->received, d->received_n, ret_fault) &&
	    !fault_find_nak(own->bytes, own->n, ret_fault))
		difference_describe(d, FAULT_DIFFERENT, fault_name(FAULT_DIFFERENT), ret_fault);
	return false;
}

/*
 * Collects bytes of an unknown affix. When it is complete, it is known, and the collected bytes
 * are checked like any others. With @final, no more bytes will arrive.
 */
static bool collect(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n, bool final,
		    struct fault *ret_fault)
{
	bool prefix = v->phase == COLLECT_PREFIX;
	bool stated = !prefix && v->source->frame->kind == FRAME_LENGTH;
	const struct affix *pattern = prefix ? &v->pattern->prefix : &v->pattern->suffix;
	struct affix *own = prefix ? &v->own->prefix : &v->own->suffix;
	size_t room = AFFIX_MAX;
	struct difference d = {.expected = pattern->bytes, .expected_n = pattern->n};
	enum affix_status status;
	size_t collected;
	size_t part;
	size_t at;

	if (v->index == sent)
		return explain(v, sent, data, n, final, ret_fault);
	if (stated && !suffix_length(v, &room, ret_fault))
		return false;
	part = n < room - own->n ? n : room - own->n;
	if (part)
		memcpy(own->bytes + own->n, data, part);
	own->n += (uint32_t)part;
	collected = own->n;
	status = affix_match(pattern, prefix ? leading_digits(v) : 0, stated && own->n == room, own,
			     &at, &d.at);
	if (status == AFFIX_MORE)
		return true;
	if (status == AFFIX_DIFFERS)
		return explain_affix(v, own, at, &d, final, ret_fault);
	v->phase = prefix && !affix_is_fixed(&v->pattern->suffix) ? VERIFY_TEXT : VERIFY_ALL;
	if (v->phase == VERIFY_ALL && !check_length(v, ret_fault))
		return false;
	return check(v, sent, own->bytes, collected, ret_fault) &&
	       check(v, sent, data + part, n - part, ret_fault);
}

static bool check(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		  struct fault *ret_fault)
{
	while (n > 0) {
		enum verifier_phase phase = v->phase;
		size_t used;

		if (phase == COLLECT_HEADER)
			return collect_header(v, sent, data, n, ret_fault);
		if (phase == COLLECT_PREFIX || phase == COLLECT_SUFFIX)
			return collect(v, sent, data, n, false, ret_fault);
		used = match(v, sent, data, n);
		/* With an empty prefix, an empty text ends before the first byte. */
		if (used == 0 && v->phase == phase)
			return explain(v, sent, data, n, false, ret_fault);
		data += used;
		n -= used;
	}
	return true;
}

bool verifier_greeted(const struct verifier *v)
{
	const struct shape *s = v->pattern;

	return s->greeting_lines ? v->greeting_lines == s->greeting_lines
				 : v->greeting_n == s->greeting_n;
}

/* Takes bytes of the greeting. Returns their number. */
static size_t take_greeting(struct verifier *v, const uint8_t *data, size_t n)
{
	const struct shape *s = v->pattern;
	const uint8_t *p = data;
	size_t left = n;
	struct frame_piece piece;
	enum frame_event event = FRAME_TEXT;

	if (s->greeting_lines == 0) {
		size_t part = s->greeting_n - v->greeting_n;

		part = part < n ? part : n;
		v->greeting_n += (uint32_t)part;
		return part;
	}
	while (!verifier_greeted(v) && event != FRAME_MORE && event != FRAME_INVALID) {
		event = frame_next(&v->greeting, &p, &left, &piece);
		v->greeting_lines += event == FRAME_END;
	}
	return n - left;
}

/* Returns whether the bytes are a NAK instead of a greeting: in a frame, or a line. */
static bool refused(const struct verifier *v, const uint8_t *data, size_t n,
		    struct fault *ret_fault)
{
	return find_nak(v, data, 0, data, n, ret_fault) == NAK_YES ||
	       fault_find_nak(data, n, ret_fault);
}

bool verifier_feed(struct verifier *v, uint64_t sent, const uint8_t *data, size_t n,
		   struct fault *ret_fault)
{
	size_t part = sizeof(v->held) - v->held_n;

	if (v->held_n) {
		part = part < n ? part : n;
		memcpy(v->held + v->held_n, data, part);
		v->reply_bytes += n;
		return explain(v, sent, v->held, v->held_n + part, false, ret_fault);
	}
	if (!verifier_greeted(v)) {
		if (refused(v, data, n, ret_fault))
			return false;
		part = take_greeting(v, data, n);
		data += part;
		n -= part;
	}
	v->reply_bytes += n;
	return check(v, sent, data, n, ret_fault);
}

bool verifier_end(struct verifier *v, uint64_t sent, struct fault *ret_fault)
{
	if (v->held_n)
		return explain(v, sent, v->held, v->held_n, true, ret_fault);
	if (v->phase == COLLECT_PREFIX && v->own->prefix.n)
		return collect(v, sent, v->own->prefix.bytes, 0, true, ret_fault);
	return true;
}

void verifier_init(struct verifier *v, const struct source *source, const struct shape *shape,
		   struct shape *own, uint32_t connection, uint64_t index)
{
	bool fixed = shape_is_fixed(shape);

	*v = (struct verifier){
		.source = source,
		.pattern = shape,
		.shape = fixed ? shape : own,
		.own = fixed ? NULL : own,
		.phase = fixed			   ? VERIFY_ALL
			 : source->frame->header_n ? COLLECT_HEADER
						   : COLLECT_PREFIX,
		.greeting.frame = source->frame,
		.connection = connection,
		.first = index,
		.index = index,
		.in_pieces = shape_in_pieces(shape),
		/* a stream starts with a prefix, as after a suffix */
		.inset = shape->suffix.n,
		.in_inset = shape_in_pieces(shape) && shape->prefix.n > 0,
	};
	if (fixed)
		return;
	*own = *shape;
	own->prefix.n = 0;
	if (!affix_is_fixed(&own->suffix))
		own->suffix.n = 0;
}

const char *verifier_partial(const struct verifier *v, char out[VERIFIER_TEXT_MAX])
{
	size_t came = reply_came(v);

	out[0] = '\0';
	if (came > 0)
		snprintf(out, VERIFIER_TEXT_MAX, "%zu of %zu bytes of the reply arrived", came,
			 reply_size(v, v->index));
	return out;
}
