/*
 * The life of a session. session_feed() receives input, frame_next() cuts it into messages, and
 * reply_put() answers them. This continues until the input is used up (SESSION_IDLE), io->out is
 * full (SESSION_FULL) or no more replies follow (SESSION_DONE).
 *
 * Three loops take a shorter way for UTF-8, or bytes that need no check, if the input is
 * well-formed, the replies are in the same charset and templates have no variables: session_feed()
 * itself answers a read in stream framing, fast_lines() answers lines, fast_frames() answers
 * frames. They give the same results as the general path for what they accept.
 *
 * When io->out is full, the job stays in io->job, and session_resume() continues it. If io->out
 * cannot be sent immediately, session_hold() moves the job to the heap with a copy of its input,
 * because other sessions use io meanwhile. That memory, and that of a held line, is freed by
 * session_io_clear(), after the spans that point into it are discarded.
 */

#include "core/session/session.h"

#include "core/session/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A job whose earlier replies must be sent first, with a copy of its input. */
struct session_held {
	struct session_job job;
	size_t size_bytes; /* total size, as charged to the budget */
	uint8_t bytes[];
};

/* every connection has one, even an idle one */
static_assert(sizeof(struct session) <= 80, "struct session has grown");

int session_io_init(struct session_io *io, struct budget *budget)
{
	uint8_t *area = malloc(SESSION_AREA_BYTES);

	if (!area)
		return -ENOMEM;
	*io = (struct session_io){
		.out = {.max_bytes = SESSION_REPLY_MAX, .area = area},
		.budget = budget,
	};
	return 0;
}

static void held_free(struct session_held *held, struct budget *budget)
{
	if (!held)
		return;
	buf_finish(&held->job.partial, budget);
	budget_give(budget, held->size_bytes);
	free(held);
}

/* Ends the job that was left at SESSION_FULL, if any. */
static void session_io_abandon(struct session_io *io)
{
	if (io->full)
		buf_finish(&io->job.partial, io->budget);
	io->full = NULL;
}

void session_io_free_spent(struct session_io *io)
{
	if (io->spent_partial.data)
		buf_finish(&io->spent_partial, io->budget);
	if (io->spent) {
		held_free(io->spent, io->budget);
		io->spent = NULL;
	}
}

void session_io_finish(struct session_io *io)
{
	session_io_clear(io);
	session_io_abandon(io);
	free(io->out.area);
	io->out.area = NULL;
}

void session_init(struct session *session, const struct policy *policy, const char *names,
		  uint64_t connection)
{
	*session = (struct session){
		.policy = policy,
		.names = names,
		.connection = connection,
		.place.last_byte = '\n',
	};
}

void session_finish(struct session *session, struct session_io *io)
{
	if (io->full == session)
		session_io_abandon(io);
	held_free(session->held, io->budget);
	session->held = NULL;
	buf_finish(&session->partial, io->budget);
	session->place.carry.length = 0;
}

/* Records the last byte of io->out as the last byte sent. */
static inline void note_last_byte(struct session *session, const struct session_io *io)
{
	if (io->out.n_bytes == 0)
		return;
	session->place.last_byte = out_last_byte(&io->out);
}

void session_refuse(const struct session *session, struct session_io *io, const struct nak *nak)
{
	if (session->policy->nak)
		reply_nak(session, io, nak);
}

int session_greet(struct session *session, struct session_io *io)
{
	reply_greet(session, io);
	note_last_byte(session, io);
	if (session->policy->reply != REPLY_CLOSE)
		return SESSION_IDLE;
	session->place.done = SESSION_CLOSED;
	return SESSION_DONE;
}

/* ---- input ---- */

/*
 * Answers messages until the input is used up, io->out is full, the session is done, or an error
 * occurs.
 */
static int session_answer(struct session *session, struct session_io *io, struct session_job *job)
{
	for (;;) {
		size_t before;
		int r;

		if (job->phase != REPLY_NOTHING && !reply_put(session, io, job))
			return SESSION_FULL;
		if (job->close)
			return SESSION_DONE;
		fast_lines(session, io, job);
		if (job->input_length == 0 && !job->end)
			return SESSION_IDLE;
		before = job->input_length;
		r = frame_next(session, io, job);
		if (r < 0)
			return r;
		if (r == 0 && !job->end)
			return SESSION_IDLE;
		/* the next call answers the end: this one may have finished a line that was held */
		if (r == 0)
			return before > 0 ? SESSION_FULL : SESSION_DONE;
	}
}

