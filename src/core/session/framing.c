/*
 * Cuts the input into messages. One pass checks each byte once for what the error handlers replace
 * or reject, and finds where the message ends. In a stream, that is the end of each read. In any
 * other framing a message ends where the data say so: it is held until then, and a fault in it
 * replaces its reply.
 */

#include "core/session/internal.h"

#include <string.h>

/*
 * ---- where a message ends ----
 *
 * Only these three functions know how the data end a message; the rest of this file works for any
 * framing. Lines are the only case so far, so the last two have no switch yet.
 */

/* The longest terminator: CR LF. */
#define TERMINATOR_MAX 2

/* Where a message ends, as positions in the input: its text, and the terminator after it. */
struct end {
	size_t text, frame;
};

/* Searches the input from @from up to @to for the end of the current message. */
static inline bool find_end(const struct session *session, const struct session_job *job,
			    size_t from, size_t to, struct end *ret_end)
{
	const uint8_t *lf;

	switch (session->policy->framing) {
	case FRAMING_LINE:
		lf = memchr(job->input + from, '\n', to - from);
		if (!lf)
			return false;
		ret_end->text = (size_t)(lf - job->input);
		ret_end->frame = ret_end->text + 1;
		return true;
	case FRAMING_STREAM:
		break;
	}
	return false;
}

/* Returns the length of the terminator of a message: the last of the @n > 0 bytes at @p. */
static size_t terminator_length(const uint8_t *p, size_t n)
{
	return n > 1 && p[n - 2] == '\r' ? 2 : 1;
}

/*
 * Returns how many of the next @n > 0 bytes at @p may belong to the message, @length bytes of which
 * were received before. Sets *@ret_too_long to whether the message exceeds the limit if it does not
 * end within these bytes. The limit excludes the terminator, so one byte more is taken that may be
 * LF or CR, and an LF after that CR.
 *
 * @length may exceed the limit, as the previous process may have had a larger one.
 */
static size_t message_room(const struct policy *policy, uint64_t length, const uint8_t *p, size_t n,
			   bool *ret_too_long)
{
	const uint64_t max = policy->max_message_bytes;
	size_t room = length <= max ? max + 1 - length : 0;
	bool is_ended;

	*ret_too_long = n > room || (n == room && p[n - 1] != '\r');
	if (n <= room)
		return n;
	is_ended = p[room] == '\n' && (room == 0 || p[room - 1] == '\r');
	return room + is_ended;
}

/* ---- the input ---- */

/* Returns the first @n bytes of the input as a piece of the text. */
static struct piece input_piece(const struct session *session, const struct session_job *job,
				size_t n)
{
	return (struct piece){
		.p = job->input,
		.n = n,
		.offset = session->place.received,
		.checked = job->checked,
		.ahead = job->input_length, /* one check covers all messages in it */
	};
}

/* Removes @n bytes from the input. */
static void consume(struct session *session, struct session_job *job, size_t n)
{
	job->input += n;
	job->input_length -= n;
	job->checked = job->checked > n ? job->checked - n : 0;
	session->place.received += n;
}

static void count_message(struct session *session, struct session_io *io)
{
	session->place.messages++;
	io->n_messages++;
}

/* ---- stream framing ---- */

/*
 * Prepares the reply to the text that a read completed, which is @job's head and body, and a NAK if
 * one is due.
 */
static int answer_read(struct session *session, struct session_io *io, struct session_job *job)
{
	const struct policy *policy = session->policy;
	bool is_message = job->head_length + job->body_length > 0;

	if (is_message && job->dirty && policy->transcoder.decode_errors == DECODE_IGNORE)
		is_message = transcode_count(&policy->transcoder, job->head, job->head_length) +
			     transcode_count(&policy->transcoder, job->body, job->body_length);
	if (is_message)
		count_message(session, io);
	job->message_bytes = job->head_length + job->body_length;
	if (is_message && policy->reply != REPLY_DISCARD)
		job->phase = REPLY_PREFIX;
	else if (job->nak_due)
		job->phase = REPLY_NAK;
	if (job->nak_due)
		job->close = true;
	return is_message || job->nak_due;
}

/* Handles the end of a stream, which may cut off a character. */
static int next_stream_end(struct session *session, struct session_io *io, struct session_job *job)
{
	struct utf8_carry carry = session->place.carry;

	if (carry.length == 0)
		return 0;
	check_end(session, job, session->place.received);
	if (!job->nak_due) {
		memcpy(job->head, carry.bytes, carry.length);
		job->head_length = carry.length;
	}
	job->body = job->input;
	job->body_length = 0;
	return answer_read(session, io, job);
}

static int next_stream(struct session *session, struct session_io *io, struct session_job *job)
{
	size_t n = job->input_length;
	struct piece piece = input_piece(session, job, n);
	size_t begin, at;

	if (n == 0)
		return job->end ? next_stream_end(session, io, job) : 0;
	begin = at = check_carry(session, job, &piece);
	job->body = job->input + begin;
	job->body_length = 0;
	if (job->nak_due) {
		job->head_length = 0;
	} else if (begin < n) {
		at = check_piece(session, job, &piece, begin);
		job->checked = piece.checked;
		if (job->nak_due)
			job->body_length = job->nak.offset - session->place.received - begin;
		else
			job->body_length = n - session->place.carry.length - begin;
	}
	consume(session, job, at);
	if (job->nak_due)
		job->input_length = 0;
	return answer_read(session, io, job);
}

