#pragma once

/*
 * Shared by the files of a session: session.c calls fast_lines.c or fast_frames.c, then framing.c
 * for the next message, which check.c checks, and reply.c for its reply.
 */

#include "core/session/session.h"

/* ---- framing.c: cuts the input into messages ---- */

/*
 * Takes the next message, or the next fault, from @job's input and prepares @job for the reply.
 * Stores unfinished input in @session. A fault is reported as soon as the bytes prove it, so the
 * result does not depend on read boundaries.
 *
 * Returns 1, 0 if there is no complete message, -ENOBUFS (the budget is exceeded) or -ENOMEM.
 */
int frame_next(struct session *session, struct session_io *io, struct session_job *job);

/* ---- boundary.c: where messages begin and end, for each framing ---- */

/*
 * Finds the beginning of the next message, when none has begun, in @job's input, which is not
 * empty. Drops what precedes it. Returns 1 and sets *@ret_head to how many bytes of the input
 * precede the text of the message; place.message_length counts those received earlier.
 * Returns 0 if all input is used and no message has begun, -ENOBUFS or -ENOMEM. Sets job->nak_due
 * if the header is not acceptable.
 */
int boundary_begin(struct session *session, struct session_io *io, struct session_job *job,
		   size_t *ret_head);

/* The part of the current message that the input contains. Positions count from job->input. */
struct extent {
	size_t head;	 /* where the text begins, or continues */
	size_t text_end; /* where it ends, or where the bytes that certainly belong to it end */
	size_t end;	 /* where the message ends, or all that may belong to it */

	/* delimited: bytes of frame.end that had matched before the input, and how many of them
	 * turned out to be text */
	size_t early, released;

	bool ended;    /* the message ends at end */
	bool too_long; /* it does not, and exceeds the limit */
};

/*
 * Searches the input from @extent->head on for the end of the message that has begun, and fills the
 * other members, which must be zero. A message that is skipped has no limit.
 */
void boundary_search(struct session *session, const struct session_job *job, struct extent *extent);

/* Ends the search for the beginning of a message, because no input follows. */
void boundary_give_up(struct session *session, struct session_io *io);

/* Returns the length of what ends the @n > 0 bytes at @p, which are a message with its frame. */
size_t boundary_tail_length(const struct policy *policy, const uint8_t *p, size_t n);

/* ---- check.c: finds what the error handlers replace or reject in a message ---- */

/* A piece of the text of a message. The pieces of a text are checked in order. */
struct piece {
	const uint8_t *p;
	size_t n;
	uint64_t offset; /* number of received bytes before @p */
	size_t checked;	 /* bytes at @p known to be well-formed; an output, too */
	size_t ahead;	 /* bytes at @p that one check may cover, for later pieces too; >= @n */
};

/*
 * Continues the character that the end of the previous piece cut off, if there is one. Stores it in
 * @job's head unless it is still incomplete. Returns how many bytes of @piece it used.
 */
size_t check_carry(struct session *session, struct session_job *job, const struct piece *piece);

/*
 * Checks @piece from @at on. Nothing is carried into it any more, or @at is what check_carry()
 * returned. Returns where the check stopped: at the end of the piece, or, if job->nak_due, after
 * the rejected subsequence. A character that the end of the piece cuts off becomes the session's
 * carry. An ill-formed subsequence that is left to the error handler makes @job dirty, and is
 * counted.
 */
size_t check_piece(struct session *session, struct session_job *job, struct piece *piece,
		   size_t at);

/* Ends the text before @offset. A character that this cuts off is ill-formed. */
void check_end(struct session *session, struct session_job *job, uint64_t offset);

/* Returns the offset of the first byte of the current message, or of the next one. */
static inline uint64_t message_start(const struct session *session)
{
	return session->place.received - session->place.message_length;
}

/* Returns whether a part of a message has been consumed, but not its end. */
static inline bool message_has_begun(const struct session *session)
{
	return session->place.message_length > 0 || session->place.skipping;
}

/* Removes @n bytes from the input. */
static inline void job_consume(struct session *session, struct session_job *job, size_t n)
{
	job->input += n;
	job->input_length -= n;
	job->checked = job->checked > n ? job->checked - n : 0;
	session->place.received += n;
}

/* Makes a NAK due. */
static inline void refuse(struct session_job *job, enum nak_reason reason, uint64_t offset,
			  uint32_t code_point)
{
	job->nak = (struct nak){.reason = reason, .offset = offset, .code_point = code_point};
	job->nak_due = true;
}

/* ---- reply.c: answers a message ---- */

/* The parts of a reply, in order. */
enum reply_phase {
	REPLY_MEASURE, /* nothing: finds what the templates need, and measures the reply */
	REPLY_START,   /* the start of the frame, or its header */
	REPLY_PREFIX,
	REPLY_HEAD,
	REPLY_BODY,
	REPLY_SUFFIX,
	REPLY_TERMINATOR,
	REPLY_NAK,
	REPLY_NOTHING, /* the reply is complete */
};

/* Puts the greeting into io->out, which must be empty. */
void reply_greet(const struct session *session, struct session_io *io);

/* Puts @nak into io->out. Returns false if there is no room for it. */
bool reply_nak(const struct session *session, struct session_io *io, const struct nak *nak);

/*
 * Begins the reply to @job's message: the head, then @length bytes at @message, in its frame.
 * Counts the message, and reports it unless a NAK follows it. After the quit message the rest of
 * the input is dropped.
 */
void reply_begin(struct session *session, struct session_io *io, struct session_job *job,
		 const uint8_t *message, size_t length);

static inline struct iovec bytes(const uint8_t *p, size_t n)
{
	return (struct iovec){(void *)(uintptr_t)p, n};
}

/* Reports message @number, which consists of @first and @second, if the policy wants that. */
void reply_report(const struct session *session, struct session_io *io, uint64_t number,
		  bool refused, struct iovec first, struct iovec second);

/*
 * Puts the rest of the reply to @job's message into io->out, and records in @job how far it got.
 * Returns true if the reply is complete, false if io->out is full or SESSION_WORK_MAX is reached.
 */
bool reply_put(const struct session *session, struct session_io *io, struct session_job *job);

/* ---- field.c: finds the fields of a message ---- */

/*
 * Finds the fields that the templates around @job's message use. Returns false if SESSION_WORK_MAX
 * is reached; then call it again.
 */
bool fields_find(const struct policy *policy, struct session_job *job);

/*
 * Makes the values of the fields of @template from @job's message, after fields_find(). The texts
 * are in @bytes.
 */
void fields_expand(const struct policy *policy, const struct session_job *job,
		   const struct template *template, uint8_t bytes[TEMPLATE_EXPANDED_MAX],
		   struct template_text ret_texts[TEMPLATE_FIELDS_MAX]);

/* ---- fast_lines.c, fast_frames.c: answer messages that need nothing from the above ---- */

/*
 * Answers the lines at the start of @job's input, up to the first that needs the general path, and
 * removes them from the input. Must be called between two replies. Calls fast_frames() for any
 * other path than that of lines.
 */
void fast_lines(struct session *session, struct session_io *io, struct session_job *job);

/* The same for frames. Does nothing unless the policy has a path of frames. */
void fast_frames(struct session *session, struct session_io *io, struct session_job *job);