/* Continues @job, which is io->job or the session's held job. */
static int session_run(struct session *session, struct session_io *io, struct session_job *job)
{
	int state = session_answer(session, io, job);

	note_last_byte(session, io);
	if (state == SESSION_DONE) {
		session->place.done = job->close ? job->close : SESSION_ENDED;
		buf_finish(&session->partial, io->budget);
	}
	if (state == SESSION_FULL) {
		if (!session->held)
			io->full = session;
	} else if (session->held) {
		io->spent = session->held;
		session->held = NULL;
	}
	return state;
}

/*
 * Answers @n bytes at @data; the first @checked bytes are known to be well-formed. Out of line:
 * most input takes the fast path, which then saves fewer registers.
 */
__attribute__((noinline)) static int session_start(struct session *session, struct session_io *io,
						   const uint8_t *data, size_t n, size_t checked,
						   bool end)
{
	struct session_job *job = &io->job;

	if (session->place.done)
		return SESSION_DONE;
	if (io->full)
		session_io_abandon(io);
	job->input = data;
	job->input_length = n;
	job->checked = checked;
	job->end = end;
	job->close = SESSION_OPEN;
	job->phase = REPLY_NOTHING;
	job->partial = (struct buf){0};
	return session_run(session, io, job);
}

/* ---- the fast path of stream framing ---- */

static uint8_t *put(uint8_t *out, const uint8_t *bytes, size_t n)
{
	memcpy(out, bytes, n);
	return out + n;
}

/*
 * Copies the reply to a message to io->out: an acknowledgement, or the message itself for echo. The
 * message is the session's carry and @n bytes at @data. Returns false if a span would be cheaper,
 * if it does not fit, or if a template has variables.
 */
__attribute__((noinline)) static bool copy_reply(struct session *session, struct session_io *io,
						 const uint8_t *data, size_t n)
{
	const struct policy *policy = session->policy;
	struct template_constant prefix = {(const uint8_t *)"", 0}, suffix = prefix;
	const struct utf8_carry *carry = &session->place.carry;
	uint8_t *begin = out_area(&io->out), *out = begin;

	if (n >= OUT_REFERENCE_MIN)
		return false;
	if (policy->reply == REPLY_ACK && (!template_constant(policy->ack_prefix, &prefix) ||
					   !template_constant(policy->ack_suffix, &suffix)))
		return false;
	if (prefix.length + carry->length + n + suffix.length > out_area_room(&io->out))
		return false;
	out = put(out, prefix.bytes, prefix.length);
	out = put(out, carry->bytes, carry->length);
	out = put(out, data, n);
	out = put(out, suffix.bytes, suffix.length);
	out_commit(&io->out, (size_t)(out - begin));
	note_last_byte(session, io);
	return true;
}

/*
 * Answers a read of @n bytes at @data that continues a character or ends within one. Without a
 * carry, @checked is the result of their check.
 */
static bool cut_read(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		     struct utf8_checked checked)
{
	struct utf8_carry carry = session->place.carry;

	if (carry.length == 0)
		utf8_carry_set(&carry, data + checked.valid, checked.length);
	else
		checked = utf8_check_next(&carry, data, n);
	if ((checked.status != UTF8_COMPLETE && checked.status != UTF8_PARTIAL) ||
	    checked.valid == 0)
		return false;
	if (session->policy->reply != REPLY_DISCARD &&
	    !copy_reply(session, io, data, checked.valid))
		return false;
	session->place.carry = carry;
	return true;
}

/* Counts a read of @n bytes that was answered. */
static inline int answered_read(struct session *session, struct session_io *io, size_t n)
{
	session->place.received += n;
	session->place.messages++;
	io->n_messages++;
	return SESSION_IDLE;
}

/* session_feed() for a stream whose policy is not a plain echo, or whose text is not whole. */
__attribute__((noinline)) static int feed_text(struct session *session, struct session_io *io,
					       const uint8_t *data, size_t n,
					       struct utf8_checked checked)
{
	const struct policy *policy = session->policy;
	bool answered = false;

	if (checked.status == UTF8_PARTIAL)
		answered = cut_read(session, io, data, n, checked);
	else if (checked.status == UTF8_COMPLETE)
		answered = policy->reply == REPLY_DISCARD || copy_reply(session, io, data, n);
	return answered ? answered_read(session, io, n)
			: session_start(session, io, data, n, checked.valid, false);
}

/* Answers a read in a stream of bytes that need no check. */
static int feed_bytes(struct session *session, struct session_io *io, const uint8_t *data, size_t n)
{
	const struct policy *policy = session->policy;

	if (session->place.done || io->full || n == 0 || n > io->out.max_bytes)
		return session_start(session, io, data, n, 0, false);
	if (policy->reply == REPLY_ECHO) {
		out_set(&io->out, data, n);
		session->place.last_byte = data[n - 1];
	} else if (policy->reply != REPLY_DISCARD && !copy_reply(session, io, data, n)) {
		return session_start(session, io, data, n, n, false);
	}
	return answered_read(session, io, n);
}

