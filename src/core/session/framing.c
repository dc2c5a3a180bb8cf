#include "core/session/framing.h"

#include "core/session/reply.h"

#include <string.h>

/* ---- faults ---- */

static void refuse(struct session_job *job, enum nak_reason reason, uint64_t offset,
		   uint32_t code_point)
{
	job->nak = (struct nak){.reason = reason, .offset = offset, .code_point = code_point};
	job->nak_due = true;
}

static enum nak_reason nak_reason_of(enum utf8_status status)
{
	if (status == UTF8_INVALID_START)
		return NAK_INVALID_START;
	return status == UTF8_PARTIAL ? NAK_UNEXPECTED_END : NAK_INVALID_CONTINUATION;
}

/* Returns whether encoding can reject a character. */
static inline bool encodes_strictly(const struct policy *policy)
{
	return policy->transcoder.charset != CHARSET_UTF_8 &&
	       policy->transcoder.encode_errors == ENCODE_STRICT && policy->reply != REPLY_DISCARD;
}

/*
 * Searches @n bytes of well-formed text, received at @offset, for a character to reject. Returns
 * the number of bytes up to and including that character, or @n.
 */
static size_t check_text(const struct policy *policy, struct session_job *job, const uint8_t *text,
			 size_t n, uint64_t offset)
{
	size_t length;
	size_t good = charset_encodable(policy->transcoder.charset, text, n);

	if (good == n)
		return n;
	refuse(job, NAK_CANNOT_ENCODE, offset + good, utf8_code_point(text + good));
	utf8_character(text + good, n - good, &length);
	return good + length;
}

/* Rejects an ill-formed subsequence at @offset, or leaves it to the error handler. */
static void check_fault(const struct policy *policy, struct session_job *job,
			enum utf8_status status, uint64_t offset)
{
	if (policy->transcoder.decode_errors == DECODE_STRICT)
		refuse(job, nak_reason_of(status), offset, 0);
	else if (policy->transcoder.decode_errors == DECODE_REPLACE && encodes_strictly(policy))
		refuse(job, NAK_CANNOT_ENCODE, offset, 0xfffd);
	else
		job->dirty = true;
}

/* ---- looking at the input ---- */

/*
 * Continues a character that an earlier read cut off with at most @end bytes. Returns how many of
 * them it used.
 */
static size_t scan_carry(struct session *session, struct session_job *job, size_t end)
{
	uint64_t offset = session->place.received - session->carry.length;
	enum utf8_status status;
	size_t length, used;

	status = utf8_carry_join(&session->carry, job->input, end, job->head, &length, &used);
	if (status == UTF8_PARTIAL)
		return used;
	job->head_length = (uint8_t)length;
	if (status != UTF8_COMPLETE)
		check_fault(session->policy, job, status, offset);
	else if (encodes_strictly(session->policy))
		check_text(session->policy, job, job->head, length, offset);
	return used;
}

/* Checks the input from @at on, unless it is already checked. One check covers all lines in it. */
static void scan_ahead(struct session_job *job, size_t at)
{
	size_t valid, length;

	if (at < job->checked)
		return;
	utf8_check(job->input + at, job->input_length - at, &valid, &length);
	job->checked = at + valid;
}

/*
 * Handles the bytes at *@at, which are not a whole character within @end bytes, and advances *@at.
 */
static void scan_fault(struct session *session, struct session_job *job, size_t end, size_t *at)
{
	const uint8_t *p = job->input + *at;
	size_t length;
	enum utf8_status status = utf8_character(p, end - *at, &length);

	if (status == UTF8_PARTIAL)
		utf8_carry_set(&session->carry, p, length);
	else
		check_fault(session->policy, job, status, session->place.received + *at);
	*at += length;
}

/*
 * Scans the input from *@at up to @end. Returns true if it stops at the LF that ends a line.
 * Returns false after a rejected subsequence, with job->nak_due set, or at @end. A character cut
 * off by @end becomes the session's carry. *@at is set to where the scan stopped.
 */
