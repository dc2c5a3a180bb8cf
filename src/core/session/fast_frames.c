/*
 * The fast path of the framings that have frames. One loop here does the steps that boundary.c,
 * framing.c, check.c and reply.c take per message.
 */

#include "core/session/internal.h"

#include <string.h>

/* The parts of a reply before and after the text. */
struct around {
	struct template_constant prefix;
	struct template_constant suffix;
	size_t room;	  /* for it, with what put_short() writes too much */
	size_t max_bytes; /* of the text; for a longer one a span is cheaper, or it is too long */
};

/* ---- frames ---- */

/*
 * Returns the length of the text that frame.end ends in the @n bytes at @p, or SIZE_MAX if they do
 * not contain it, or if the text is too long.
 */
static size_t delimited_length(const struct policy *policy, const uint8_t *p, size_t n)
{
	const struct mark *end = &policy->frame.end;
	size_t rest = end->length - 1, places, at = 0;
	const uint8_t *first;

	if (n <= rest)
		return SIZE_MAX;
	places = n - rest;
	if (places > policy->max_message_bytes)
		places = (size_t)policy->max_message_bytes + 1;
	while ((first = memchr(p + at, end->bytes[0], places - at)) != NULL) {
		at = (size_t)(first - p);
		if (rest == 0 || memcmp(first + 1, end->bytes + 1, rest) == 0)
			return at;
		at++;
	}
	return SIZE_MAX;
}

/*
 * Finds the frame that the @n bytes at @p begin with. Returns its length, and sets *@ret_text to
 * the length of its text, which follows the head. Returns 0 if they do not begin with a whole frame
 * that is acceptable.
 */
static inline size_t find_frame(const struct policy *policy, const uint8_t *p, size_t n,
				size_t *ret_text)
{
	size_t head = policy_head_length(policy), tail = 0, text;

	if (n < head)
		return 0;
	if (policy->framing == FRAMING_DELIMITED) {
		if (head > 0 && memcmp(p, policy->frame.start.bytes, head) != 0)
			return 0;
		text = delimited_length(policy, p + head, n - head);
		tail = policy->frame.end.length;
	} else if (policy->framing == FRAMING_LENGTH) {
		text = (size_t)policy_read_length(policy, p);
	} else {
		text = policy->frame.size;
	}
	if (text > policy->max_message_bytes || text > n - head)
		return 0;
	*ret_text = text;
	return head + text + tail;
}

/* ---- replies ---- */

/* Copies @n bytes, in a wide move of UTF8_PREFIX_READ bytes if they are no more than that. */
static inline uint8_t *put_short(uint8_t *out, const uint8_t *bytes, size_t n)
{
	memcpy(out, bytes, UTF8_PREFIX_READ);
	if (n > UTF8_PREFIX_READ)
		memcpy(out + UTF8_PREFIX_READ, bytes + UTF8_PREFIX_READ, n - UTF8_PREFIX_READ);
	return out + n;
}

static bool around_init(struct around *around, const struct policy *policy)
{
	uint64_t max = policy_reply_max(policy);
	size_t n;

	if (!template_constant(policy->ack_prefix, &around->prefix) ||
	    !template_constant(policy->ack_suffix, &around->suffix))
		return false;
	n = around->prefix.length + around->suffix.length;
	if (n > max)
		return false;
	around->max_bytes = max - n < OUT_REFERENCE_MIN ? (size_t)max - n : OUT_REFERENCE_MIN - 1;
	around->room = MARK_MAX + n + 2 * UTF8_PREFIX_READ + MARK_MAX;
	return true;
}

/* Makes the acknowledgement of the @n bytes at @text. Returns its end. */
static inline uint8_t *put_ack(const struct policy *policy, const struct around *around,
			       const uint8_t *text, size_t n, uint8_t *out)
{
	out += policy_put_head(policy, around->prefix.length + n + around->suffix.length, out);
	out = put_short(out, around->prefix.bytes, around->prefix.length);
	memcpy(out, text, n);
	out = put_short(out + n, around->suffix.bytes, around->suffix.length);
	if (policy->framing != FRAMING_DELIMITED)
		return out;
	memcpy(out, policy->frame.end.bytes, MARK_MAX);
	return out + policy->frame.end.length;
}

/* ---- the loop ---- */

void fast_frames(struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	struct session_place *place = &session->place;
	const uint8_t *p = job->input, *end = p + job->input_length;
	size_t head = policy_head_length(policy), n, text;
	bool check = policy->path == PATH_FRAME;
	bool ack = policy->reply == REPLY_ACK, echo = policy->reply == REPLY_ECHO;
	uint8_t *begin = out_area(&io->out), *out = begin;
	size_t room = echo ? out_room(&io->out, p) : out_area_room(&io->out);
	uint64_t messages = 0;
	struct around around;

	if (policy->path < PATH_FRAME || job->input_length == 0 || place->skipping ||
	    place->message_length > 0 || place->count > 0 || place->carry.length > 0 ||
	    (ack && !around_init(&around, policy)))
		return;
	if (echo && job->input_length > room)
		end = p + room;
	while ((n = find_frame(policy, p, (size_t)(end - p), &text)) > 0) {
		if (check && utf8_check(p + head, text).status != UTF8_COMPLETE)
			break;
		if (ack) {
			if (text > around.max_bytes ||
			    around.room + text > room - (size_t)(out - begin))
				break;
			out = put_ack(policy, &around, p + head, text, out);
		}
		p += n;
		messages++;
	}
	if (echo && messages > 0)
		out_add(&io->out, job->input, (size_t)(p - job->input));
	out_commit(&io->out, (size_t)(out - begin));
	job_consume(session, job, (size_t)(p - job->input));
	place->messages += messages;
	io->n_messages += messages;
}
