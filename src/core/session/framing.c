/*
 * Cuts the input into messages. One pass checks each byte once for what the error handlers replace
 * or reject, and finds where the message ends. In a stream, that is the end of each read. In any
 * other framing a message ends where the data say so: it is held until then, and a fault in it
 * replaces its reply.
 */

#include "core/session/internal.h"

#include <string.h>

static void count_message(struct session *session, struct session_io *io)
{
	session->place.messages++;
	io->n_messages++;
}

/* ---- stream framing ---- */

/*
 * Prepares the reply to the text that a read completed, which is @job's head and the @length bytes
 * at @text, and a NAK if one is due.
 */
static int answer_read(struct session *session, struct session_io *io, struct session_job *job,
		       const uint8_t *text, size_t length)
{
	const struct policy *policy = session->policy;
	bool is_message = job->head_length + length > 0;

	if (is_message && job->dirty && policy->transcoder.decode_errors == DECODE_IGNORE)
		is_message = transcode_count(&policy->transcoder, job->head, job->head_length) +
			     transcode_count(&policy->transcoder, text, length);
	if (is_message)
		reply_begin(session, io, job, text, length);
	else if (job->nak_due)
		job->phase = REPLY_NAK;
	if (job->nak_due)
		job->close = SESSION_NAKED;
	return is_message || job->nak_due;
}

/* Handles the end of a stream, which may cut off a character. */
static int next_stream_end(struct session *session, struct session_io *io, struct session_job *job)
{
	struct utf8_carry carry = session->place.carry;

	if (carry.length == 0)
		return 0;
	check_end(session, job, session->place.received);
	if (job->nak_due) {
		reply_report(session, io, session->place.messages + 1, true,
			     bytes(carry.bytes, carry.length), bytes(NULL, 0));
	} else {
		memcpy(job->head, carry.bytes, carry.length);
		job->head_length = carry.length;
	}
	return answer_read(session, io, job, job->input, 0);
}

static int next_stream(struct session *session, struct session_io *io, struct session_job *job)
{
	size_t n = job->input_length;
	struct piece piece = {
		.p = job->input,
		.n = n,
		.ahead = n,
		.offset = session->place.received,
		.checked = job->checked,
	};
	size_t begin, at, carried, length = 0;
	const uint8_t *text;

	if (n == 0)
		return job->end ? next_stream_end(session, io, job) : 0;
	begin = at = check_carry(session, job, &piece);
	text = job->input + begin;
	carried = job->head_length > begin ? job->head_length - begin : 0;
	if (job->nak_due) {
		job->head_length = 0;
	} else if (begin < n) {
		at = check_piece(session, job, &piece, begin);
		job->checked = piece.checked;
		if (job->nak_due)
			length = job->nak.offset - session->place.received - begin;
		else
			length = n - session->place.carry.length - begin;
	}
	if (job->nak_due)
		reply_report(session, io, session->place.messages + 1, true,
			     bytes(job->head, carried), bytes(job->input, n));
	job_consume(session, job, at);
	if (job->nak_due)
		job->input_length = 0;
	return answer_read(session, io, job, text, length);
}

/* ---- framed messages ---- */

/* The message has ended, so that the next one begins where the input continues. */
static void finish_message(struct session *session)
{
	session->place.skipping = false;
	session->place.message_length = 0;
}

/* Drops the rest of a rejected message. */
static void skip_message(struct session *session, struct session_job *job)
{
	struct extent extent = {0};

	boundary_search(session, job, &extent);
	job_consume(session, job, extent.end);
	if (extent.ended)
		finish_message(session);
}

/* Reports what has been received of a message that is refused. */
static void report_refused(struct session *session, struct session_io *io,
			   const struct session_job *job, const struct extent *extent)
{
	const struct policy *policy = session->policy;
	const struct buf *partial = &session->partial;
	const uint8_t *text = job->input + extent->head;
	size_t head = policy_head_length(policy), n = extent->text_end - extent->head;

	if (head > partial->length)
		head = partial->length;
	if (extent->ended && policy->framing == FRAMING_LINE) /* the text includes the terminator */
		n -= boundary_tail_length(policy, text, n);
	reply_report(session, io, session->place.messages + 1, true,
		     bytes(partial->data ? partial->data + head : NULL, partial->length - head),
		     bytes(text, n));
}

