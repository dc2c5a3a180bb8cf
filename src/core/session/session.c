/*
 * The life of a session. session_feed() receives input, frame_next() cuts it into messages, and
 * reply_put() answers them. This continues until the input is used up (SESSION_IDLE), io->out is
 * full (SESSION_FULL) or no more replies follow (SESSION_DONE).
 *
 * When io->out is full, the job stays in io->job, and session_resume() continues it. If io->out
 * cannot be sent immediately, session_hold() moves the job to the heap with a copy of its input,
 * because other sessions use io meanwhile. That memory, and that of a held line, is freed by
 * session_io_clear(), after the spans that point into it are discarded.
 */

#include "core/session/session.h"

#include "core/session/fast_path.h"
#include "core/session/framing.h"
#include "core/session/out.h"
#include "core/session/reply.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* every connection has one, even an idle one */
static_assert(sizeof(struct session) <= 112, "struct session has grown");

int session_io_init(struct session_io *io, struct budget *budget)
{
	uint8_t *area = malloc(SESSION_AREA_BYTES);

	if (!area)
		return -ENOMEM;
	*io = (struct session_io){
		.budget = budget,
		.reply_max = SESSION_REPLY_MAX,
		.area = area,
	};
	return 0;
}

static void held_free(struct session_held *held, struct budget *budget)
{
	if (!held)
		return;
	buf_finish(&held->job.line, budget);
	budget_give(budget, held->size_bytes);
	free(held);
}

/* Ends the job that was left at SESSION_FULL, if any. */
static void session_io_abandon(struct session_io *io)
{
	if (io->full)
		buf_finish(&io->job.line, io->budget);
	io->full = NULL;
}

void session_io_free_spent(struct session_io *io)
{
	if (io->spent_line.data)
		buf_finish(&io->spent_line, io->budget);
	if (io->spent) {
		held_free(io->spent, io->budget);
		io->spent = NULL;
	}
}

void session_io_finish(struct session_io *io)
{
	session_io_clear(io);
	session_io_abandon(io);
	free(io->area);
	io->area = NULL;
}

void session_init(struct session *session, const struct policy *policy, const char *names,
		  uint64_t connection)
{
	*session = (struct session){.policy = policy, .names = names, .connection = connection};
}

void session_finish(struct session *session, struct session_io *io)
{
	if (io->full == session)
		session_io_abandon(io);
	held_free(session->held, io->budget);
	session->held = NULL;
	buf_finish(&session->line, io->budget);
	session->carry.length = 0;
}

void session_greet(struct session *session, struct session_io *io)
{
	reply_greet(session, io);
	out_note_last(io, session);
}

/*
 * Answers messages until the input is used up, io->out is full, the session is done, or an error
 * occurs.
 */
static int session_answer(struct session *session, struct session_io *io, struct session_job *job)
{
	for (;;) {
		int r;

		if (job->phase != REPLY_NOTHING && !reply_put(session, io, job))
			return SESSION_FULL;
		if (job->close)
			return SESSION_DONE;
		plain_lines(session, io, job);
		if (job->input_length == 0 && !job->end)
			return SESSION_IDLE;
		r = frame_next(session, io, job);
		if (r < 0)
			return r;
		if (r == 0)
			return job->end ? SESSION_DONE : SESSION_IDLE;
	}
}

