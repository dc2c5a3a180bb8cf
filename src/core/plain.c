#include "core/plain.h"

#include "core/out.h"

#include <string.h>

/* Out of line: the shortest way, an echo of one read, need not make room for what the others need.
 */
#define OUT_OF_LINE __attribute__((noinline))

/* A template without variables: what it always expands to. */
struct constant {
	const uint8_t *bytes;
	size_t length;
};

static bool constant_of(const struct template *template, struct constant *ret_constant)
{
	if (template_variables(template) != 0)
		return false;
	ret_constant->bytes = template_literal(template);
	ret_constant->length = template_length_max(template);
	return true;
}

static uint8_t *put(uint8_t *out, const uint8_t *bytes, size_t n)
{
	memcpy(out, bytes, n);
	return out + n;
}

/* Takes @n bytes that are answered, and the @messages in them, off the input. */
static void take(struct session *session, struct session_io *io, struct session_job *job, size_t n,
		 uint64_t messages)
{
	job->input += n;
	job->input_length -= n;
	job->checked -= n;
	session->received += n;
	session->messages += messages;
	io->n_messages += messages;
}

/*
 * Finds the next line in [@p, @end) that is no longer than @max bytes. Returns its LF, or NULL;
 * *@ret_length is its length without the terminator.
 */
static const uint8_t *next_line(const uint8_t *p, const uint8_t *end, size_t max,
				size_t *ret_length)
{
	size_t n = (size_t)(end - p);
	const uint8_t *lf = memchr(p, '\n', n < max + 2 ? n : max + 2);

	if (!lf)
		return NULL;
	*ret_length = (size_t)(lf - p);
	if (lf > p && lf[-1] == '\r')
		*ret_length -= 1;
	return *ret_length <= max ? lf : NULL;
}

/* The answers are copied one after the other, so that they are a single span. */
static void ack_lines(struct session *session, struct session_io *io, struct session_job *job,
		      const struct constant *prefix, const struct constant *suffix)
{
	const uint8_t *p = job->input, *end = p + job->checked, *lf;
	size_t max = session->policy->max_line_bytes, room = area_room(io), length;
	uint8_t *begin = area_end(io), *out = begin;
	uint64_t messages = 0;

	if (max > OUT_REFERENCE_MIN - 1)
		max = OUT_REFERENCE_MIN - 1;
	while ((lf = next_line(p, end, max, &length)) != NULL) {
		size_t line = (size_t)(lf + 1 - p);
		size_t made = prefix->length + line + suffix->length;

		if (made > room)
			break;
		room -= made;
		out = put(out, prefix->bytes, prefix->length);
		if (suffix->length > 0) {
			out = put(out, p, length);
			out = put(out, suffix->bytes, suffix->length);
			out = put(out, p + length, line - length);
		} else {
			out = put(out, p, line);
		}
		p += line;
		messages++;
	}
	area_commit(io, (size_t)(out - begin));
	take(session, io, job, (size_t)(p - job->input), messages);
}

/* The answers to all lines together are the input itself; without @io's out, they are nothing. */
OUT_OF_LINE static void echo_lines(struct session *session, struct session_io *io,
				   struct session_job *job)
{
	const uint8_t *p = job->input, *end = p + job->checked, *lf;
	size_t room = out_room(io, p), length;
	uint64_t messages = 0;

	if (session->policy->reply == REPLY_ECHO && job->checked > room)
		end = p + room;
	while ((lf = next_line(p, end, session->policy->max_line_bytes, &length)) != NULL) {
		p = lf + 1;
		messages++;
	}
	if (session->policy->reply == REPLY_ECHO && messages > 0)
		out_add(io, job->input, (size_t)(p - job->input));
	take(session, io, job, (size_t)(p - job->input), messages);
}

/* Answers a read in stream framing, all of whose text is known to be well-formed. */
static void echo_read(struct session *session, struct session_io *io, struct session_job *job)
{
	size_t n = job->input_length;

	if (session->policy->reply == REPLY_ECHO) {
		if (n > out_room(io, job->input))
			return;
		out_add(io, job->input, n);
	}
	take(session, io, job, n, 1);
}

static void ack_read(struct session *session, struct session_io *io, struct session_job *job,
		     const struct constant *prefix, const struct constant *suffix)
{
	size_t n = job->input_length;
	uint8_t *begin = area_end(io), *out;

	if (n >= OUT_REFERENCE_MIN || prefix->length + n + suffix->length > area_room(io))
		return;
	out = put(begin, prefix->bytes, prefix->length);
	out = put(out, job->input, n);
	out = put(out, suffix->bytes, suffix->length);
	area_commit(io, (size_t)(out - begin));
	take(session, io, job, n, 1);
}

OUT_OF_LINE static void plain_ack(struct session *session, struct session_io *io,
				  struct session_job *job)
{
	const struct policy *policy = session->policy;
	struct constant prefix, suffix;

	if (!constant_of(policy->ack_prefix, &prefix) || !constant_of(policy->ack_suffix, &suffix))
		return;
	if (policy->framing == FRAMING_LINE)
		ack_lines(session, io, job, &prefix, &suffix);
	else if (job->checked == job->input_length)
		ack_read(session, io, job, &prefix, &suffix);
}

static void plain_echo(struct session *session, struct session_io *io, struct session_job *job)
{
	if (session->policy->framing == FRAMING_LINE)
		echo_lines(session, io, job);
	else if (job->checked == job->input_length)
		echo_read(session, io, job);
}

void plain_answer(struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	bool is_line = policy->framing == FRAMING_LINE;
	size_t length;

	if (job->input_length == 0 || session->carry.length > 0 || session->skipping ||
	    (is_line && session->received != session->line_start) ||
	    policy->transcoder.charset != CHARSET_UTF_8)
		return;
	if (job->checked == 0)
		utf8_check(job->input, job->input_length, &job->checked, &length);
	if (policy->reply == REPLY_ACK)
		plain_ack(session, io, job);
	else
		plain_echo(session, io, job);
	if (is_line)
		session->line_start = session->received;
}