/*
 * Prepares the NAK that replaces the reply to the message, which is @extent. If it has not ended,
 * the rest of it is dropped.
 */
static int refuse_message(struct session *session, struct session_io *io, struct session_job *job,
			  const struct extent *extent)
{
	report_refused(session, io, job, extent);
	job_consume(session, job, extent->end);
	buf_finish(&session->partial, io->budget);
	session->place.carry.length = 0;
	session->place.dirty = false;
	session->place.message_length = 0;
	session->place.skipping = true;
	if (extent->ended)
		finish_message(session);
	count_message(session, io);
	job->phase = REPLY_NAK;
	return 1;
}

/*
 * Prepares the last NAK of the connection, because the next message cannot be found. @length bytes
 * of the message, whose text is in @extent, prove it.
 */
static int refuse_rest(struct session *session, struct session_io *io, struct session_job *job,
		       size_t length, const struct extent *extent)
{
	struct extent text = {.head = extent->head, .text_end = extent->text_end};

	session->place.received = message_start(session) + length;
	job->close = SESSION_NAKED;
	job->input_length = 0;
	return refuse_message(session, io, job, &text);
}

static int refuse_long_message(struct session *session, struct session_io *io,
			       struct session_job *job, const struct extent *extent)
{
	const struct policy *policy = session->policy;

	refuse(job, policy->framing == FRAMING_LINE ? NAK_LINE_TOO_LONG : NAK_FRAME_TOO_LONG,
	       message_start(session), 0);
	return refuse_rest(session, io, job,
			   policy_head_length(policy) + policy->max_message_bytes + 1, extent);
}

/* Appends the next @n bytes to the held message, and removes them from the input. */
static int keep(struct session *session, struct session_io *io, struct session_job *job, size_t n)
{
	int r = 0;

	if (policy_keeps(session->policy)) {
		session->place.dirty |= job->dirty;
		r = buf_append(&session->partial, io->budget, policy_frame_max(session->policy),
			       job->input, n);
	}
	if (r < 0)
		return r;
	job_consume(session, job, n);
	session->place.message_length += (uint32_t)n;
	return 0;
}

/*
 * Prepares the reply to a message. With what frames it, it is the @n bytes at @frame. The last
 * @tail of them end it.
 */
static int answer_message(struct session *session, struct session_io *io, struct session_job *job,
			  const uint8_t *frame, size_t n, size_t tail)
{
	size_t head = policy_head_length(session->policy);

	job->message_start = session->place.received - n;
	finish_message(session);
	if (!policy_is_bare(session->policy)) {
		job->start_length = (uint8_t)head;
		job->terminator_length = (uint8_t)tail;
	}
	/* a discarded line at the end of input has no bytes, not even an address */
	reply_begin(session, io, job, head > 0 ? frame + head : frame, n - head - tail);
	return 1;
}

/* Prepares the reply to the held message. The end of input ends it if @is_cut_off. */
static int answer_held(struct session *session, struct session_io *io, struct session_job *job,
		       bool is_cut_off)
{
	struct buf held = session->partial;
	size_t tail =
		is_cut_off ? 0 : boundary_tail_length(session->policy, held.data, held.length);

	job->partial = held;
	job->dirty |= session->place.dirty;
	session->partial = (struct buf){0};
	session->place.dirty = false;
	return answer_message(session, io, job, held.data, held.length, tail);
}

/* Takes the message that ends with the first @n bytes of the input. */
static int end_message(struct session *session, struct session_io *io, struct session_job *job,
		       size_t n)
{
	const uint8_t *frame = job->input;
	int r;

	if (session->partial.length > 0) {
		r = keep(session, io, job, n);
		return r < 0 ? r : answer_held(session, io, job, false);
	}
	job_consume(session, job, n);
	return answer_message(session, io, job, frame, n,
			      boundary_tail_length(session->policy, frame, n));
}