static bool scan(struct session *session, struct session_job *job, size_t end, size_t *at)
{
	bool is_line = session->policy->framing == FRAMING_LINE;
	const uint8_t *p = job->input;

	while (*at < end) {
		const uint8_t *lf = NULL;
		size_t stop, whole;

		scan_ahead(job, *at);
		stop = job->checked < end ? job->checked : end;
		if (is_line)
			lf = memchr(p + *at, '\n', stop - *at);
		if (lf)
			stop = (size_t)(lf - p);
		/* @end may split a character that is whole in the input. */
		whole = stop;
		while (whole < job->checked && whole > *at && (p[whole] & 0xc0) == 0x80)
			whole--;
		if (encodes_strictly(session->policy))
			whole = *at + check_text(session->policy, job, p + *at, whole - *at,
						 session->place.received + *at);
		*at = whole;
		if (job->nak_due)
			return false;
		if (lf)
			return true;
		if (*at < end)
			scan_fault(session, job, end, at);
		if (job->nak_due)
			return false;
	}
	return false;
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
	struct utf8_carry *carry = &session->carry;

	if (carry->length == 0)
		return 0;
	check_fault(session->policy, job, UTF8_PARTIAL, session->place.received - carry->length);
	if (!job->nak_due) {
		memcpy(job->head, carry->bytes, carry->length);
		job->head_length = carry->length;
	}
	carry->length = 0;
	job->body = job->input;
	job->body_length = 0;
	return answer_read(session, io, job);
}

static int next_stream(struct session *session, struct session_io *io, struct session_job *job)
{
	size_t n = job->input_length;
	size_t at = 0;

	if (n == 0)
		return job->end ? next_stream_end(session, io, job) : 0;
	if (session->carry.length > 0)
		at = scan_carry(session, job, n);
	job->body = job->input + at;
	job->body_length = 0;
	if (job->nak_due) {
		job->head_length = 0;
	} else if (at < n) {
		size_t begin = at;

		scan(session, job, n, &at);
		if (job->nak_due)
			job->body_length = job->nak.offset - session->place.received - begin;
		else
			job->body_length = n - session->carry.length - begin;
	}
	consume(session, job, at);
	if (job->nak_due)
		job->input_length = 0;
	return answer_read(session, io, job);
}

/* ---- line framing ---- */

static void forget_line(struct session *session, struct session_io *io)
{
	buf_finish(&session->line, io->budget);
	session->carry.length = 0;
	session->line_dirty = false;
}

/* Drops the rest of a rejected line. */
static void skip_line(struct session *session, struct session_job *job)
{
	const uint8_t *lf = memchr(job->input, '\n', job->input_length);

	consume(session, job, lf ? (size_t)(lf - job->input) + 1 : job->input_length);
	if (lf) {
		session->place.skipping = false;
		session->place.line_start = session->place.received;
	}
}

static int refuse_line(struct session *session, struct session_io *io, struct session_job *job)
{
	forget_line(session, io);
	session->place.skipping = true;
	count_message(session, io);
	job->phase = REPLY_NAK;
	return 1;
}

static int refuse_long_line(struct session *session, struct session_io *io, struct session_job *job)
{
	refuse(job, NAK_LINE_TOO_LONG, session->place.line_start, 0);
	session->place.received = session->place.line_start + session->policy->max_line_bytes + 1;
	job->close = true;
	job->input_length = 0;
	return refuse_line(session, io, job);
}

/* Appends the next @n bytes to the held line. */
static int keep_line(struct session *session, struct session_io *io, struct session_job *job,
		     size_t n)
{
	size_t max = (size_t)session->policy->max_line_bytes + strlen("\r\n");

	if (session->policy->reply == REPLY_DISCARD)
		return 0;
	session->line_dirty |= job->dirty;
	return buf_append(&session->line, io->budget, max, job->input, n);
}

