#include "core/session/fast_path.h"

#include "core/session/out.h"

#include <string.h>

static uint8_t *put(uint8_t *out, const uint8_t *bytes, size_t n)
{
	memcpy(out, bytes, n);
	return out + n;
}

/* ---- line framing ---- */

/* Removes @n answered bytes, with @messages messages in them, from the input. */
static void take(struct session *session, struct session_io *io, struct session_job *job, size_t n,
		 uint64_t messages)
{
	job->input += n;
	job->input_length -= n;
	job->checked -= n;
	session->place.received += n;
	session->place.messages += messages;
	io->n_messages += messages;
}

/*
 * Finds the next line in [@p, @end) of at most @max bytes, including CR. Returns its LF, or NULL.
 */
static const uint8_t *next_line(const uint8_t *p, const uint8_t *end, size_t max)
{
	size_t n = (size_t)(end - p);

	return memchr(p, '\n', n <= max ? n : max + 1);
}

/*
 * Copies the replies one after another, so that they form a single span. If the input is unchecked,
 * it stops at the first line that is not ASCII.
 */
static void ack_lines(struct session *session, struct session_io *io, struct session_job *job,
		      const struct template_constant *prefix,
		      const struct template_constant *suffix)
{
	size_t max = session->policy->max_line_bytes;
	bool unchecked = job->checked == 0;
	uint8_t *begin = area_end(io);
	struct utf8_lines lines = {
		.prefix = prefix->bytes,
		.prefix_length = prefix->length,
		.suffix = suffix->bytes,
		.suffix_length = suffix->length,
		.max_bytes = max < OUT_REFERENCE_MIN ? max : OUT_REFERENCE_MIN - 1,
		.unchecked = unchecked,
		.p = job->input,
		.end = job->input + (unchecked ? job->input_length : job->checked),
		.out = begin,
		.out_end = begin + area_room(io),
	};

	utf8_copy_lines(&lines);
	if (unchecked)
		job->checked = (size_t)(lines.p - job->input);
	area_commit(io, (size_t)(lines.out - begin));
	take(session, io, job, (size_t)(lines.p - job->input), lines.count);
}

/*
 * Answers lines for echo, where the replies together equal the input, and for discard, where there
 * are none.
 */
static void echo_lines(struct session *session, struct session_io *io, struct session_job *job)
{
	const uint8_t *p = job->input, *end = p + job->checked, *lf;
	size_t room = out_room(io, p);
	uint64_t messages = 0;

	if (session->policy->reply == REPLY_ECHO && job->checked > room)
		end = p + room;
	while ((lf = next_line(p, end, session->policy->max_line_bytes)) != NULL) {
		p = lf + 1;
		messages++;
	}
	if (session->policy->reply == REPLY_ECHO && messages > 0)
		out_add(io, job->input, (size_t)(p - job->input));
	take(session, io, job, (size_t)(p - job->input), messages);
}

void plain_lines(struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	struct template_constant prefix, suffix;
	bool ack, plain_ack;
	size_t length;

	if (policy->framing != FRAMING_LINE || policy->transcoder.charset != CHARSET_UTF_8 ||
	    job->input_length == 0 || session->place.skipping ||
	    session->place.received != session->place.line_start)
		return;
	ack = policy->reply == REPLY_ACK;
	plain_ack = ack && template_constant(policy->ack_prefix, &prefix) &&
		    template_constant(policy->ack_suffix, &suffix);
	/* in nearly all cases this answers every line */
	if (plain_ack && job->checked == 0 && job->input_length >= UTF8_UNCHECKED_MIN)
		ack_lines(session, io, job, &prefix, &suffix);
	if (job->checked == 0 && job->input_length > 0)
		utf8_check(job->input, job->input_length, &job->checked, &length);
	if (job->checked > 0 && plain_ack)
		ack_lines(session, io, job, &prefix, &suffix);
	else if (!ack)
		echo_lines(session, io, job);
	session->place.line_start = session->place.received;
}

/* ---- stream framing ---- */

/*
 * Copies the acknowledgement of @n bytes at @data to io->out. Returns false if spans are cheaper or
 * it does not fit.
 */
