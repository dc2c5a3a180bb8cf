#pragma once

/*
 * Shared by the files of a session: session.c calls fast_lines.c, then framing.c for the next
 * message and reply.c for its reply.
 */

#include "core/session/session.h"

/* ---- framing.c: cuts the input into messages and checks each byte once ---- */

/*
 * Takes the next message, or the next fault, from @job's input and prepares @job for the reply.
 * Stores unfinished input in @session. A fault is reported as soon as the bytes prove it, so the
 * result does not depend on read boundaries.
 *
 * Returns 1, 0 if there is no complete message, -ENOBUFS (the budget is exceeded) or -ENOMEM.
 */
int frame_next(struct session *session, struct session_io *io, struct session_job *job);

/* ---- reply.c: answers a message ---- */

/* The parts of a reply, in order. */
enum reply_phase {
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

/*
 * Puts the rest of the reply to @job's message into io->out, and records in @job how far it got.
 * Returns true if the reply is complete, false if io->out is full or SESSION_WORK_MAX is reached.
 */
bool reply_put(const struct session *session, struct session_io *io, struct session_job *job);

/* ---- fast_lines.c: answers lines that need nothing from the above ---- */

/*
 * Answers the lines at the start of @job's input, up to the first that needs the general path, and
 * removes them from the input. Must be called between two messages.
 */
void fast_lines(struct session *session, struct session_io *io, struct session_job *job);