/* Prepares the reply to a line of @length bytes at @body, without the terminator. */
static int answer_line(struct session *session, struct session_io *io, struct session_job *job,
		       const uint8_t *body, size_t length)
{
	count_message(session, io);
	session->place.line_start = session->place.received;
	if (session->policy->reply == REPLY_DISCARD)
		return 1;
	job->body = body;
	job->body_length = length;
	job->message_bytes = length;
	job->phase = REPLY_PREFIX;
	return 1;
}

/* Prepares the reply to the held line, which ends with a terminator of @terminator_length bytes. */
static int answer_held_line(struct session *session, struct session_io *io, struct session_job *job,
			    size_t terminator_length)
{
	job->line = session->line;
	job->dirty |= session->line_dirty;
	job->terminator_length = (uint8_t)terminator_length;
	session->line = (struct buf){0};
	session->line_dirty = false;
	return answer_line(session, io, job, job->line.data, job->line.length - terminator_length);
}

/* Takes the line that ends with the LF at @at. */
static int end_line(struct session *session, struct session_io *io, struct session_job *job,
		    size_t at)
{
	const uint8_t *line = job->input;
	size_t length = at;
	int r;

	if (session->line.length > 0) {
		r = keep_line(session, io, job, at + 1);
		if (r < 0)
			return r;
		consume(session, job, at + 1);
		length = session->line.length - 1;
		line = session->line.data;
		return answer_held_line(session, io, job,
					length > 0 && line[length - 1] == '\r' ? 2 : 1);
	}
	if (length > 0 && line[length - 1] == '\r')
		length--;
	job->terminator_length = (uint8_t)(at + 1 - length);
	consume(session, job, at + 1);
	return answer_line(session, io, job, line, length);
}

/* Handles the end of input: a last line without a terminator, and a character that it cuts off. */
static int next_line_end(struct session *session, struct session_io *io, struct session_job *job)
{
	uint64_t length = session->place.received - session->place.line_start;

	if (session->place.skipping || length == 0)
		return 0;
	if (length > session->policy->max_line_bytes)
		return refuse_long_line(session, io, job);
	if (session->carry.length > 0)
		check_fault(session->policy, job, UTF8_PARTIAL,
			    session->place.received - session->carry.length);
	session->carry.length = 0;
	if (job->nak_due)
		return refuse_line(session, io, job);
	return answer_held_line(session, io, job, 0);
}

static int next_line(struct session *session, struct session_io *io, struct session_job *job)
{
	const uint8_t *p;
	const uint64_t max = session->policy->max_line_bytes;
	uint64_t length; /* of the line so far; may exceed @max, as the previous process may have
			    had a larger limit */
	size_t n, limit, end;
	size_t at = 0;
	int r;

	if (session->place.skipping && job->input_length > 0)
		skip_line(session, job);
	p = job->input;
	n = job->input_length;
	if (n == 0)
		return job->end ? next_line_end(session, io, job) : 0;
	/*
	 * The byte at @limit exceeds the limit. So does the byte before it, unless it is a CR
	 * followed by LF: then the line ends with that LF.
	 */
	length = session->place.received - session->place.line_start;
	limit = length <= max ? max + 1 - length : 0;
	end = n < limit ? n : limit;
	if (n > limit && p[limit] == '\n' && (limit == 0 || p[limit - 1] == '\r'))
		end++;
	if (session->carry.length > 0 && end > 0)
		at = scan_carry(session, job, end);
	job->head_length = 0; /* the held line includes the head */
	if (!job->nak_due && scan(session, job, end, &at))
		return end_line(session, io, job, at);
	if (job->nak_due) {
		consume(session, job, at);
		return refuse_line(session, io, job);
	}
	if (n > limit || (n == limit && p[n - 1] != '\r'))
		return refuse_long_line(session, io, job);
	r = keep_line(session, io, job, n);
	if (r == 0)
		consume(session, job, n);
	return r;
}

int frame_next(struct session *session, struct session_io *io, struct session_job *job)
{
	job->dirty = false;
	job->nak_due = false;
	job->head_length = 0;
	job->terminator_length = 0;
	job->counted = 0;
	if (session->policy->framing == FRAMING_LINE)
		return next_line(session, io, job);
	return next_stream(session, io, job);
}
