#include "core/session/policy.h"

#include <string.h>

/* Returns the shortest path that has everything that @policy needs. */
static enum path path_of(const struct policy *policy)
{
	const struct transcoder *t = &policy->transcoder;
	bool bytes = transcoder_copies(t);

	if (policy->reply == REPLY_TEXT || policy->reply == REPLY_CLOSE || policy->quit ||
	    policy->log_messages || policy_is_bare(policy))
		return PATH_GENERAL;
	if (!bytes && (t->from != CHARSET_UTF_8 || t->to != CHARSET_UTF_8))
		return PATH_GENERAL;
	switch (policy->framing) {
	case FRAMING_STREAM:
		return bytes ? PATH_STREAM_BYTES : PATH_STREAM;
	case FRAMING_LINE:
		return bytes ? PATH_LINE_BYTES : PATH_LINE;
	case FRAMING_DELIMITED:
	case FRAMING_LENGTH:
	case FRAMING_FIXED:
		return bytes ? PATH_FRAME_BYTES : PATH_FRAME;
	}
	return PATH_GENERAL;
}

void policy_prepare(struct policy *policy)
{
	mark_prepare(&policy->frame.start);
	mark_prepare(&policy->frame.end);
	policy->path = path_of(policy);
}

size_t policy_frame_max(const struct policy *policy)
{
	size_t tail = policy->framing == FRAMING_LINE	     ? 2 /* CR LF */
		      : policy->framing == FRAMING_DELIMITED ? policy->frame.end.length
							     : 0;

	return policy_head_length(policy) + policy->max_message_bytes + tail;
}

/* ---- headers with a length ---- */

uint64_t policy_reply_max(const struct policy *policy)
{
	const struct frame *frame = &policy->frame;

	if (policy->framing != FRAMING_LENGTH)
		return UINT64_MAX;
	return ((uint64_t)1 << 8 * frame->length_bytes) - 1 -
	       (frame->length_includes_header ? frame->length_bytes : 0);
}

/* Returns where byte @i of a length, counted from the least significant one, is in the header. */
static size_t length_index(const struct frame *frame, size_t i)
{
	return frame->length_order == LENGTH_LITTLE_ENDIAN ? i : frame->length_bytes - 1 - i;
}

size_t policy_put_head(const struct policy *policy, uint64_t length, uint8_t out[MARK_MAX])
{
	const struct frame *frame = &policy->frame;
	size_t n = policy_head_length(policy);

	if (policy->framing == FRAMING_DELIMITED)
		memcpy(out, frame->start.bytes, n);
	if (policy->framing != FRAMING_LENGTH)
		return n;
	if (frame->length_includes_header)
		length += n;
	for (size_t i = 0; i < n; i++)
		out[length_index(frame, i)] = (uint8_t)(length >> 8 * i);
	return n;
}

int64_t policy_read_length(const struct policy *policy, const uint8_t *p)
{
	const struct frame *frame = &policy->frame;
	int64_t length = 0;

	for (size_t i = 0; i < frame->length_bytes; i++)
		length |= (int64_t)p[length_index(frame, i)] << 8 * i;
	return frame->length_includes_header ? length - frame->length_bytes : length;
}

unsigned policy_variables(const struct policy *policy)
{
	return template_variables(policy->greeting) | template_variables(policy->ack_prefix) |
	       template_variables(policy->ack_suffix) | template_variables(policy->reply_text) |
	       template_variables(policy->nak_text);
}
