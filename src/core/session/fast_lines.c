/*
 * The fast path of line framing. One loop here does the steps that framing.c and reply.c take per
 * message.
 */

#include "core/session/internal.h"

#include <string.h>

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
	size_t max = session->policy->max_message_bytes;
	bool unchecked = job->checked == 0;
	uint8_t *begin = out_area(&io->out);
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
		.out_end = begin + out_area_room(&io->out),
	};

	utf8_copy_lines(&lines);
	if (unchecked)
		job->checked = (size_t)(lines.p - job->input);
	out_commit(&io->out, (size_t)(lines.out - begin));
	take(session, io, job, (size_t)(lines.p - job->input), lines.count);
}

/*
 * Answers lines for echo, where the replies together equal the input, and for discard, where there
 * are none.
 */
static void echo_lines(struct session *session, struct session_io *io, struct session_job *job)
{
	const uint8_t *p = job->input, *end = p + job->checked, *lf;
	size_t room = out_room(&io->out, p);
	uint64_t messages = 0;

	if (session->policy->reply == REPLY_ECHO && job->checked > room)
		end = p + room;
	while ((lf = next_line(p, end, session->policy->max_message_bytes)) != NULL) {
		p = lf + 1;
		messages++;
	}
	if (session->policy->reply == REPLY_ECHO && messages > 0)
		out_add(&io->out, job->input, (size_t)(p - job->input));
	take(session, io, job, (size_t)(p - job->input), messages);
}

void fast_lines(struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	struct template_constant prefix, suffix;
	bool ack, fast_ack;

	if (policy->path < PATH_LINE) {
		fast_frames(session, io, job);
		return;
	}
	if (job->input_length == 0 || session->place.skipping || session->place.message_length > 0)
		return;
	ack = policy->reply == REPLY_ACK;
	fast_ack = ack && template_constant(policy->ack_prefix, &prefix) &&
		   template_constant(policy->ack_suffix, &suffix);
	/* in nearly all cases this answers every line */
	if (fast_ack && job->checked == 0 && job->input_length >= UTF8_UNCHECKED_MIN)
		ack_lines(session, io, job, &prefix, &suffix);
	if (job->checked == 0 && job->input_length > 0)
		job->checked = utf8_check(job->input, job->input_length).valid;
	if (job->checked > 0 && fast_ack)
		ack_lines(session, io, job, &prefix, &suffix);
	else if (!ack)
		echo_lines(session, io, job);
}
