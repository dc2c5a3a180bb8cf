/*
 * Where messages begin and end. Only the functions of this file know how the received bytes show
 * it; the rest of a session works for any framing. They look at each byte once, wherever the reads
 * end: what a read leaves undecided is in place.count and place.carry.
 */

#include "core/session/internal.h"

#include <string.h>

/* ---- begin ---- */

/*
 * Holds the @n bytes at @p, which begin a message and were received before the input. Returns 1,
 * -ENOBUFS or -ENOMEM.
 */
static int keep_early(struct session *session, struct session_io *io, const uint8_t *p, size_t n)
{
	const struct policy *policy = session->policy;
	int r;

	if (n == 0 || !policy_keeps(policy))
		return 1;
	r = buf_append(&session->partial, io->budget, policy_frame_max(policy), p, n);
	return r < 0 ? r : 1;
}

static void count_skipped(struct session_io *io, size_t n)
{
	if (n > 0 && io->on_count)
		io->on_count(io->event_data, SESSION_SKIPPED_BYTES, n);
}

/* A part of frame.start begins no message. */
void boundary_give_up(struct session *session, struct session_io *io)
{
	count_skipped(io, session->place.count);
	session->place.count = 0;
}

/* Searches frame.start, and drops what precedes it. */
static int begin_after_mark(struct session *session, struct session_io *io, struct session_job *job,
			    size_t *ret_head)
{
	const struct mark *start = &session->policy->frame.start;
	struct session_place *place = &session->place;
	uint8_t matched = (uint8_t)place->count;
	size_t undecided = matched, used, early;
	bool found = mark_find(start, job->input, job->input_length, &matched, &used);

	count_skipped(io, undecided + used - matched);
	early = matched > used ? matched - used : 0;
	job_consume(session, job, found ? used - (start->length - early) : used);
	place->count = found ? 0 : matched;
	if (!found)
		return 0;
	place->message_length = (uint32_t)early;
	*ret_head = start->length - early;
	return keep_early(session, io, start->bytes, early);
}

/* Reads the header, which states the length of the message. */
static int begin_with_length(struct session *session, struct session_io *io,
			     struct session_job *job, size_t *ret_head)
{
	const struct policy *policy = session->policy;
	struct session_place *place = &session->place;
	size_t early = place->carry.length, rest = policy->frame.length_bytes - early;
	uint8_t header[LENGTH_BYTES_MAX];
	int64_t length;

	if (job->input_length < rest) {
		memcpy(place->carry.bytes + early, job->input, job->input_length);
		place->carry.length += (uint8_t)job->input_length;
		job_consume(session, job, job->input_length);
		return 0;
	}
	memcpy(header, place->carry.bytes, early);
	memcpy(header + early, job->input, rest);
	place->carry.length = 0;
	place->message_length = (uint32_t)early;
	length = policy_read_length(policy, header);
	if (length < 0)
		refuse(job, NAK_INVALID_LENGTH, message_start(session), 0);
	else if (length > policy->max_message_bytes)
		refuse(job, NAK_FRAME_TOO_LONG, message_start(session), 0);
	else
		place->count = (uint32_t)length;
	*ret_head = rest;
	return job->nak_due ? 1 : keep_early(session, io, header, early);
}

int boundary_begin(struct session *session, struct session_io *io, struct session_job *job,
		   size_t *ret_head)
{
	const struct policy *policy = session->policy;

	*ret_head = 0;
	switch (policy->framing) {
	case FRAMING_DELIMITED:
		return policy->frame.start.length == 0
			       ? 1
			       : begin_after_mark(session, io, job, ret_head);
	case FRAMING_LENGTH:
		return begin_with_length(session, io, job, ret_head);
	case FRAMING_FIXED:
		session->place.count = policy->frame.size;
		break;
	case FRAMING_STREAM:
	case FRAMING_LINE:
		break;
	}
	return 1;
}

/* ---- end ---- */