/* ---- framed messages ---- */

/* Drops the rest of a rejected message. */
static void skip_message(struct session *session, struct session_job *job)
{
	struct end end;
	bool is_ended = find_end(session, job, 0, job->input_length, &end);

	consume(session, job, is_ended ? end.frame : job->input_length);
	if (is_ended) {
		session->place.skipping = false;
		session->place.message_start = session->place.received;
	}
}

/* Prepares the NAK that replaces the reply to the message, the rest of which is dropped. */
static int refuse_message(struct session *session, struct session_io *io, struct session_job *job)
{
	buf_finish(&session->partial, io->budget);
	session->place.carry.length = 0;
	session->place.dirty = false;
	session->place.skipping = true;
	count_message(session, io);
	job->phase = REPLY_NAK;
	return 1;
}

static int refuse_long_message(struct session *session, struct session_io *io,
			       struct session_job *job)
{
	refuse(job, NAK_LINE_TOO_LONG, session->place.message_start, 0);
	session->place.received =
		session->place.message_start + session->policy->max_message_bytes + 1;
	job->close = true;
	job->input_length = 0;
	return refuse_message(session, io, job);
}

/* Appends the next @n bytes to the held message, and removes them from the input. */
static int keep(struct session *session, struct session_io *io, struct session_job *job, size_t n)
{
	size_t max = (size_t)session->policy->max_message_bytes + TERMINATOR_MAX;
	int r = 0;

	if (session->policy->reply != REPLY_DISCARD) {
		session->place.dirty |= job->dirty;
		r = buf_append(&session->partial, io->budget, max, job->input, n);
	}
	if (r == 0)
		consume(session, job, n);
	return r;
}

/* Prepares the reply to a message of @length bytes at @message, before its terminator. */
static int answer_message(struct session *session, struct session_io *io, struct session_job *job,
			  const uint8_t *message, size_t length, size_t terminator)
{
	count_message(session, io);
	session->place.message_start = session->place.received;
	if (session->policy->reply == REPLY_DISCARD)
		return 1;
	job->body = message;
	job->body_length = length;
	job->message_bytes = length;
	job->terminator_length = (uint8_t)terminator;
	job->phase = REPLY_PREFIX;
	return 1;
}

/* Prepares the reply to the held message. @is_terminated is false if the end of input ends it. */
static int answer_held(struct session *session, struct session_io *io, struct session_job *job,
		       bool is_terminated)
{
	struct buf held = session->partial;
	size_t terminator = is_terminated ? terminator_length(held.data, held.length) : 0;

	job->partial = held;
	job->dirty |= session->place.dirty;
	session->partial = (struct buf){0};
	session->place.dirty = false;
	return answer_message(session, io, job, held.data, held.length - terminator, terminator);
}

/* Takes the message that ends with the first @length bytes of the input, terminator included. */
static int end_message(struct session *session, struct session_io *io, struct session_job *job,
		       size_t length)
{
	const uint8_t *message = job->input;
	size_t terminator;
	int r;

	if (session->partial.length > 0) {
		r = keep(session, io, job, length);
		return r < 0 ? r : answer_held(session, io, job, true);
	}
	terminator = terminator_length(message, length);
	consume(session, job, length);
	return answer_message(session, io, job, message, length - terminator, terminator);
}

/* Handles the end of input: an unfinished message, and a character that it cuts off. */
static int next_framed_end(struct session *session, struct session_io *io, struct session_job *job)
{
	uint64_t length = session->place.received - session->place.message_start;

	if (session->place.skipping || length == 0)
		return 0;
	if (length > session->policy->max_message_bytes)
		return refuse_long_message(session, io, job);
	check_end(session, job, session->place.received);
	if (job->nak_due)
		return refuse_message(session, io, job);
	return answer_held(session, io, job, false);
}

/* Checks the first @n bytes of the input, which belong to the message. Returns where it stopped. */
static size_t check_input(struct session *session, struct session_job *job, size_t n)
{
	struct piece piece = input_piece(session, job, n);
	size_t at = check_carry(session, job, &piece);

	job->head_length = 0; /* the held message includes the head */
	at = check_piece(session, job, &piece, at);
	job->checked = piece.checked;
	return at;
}

static int next_framed(struct session *session, struct session_io *io, struct session_job *job)
{
	bool too_long, is_ended;
	struct end end;
	size_t n, room, at;

	if (session->place.skipping && job->input_length > 0)
		skip_message(session, job);
	n = job->input_length;
	if (n == 0)
		return job->end ? next_framed_end(session, io, job) : 0;
	room = message_room(session->policy, session->place.received - session->place.message_start,
			    job->input, n, &too_long);
	is_ended = find_end(session, job, 0, room, &end);
	at = check_input(session, job, is_ended ? end.frame : room);
	if (job->nak_due) {
		consume(session, job, at);
		return refuse_message(session, io, job);
	}
	if (is_ended)
		return end_message(session, io, job, end.frame);
	if (too_long)
		return refuse_long_message(session, io, job);
	return keep(session, io, job, n);
}

int frame_next(struct session *session, struct session_io *io, struct session_job *job)
{
	job->dirty = false;
	job->nak_due = false;
	job->head_length = 0;
	job->terminator_length = 0;
	job->counted = 0;
	return policy_is_framed(session->policy) ? next_framed(session, io, job)
						 : next_stream(session, io, job);
}