/* Handles the end of input in a line: it ends the line, and a character in it. */
static int next_line_end(struct session *session, struct session_io *io, struct session_job *job)
{
	static const struct extent nothing = {0};
	const struct session_place *place = &session->place;
	if (place->message_length == 0)
		return 0;
	if (place->message_length > session->policy->max_message_bytes)
		return refuse_long_message(session, io, job, &nothing);
	check_end(session, job, place->received);
	return job->nak_due ? refuse_message(session, io, job, &nothing)
			    : answer_held(session, io, job, true);
}

/* Handles the end of input, which leaves a message unfinished if one has begun. */
static int next_framed_end(struct session *session, struct session_io *io, struct session_job *job)
{
	static const struct extent nothing = {0};
	struct session_place *place = &session->place;

	if (place->skipping)
		return 0;
	if (session->policy->framing == FRAMING_LINE)
		return next_line_end(session, io, job);
	if (place->message_length > 0) {
		refuse(job, NAK_UNEXPECTED_END_OF_FRAME, message_start(session), 0);
	} else if (place->carry.length > 0) { /* a part of a header */
		refuse(job, NAK_UNEXPECTED_END_OF_FRAME, place->received - place->carry.length, 0);
	} else {
		boundary_give_up(session, io);
		return 0;
	}
	return refuse_message(session, io, job, &nothing);
}

/*
 * Checks the text that @extent has added to the message. A line is checked with its terminator, so
 * that one check can cover all lines in the input.
 */
static void check_extent(struct session *session, struct session_job *job,
			 const struct extent *extent)
{
	bool is_line = session->policy->framing == FRAMING_LINE;
	uint64_t received = session->place.received;
	struct piece early = {
		.p = session->policy->frame.end.bytes,
		.n = extent->released,
		.ahead = extent->released,
		.offset = received - extent->early,
	};
	struct piece piece = {
		.p = job->input + extent->head,
		.n = extent->text_end - extent->head,
		.ahead = (is_line ? job->input_length : extent->text_end) - extent->head,
		.offset = received + extent->head,
		.checked = is_line ? job->checked : 0,
	};

	check_piece(session, job, &early, check_carry(session, job, &early));
	if (!job->nak_due)
		check_piece(session, job, &piece, check_carry(session, job, &piece));
	if (is_line)
		job->checked = piece.checked;
	else if (extent->ended && !job->nak_due)
		check_end(session, job,
			  received + extent->text_end - (extent->early - extent->released));
	job->head_length = 0; /* the message includes it */
}

static int next_framed(struct session *session, struct session_io *io, struct session_job *job)
{
	struct extent extent = {0};
	int r;

	if (session->place.skipping && job->input_length > 0)
		skip_message(session, job);
	if (job->input_length == 0)
		return job->end ? next_framed_end(session, io, job) : 0;
	if (session->place.message_length == 0) {
		r = boundary_begin(session, io, job, &extent.head);
		if (r <= 0)
			return r;
		if (job->nak_due) {
			extent.text_end = extent.head;
			return refuse_rest(session, io, job, policy_head_length(session->policy),
					   &extent);
		}
	}
	boundary_search(session, job, &extent);
	check_extent(session, job, &extent);
	if (job->nak_due)
		return refuse_message(session, io, job, &extent);
	if (extent.ended)
		return end_message(session, io, job, extent.end);
	if (extent.too_long)
		return refuse_long_message(session, io, job, &extent);
	return keep(session, io, job, extent.end);
}

int frame_next(struct session *session, struct session_io *io, struct session_job *job)
{
	int r;

	job->ill_formed = 0;
	job->dirty = false;
	job->nak_due = false;
	job->head_length = 0;
	job->start_length = 0;
	job->terminator_length = 0;
	r = policy_is_framed(session->policy) ? next_framed(session, io, job)
					      : next_stream(session, io, job);
	if (job->ill_formed > 0 && io->on_count)
		io->on_count(io->event_data, SESSION_ILL_FORMED, job->ill_formed);
	return r;
}