/* Continues @job, which is io->job or the session's held job. */
static int session_run(struct session *session, struct session_io *io, struct session_job *job)
{
	int state = session_answer(session, io, job);

	out_note_last(io, session);
	if (state == SESSION_DONE) {
		session->place.done = true;
		buf_finish(&session->line, io->budget);
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

/* Answers @n bytes at @data; the first io->job.checked bytes are known to be well-formed. */
static int session_start(struct session *session, struct session_io *io, const uint8_t *data,
			 size_t n, bool end)
{
	struct session_job *job = &io->job;

	if (session->place.done)
		return SESSION_DONE;
	if (io->full)
		session_io_abandon(io);
	job->input = data;
	job->input_length = n;
	job->end = end;
	job->close = false;
	job->phase = REPLY_NOTHING;
	job->line = (struct buf){0};
	return session_run(session, io, job);
}

int session_feed_any(struct session *session, struct session_io *io, const uint8_t *data, size_t n)
{
	return session_start(session, io, data, n, false);
}

int session_feed_all(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		     bool end)
{
	io->job.checked = 0;
	return session_start(session, io, data, n, end);
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

/* Returns the first byte that @job still needs. A message in the input lies before job->input. */
static const uint8_t *job_begin(const struct session_job *job)
{
	bool in_input =
		job->phase >= REPLY_PREFIX && job->phase <= REPLY_TERMINATOR && !job->line.data;

	return in_input ? job->body : job->input;
}

int session_hold(struct session *session, struct session_io *io)
{
	struct session_job *job = &io->job;
	const uint8_t *begin = job_begin(job);
	struct session_held *held;
	size_t n, size;

	if (io->full != session)
		return 0;
	n = (size_t)(job->input + job->input_length - begin);
	size = sizeof(*held) + n;
	if (!budget_take(io->budget, size))
		return -ENOBUFS;
	held = malloc(size);
	if (!held) {
		budget_give(io->budget, size);
		return -ENOMEM;
	}
	held->job = *job;
	held->size_bytes = size;
	if (n > 0)
		memcpy(held->bytes, begin, n);
	if (begin == job->body)
		held->job.body = held->bytes;
	held->job.input = held->bytes + (job->input - begin);
	session->held = held;
	io->full = NULL;
	return 0;
}

/* ---- from one process to the next ---- */

static void rest_add(struct session_rest *rest, const uint8_t *p, size_t n)
{
	if (n > 0)
		rest->input[rest->n_input++] = (struct iovec){(void *)(uintptr_t)p, n};
}

/*
 * Fills @rest. The next session is fed the bytes of an unfinished line again. For a discarded line
 * it is fed only an unfinished character, and continues in the middle of the line.
 */
static void rest_fill(const struct session *session, const struct session_job *job,
		      struct session_rest *rest)
{
	const struct buf *line = &session->line;
	const struct utf8_carry *carry = &session->carry;
	size_t again = line->length > 0 ? line->length : carry->length;

	*rest = (struct session_rest){.place = session->place, .ended = job && job->end};
	rest->place.received -= again;
	/* a stream has no lines; if the next session uses line framing, a line begins here */
	if (session->policy->framing != FRAMING_LINE)
		rest->place.line_start = rest->place.received;
	if (job && job->close)
		rest->place.done = true;
	if (rest->place.done)
		return;
	rest_add(rest, line->length > 0 ? line->data : carry->bytes, again);
	if (job)
		rest_add(rest, job->input, job->input_length);
}

int session_suspend(struct session *session, struct session_io *io, struct session_rest *ret_rest)
{
	struct session_job *job = session->held ? &session->held->job : NULL;

	if (job && job->phase != REPLY_NOTHING) {
		bool all = reply_put(session, io, job);

		out_note_last(io, session);
		if (!all)
			return SESSION_FULL;
	}
	rest_fill(session, job, ret_rest);
	return SESSION_IDLE;
}

void session_restore(struct session *session, const struct session_place *place)
{
	session->place = *place;
	if (session->policy->framing != FRAMING_LINE)
		session->place.skipping = false;
	/* the beginning of a discarded line is gone, so the rest of it cannot be answered */
	else if (session->policy->reply != REPLY_DISCARD && place->line_start < place->received)
		session->place.skipping = true;
}

size_t session_held_bytes(const struct session *session)
{
	const struct session_held *held = session->held;

	return session->line.capacity + (held ? held->size_bytes + held->job.line.capacity : 0);
}

int session_defer(struct session *session, struct session_io *io, const struct iovec *input,
		  unsigned n_input, bool end)
{
	struct session_held *held;
	size_t size = sizeof(*held);

	for (unsigned i = 0; i < n_input; i++)
		size += input[i].iov_len;
	if (session->place.done || (size == sizeof(*held) && !end))
		return 0;
	if (!budget_take(io->budget, size))
		return -ENOBUFS;
	held = calloc(1, size);
	if (!held) {
		budget_give(io->budget, size);
		return -ENOMEM;
	}
	held->size_bytes = size;
	held->job.input = held->bytes;
	held->job.end = end;
	held->job.phase = REPLY_NOTHING;
	for (unsigned i = 0; i < n_input; i++) {
		memcpy(held->bytes + held->job.input_length, input[i].iov_base, input[i].iov_len);
		held->job.input_length += input[i].iov_len;
	}
	session->held = held;
	return 0;
}