/* session_feed() for any other path. */
__attribute__((noinline, hot)) static int feed_other(struct session *session, struct session_io *io,
						     const uint8_t *data, size_t n)
{
	enum path path = session->policy->path;

	if (path == PATH_STREAM_BYTES)
		return feed_bytes(session, io, data, n);
	return session_start(session, io, data, n, path == PATH_LINE_BYTES ? n : 0, false);
}

__attribute__((hot)) int session_feed(struct session *session, struct session_io *io,
				      const uint8_t *data, size_t n)
{
	const struct policy *policy = session->policy;
	struct utf8_checked checked;

	if (policy->path != PATH_STREAM)
		return feed_other(session, io, data, n);
	if (session->place.done || io->full || n == 0)
		return session_start(session, io, data, n, 0, false);
	if (session->place.carry.length > 0)
		return feed_text(session, io, data, n,
				 (struct utf8_checked){.status = UTF8_PARTIAL});
	checked = utf8_check(data, n);
	if (checked.status != UTF8_COMPLETE || session->policy->reply != REPLY_ECHO ||
	    n > io->out.max_bytes)
		return feed_text(session, io, data, n, checked);
	out_set(&io->out, data, n);
	session->place.last_byte = data[n - 1];
	return answered_read(session, io, n);
}

/* ---- other input ---- */

/* Returns how many of @n bytes are known to be well-formed before a check: all or none. */
static size_t known_bytes(const struct session *session, size_t n)
{
	return transcoder_copies(&session->policy->transcoder) ? n : 0;
}

int session_feed_all(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		     bool end)
{
	return session_start(session, io, data, n, known_bytes(session, n), end);
}

int session_end(struct session *session, struct session_io *io)
{
	return session_feed_all(session, io, (const uint8_t *)"", 0, true);
}

int session_resume(struct session *session, struct session_io *io)
{
	if (session->held)
		return session_run(session, io, &session->held->job);
	if (io->full != session)
		return session->place.done ? SESSION_DONE : SESSION_IDLE;
	io->full = NULL;
	return session_run(session, io, &io->job);
}

/* Returns whether @job still needs its message, and that message lies in the input. */
static bool job_needs_body(const struct session_job *job)
{
	return job->phase != REPLY_NAK && job->phase != REPLY_NOTHING && !job->partial.data;
}

/* Returns the first byte that @job still needs. A message in the input lies before job->input. */
static const uint8_t *job_begin(const struct policy *policy, const struct session_job *job)
{
	const uint8_t *body = job->body;

	if (!job_needs_body(job))
		return job->input;
	/* a field after the message is made when the message has been sent */
	if (template_variables(policy_after(policy)) & TEMPLATE_FIELD)
		body = job->message;
	return body - job->start_length;
}

/* Allocates a held job with room for @n bytes of input. Returns 0, -ENOBUFS or -ENOMEM. */
static int held_create(struct session_io *io, size_t n, struct session_held **ret_held)
{
	size_t size = sizeof(struct session_held) + n;
	struct session_held *held;

	if (!budget_take(io->budget, size))
		return -ENOBUFS;
	held = malloc(size);
	if (!held) {
		budget_give(io->budget, size);
		return -ENOMEM;
	}
	held->job = (struct session_job){.input = held->bytes, .phase = REPLY_NOTHING};
	held->size_bytes = size;
	*ret_held = held;
	return 0;
}

int session_hold(struct session *session, struct session_io *io)
{
	struct session_job *job = &io->job;
	const uint8_t *begin = job_begin(session->policy, job);
	struct session_held *held;
	size_t n;
	int r;

	if (io->full != session)
		return 0;
	n = (size_t)(job->input + job->input_length - begin);
	r = held_create(io, n, &held);
	if (r < 0)
		return r;
	held->job = *job;
	if (n > 0)
		memcpy(held->bytes, begin, n);
	if (job_needs_body(job)) {
		held->job.body = held->bytes + (job->body - begin);
		held->job.message =
			job->message >= begin ? held->bytes + (job->message - begin) : NULL;
	}
	held->job.input = held->bytes + (job->input - begin);
	session->held = held;
	io->full = NULL;
	return 0;
}