/*
 * Returns how many of the next @n > 0 bytes at @p may belong to a line, @length bytes of which were
 * received before. Sets *@ret_too_long to whether the line exceeds @max if it does not end within
 * these bytes. The limit excludes the terminator, so one byte more is taken that may be LF or CR,
 * and an LF after that CR.
 *
 * @length may exceed the limit, as the previous process may have had a larger one.
 */
static size_t line_room(uint64_t max, uint64_t length, const uint8_t *p, size_t n,
			bool *ret_too_long)
{
	uint64_t room = length <= max ? max + 1 - length : 0;
	bool is_ended;

	*ret_too_long = n > room || (n == room && p[n - 1] != '\r');
	if (n <= room)
		return n;
	is_ended = p[room] == '\n' && (room == 0 || p[room - 1] == '\r');
	return (size_t)room + is_ended;
}

/* The text of a line includes its terminator, which can prove a fault. */
static void search_line(const struct session *session, const struct session_job *job,
			struct extent *extent)
{
	const struct session_place *place = &session->place;
	size_t n = job->input_length;
	const uint8_t *lf;

	if (!place->skipping)
		n = line_room(session->policy->max_message_bytes, place->message_length, job->input,
			      n, &extent->too_long);
	lf = memchr(job->input, '\n', n);
	extent->ended = lf != NULL;
	extent->end = extent->text_end = lf ? (size_t)(lf - job->input) + 1 : n;
}

/*
 * Searches frame.end. Bytes that match a part of it at the end of the input are text only if the
 * next bytes do not complete it.
 */
static void search_mark(struct session *session, const struct session_job *job,
			struct extent *extent)
{
	const struct policy *policy = session->policy;
	const struct mark *end = &policy->frame.end;
	struct session_place *place = &session->place;
	uint64_t before = (uint64_t)place->message_length + extent->head;
	uint64_t outside = (uint64_t)policy->frame.start.length + place->count;
	uint64_t allowed = policy->max_message_bytes; /* bytes of text that may follow */
	size_t n = job->input_length - extent->head, used, text;
	uint8_t matched = (uint8_t)place->count;

	before = before > outside ? before - outside : 0;
	allowed = allowed > before ? allowed - before : 0;
	if (place->skipping)
		allowed = UINT64_MAX;
	else if (n > allowed + end->length - matched)
		n = (size_t)allowed + end->length - matched;
	extent->early = matched;
	extent->ended = mark_find(end, job->input + extent->head, n, &matched, &used);
	place->count = extent->ended ? 0 : matched;
	extent->end = extent->head + used;
	extent->released = extent->early - (matched > used ? matched - used : 0);
	text = used - (matched < used ? matched : used);
	extent->too_long = extent->released + text > allowed;
	if (extent->released > allowed)
		extent->released = (size_t)allowed;
	if (text > allowed - extent->released)
		text = (size_t)(allowed - extent->released);
	extent->text_end = extent->head + text;
}

/* Counts down place.count. */
static void search_length(struct session *session, const struct session_job *job,
			  struct extent *extent)
{
	size_t n = job->input_length - extent->head;

	extent->ended = n >= session->place.count;
	if (extent->ended)
		n = session->place.count;
	session->place.count -= (uint32_t)n;
	extent->end = extent->text_end = extent->head + n;
}

void boundary_search(struct session *session, const struct session_job *job, struct extent *extent)
{
	switch (session->policy->framing) {
	case FRAMING_LINE:
		search_line(session, job, extent);
		break;
	case FRAMING_DELIMITED:
		search_mark(session, job, extent);
		break;
	case FRAMING_LENGTH:
	case FRAMING_FIXED:
		search_length(session, job, extent);
		break;
	case FRAMING_STREAM:
		break;
	}
}

size_t boundary_tail_length(const struct policy *policy, const uint8_t *p, size_t n)
{
	switch (policy->framing) {
	case FRAMING_LINE:
		return n > 1 && p[n - 2] == '\r' ? 2 : 1;
	case FRAMING_DELIMITED:
		return policy->frame.end.length;
	case FRAMING_STREAM:
	case FRAMING_LENGTH:
	case FRAMING_FIXED:
		break;
	}
	return 0;
}