__attribute__((noinline)) static bool ack_read(const struct policy *policy, struct session_io *io,
					       const uint8_t *data, size_t n)
{
	struct template_constant prefix, suffix;
	uint8_t *begin = area_end(io), *out;

	if (!template_constant(policy->ack_prefix, &prefix) ||
	    !template_constant(policy->ack_suffix, &suffix))
		return false;
	if (n >= OUT_REFERENCE_MIN || prefix.length + n + suffix.length > area_room(io))
		return false;
	out = put(begin, prefix.bytes, prefix.length);
	out = put(out, data, n);
	out = put(out, suffix.bytes, suffix.length);
	area_commit(io, (size_t)(out - begin));
	return true;
}

/*
 * Like plain_read(), for a read that continues a character or ends within one. It copies short data
 * after the carried bytes.
 */
__attribute__((noinline)) static bool cut_read(struct session *session, struct session_io *io,
					       const uint8_t *data, size_t n)
{
	const struct policy *policy = session->policy;
	struct template_constant prefix = {(const uint8_t *)"", 0}, suffix = prefix;
	struct utf8_carry carry = session->carry;
	uint8_t *begin = area_end(io), *out = begin;
	size_t length = io->job.checked, cut_off = io->job.body_length;

	if (n >= OUT_REFERENCE_MIN)
		return false;
	if (carry.length == 0)
		utf8_carry_set(&carry, data + length, cut_off);
	else if (utf8_check_next(&carry, data, n, &length, &cut_off) > UTF8_PARTIAL)
		return false;
	if (length == 0)
		return false;
	if (policy->reply == REPLY_ACK && (!template_constant(policy->ack_prefix, &prefix) ||
					   !template_constant(policy->ack_suffix, &suffix)))
		return false;
	if (prefix.length + UTF8_CHARACTER_MAX + length + suffix.length > area_room(io))
		return false;
	if (policy->reply != REPLY_DISCARD) {
		out = put(out, prefix.bytes, prefix.length);
		out = put(out, session->carry.bytes, session->carry.length);
		out = put(out, data, length);
		out = put(out, suffix.bytes, suffix.length);
		area_commit(io, (size_t)(out - begin));
		out_note_last(io, session);
	}
	session->carry = carry;
	return true;
}

/*
 * Answers a read of @n bytes at @data if the fast path can answer all of it. Otherwise returns
 * false and changes nothing except io->job.checked, which is the number of bytes at @data known to
 * be well-formed and complete.
 */
static bool plain_read(struct session *session, struct session_io *io, const uint8_t *data,
		       size_t n)
{
	const struct policy *policy = session->policy;
	struct session_job *job = &io->job;
	enum utf8_status status = UTF8_PARTIAL;

	job->checked = 0;
	if (policy->framing != FRAMING_STREAM || policy->transcoder.charset != CHARSET_UTF_8)
		return false;
	/*
	 * no message is in progress: body_length is free to hold the number of bytes after the
	 * checked ones
	 */
	if (session->carry.length == 0)
		status = utf8_check(data, n, &job->checked, &job->body_length);
	if (status == UTF8_PARTIAL) {
		if (!cut_read(session, io, data, n))
			return false;
	} else if (status != UTF8_COMPLETE) {
		return false;
	} else if (policy->reply == REPLY_ECHO) {
		if (n > io->reply_max)
			return false;
		io->spans[0] = (struct iovec){(void *)(uintptr_t)data, n};
		io->n_spans = 1;
		io->n_bytes = n;
		session->place.last_byte = data[n - 1];
		session->place.sent_anything = true;
	} else if (policy->reply == REPLY_ACK) {
		if (!ack_read(policy, io, data, n))
			return false;
		out_note_last(io, session);
	}
	session->place.received += n;
	session->place.messages++;
	io->n_messages++;
	return true;
}

int session_feed(struct session *session, struct session_io *io, const uint8_t *data, size_t n)
{
	if (session->place.done || io->full || n == 0)
		io->job.checked = 0;
	else if (plain_read(session, io, data, n))
		return SESSION_IDLE;
	return session_feed_any(session, io, data, n);
}