int session_defer(struct session *session, struct session_io *io, const struct iovec *input,
		  unsigned n_input, bool end)
{
	struct session_held *held;
	size_t n = 0;
	int r;

	for (unsigned i = 0; i < n_input; i++)
		n += input[i].iov_len;
	if (session->place.done || (n == 0 && !end))
		return 0;
	r = held_create(io, n, &held);
	if (r < 0)
		return r;
	held->job.end = end;
	for (unsigned i = 0; i < n_input; i++) {
		memcpy(held->bytes + held->job.input_length, input[i].iov_base, input[i].iov_len);
		held->job.input_length += input[i].iov_len;
	}
	held->job.checked = known_bytes(session, n);
	session->held = held;
	return 0;
}

size_t session_held_bytes(const struct session *session)
{
	const struct session_held *held = session->held;

	return session->partial.capacity +
	       (held ? held->size_bytes + held->job.partial.capacity : 0);
}

/* ---- from one process to the next ---- */

static void rest_add(struct session_rest *rest, const uint8_t *p, size_t n)
{
	if (n > 0)
		rest->input[rest->n_input++] = (struct iovec){(void *)(uintptr_t)p, n};
}

/*
 * Fills @rest. The next session is fed the bytes of an unfinished message again. In a message that
 * is discarded or skipped, and before a message, it is fed only what is undecided: a part of a
 * character, header or mark.
 */
static void rest_fill(const struct session *session, const struct session_job *job,
		      struct session_rest *rest)
{
	const struct session_place *from = &session->place;
	const struct policy *policy = session->policy;
	const struct frame *frame = &policy->frame;
	const struct mark *mark = message_has_begun(session) ? &frame->end : &frame->start;
	size_t matched = policy->framing == FRAMING_DELIMITED ? from->count : 0;
	size_t held = session->partial.length;
	size_t again = held > 0 ? held : from->carry.length + matched;
	struct session_place *place = &rest->place;

	*rest = (struct session_rest){.place = *from, .ended = job && job->end};
	if (job && job->close)
		place->done = job->close;
	place->dirty = false;
	place->carry = (struct utf8_carry){0};
	if (place->done) {
		place->message_length = place->count = 0;
		place->skipping = false;
		return;
	}
	place->received -= again;
	if (from->message_length > 0)
		place->message_length -= (uint32_t)again;
	if (place->message_length == 0 && !from->skipping)
		place->count = 0; /* the message begins again */
	else
		place->count = matched > 0 || from->count == 0 ? 0 : from->count + (uint32_t)again;
	if (held > 0) {
		rest_add(rest, session->partial.data, held);
	} else {
		rest_add(rest, from->carry.bytes, from->carry.length);
		rest_add(rest, mark->bytes, matched);
	}
	if (job)
		rest_add(rest, job->input, job->input_length);
}

/* Takes back the count of an unfinished message, whose bytes the next session checks again. */
static void take_back(const struct session *session, const struct session_io *io)
{
	const struct policy *policy = session->policy;
	const struct buf *partial = &session->partial;
	size_t head = policy_head_length(policy);
	size_t matched = policy->framing == FRAMING_DELIMITED ? session->place.count : 0;
	size_t unchecked = session->place.carry.length + matched;
	size_t n;

	if (!session->place.dirty || partial->length <= head + unchecked || !io->on_count)
		return;
	n = decode_count_faults(policy->transcoder.from, partial->data + head,
				partial->length - head - unchecked);
	io->on_count(io->event_data, SESSION_ILL_FORMED, -(int64_t)n);
}

int session_suspend(struct session *session, struct session_io *io, struct session_rest *ret_rest)
{
	struct session_job *job = session->held ? &session->held->job : NULL;

	if (job && job->phase != REPLY_NOTHING) {
		bool all = reply_put(session, io, job);

		note_last_byte(session, io);
		if (!all)
			return SESSION_FULL;
	}
	take_back(session, io);
	rest_fill(session, job, ret_rest);
	return SESSION_IDLE;
}

void session_restore(struct session *session, const struct session_place *place)
{
	const struct policy *policy = session->policy;
	bool counts = policy->framing == FRAMING_LENGTH || policy->framing == FRAMING_FIXED;

	session->place = *place;
	if (policy->reply == REPLY_CLOSE && place->done == SESSION_OPEN)
		session->place.done = SESSION_CLOSED;
	if (!counts)
		session->place.count = 0;
	if (!policy_is_framed(policy) || (counts && place->count == 0)) {
		/* where the current message of another framing ends is not known */
		session->place.skipping = false;
		session->place.message_length = 0;
	} else if (policy_keeps(policy) && place->message_length > 0) {
		/* the beginning of a discarded message is gone, so the rest cannot be answered */
		session->place.skipping = true;
	}
	if (session->place.skipping)
		session->place.message_length = 0;
}
