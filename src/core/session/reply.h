#pragma once

/*
 * Replying, the second half of session.c. It puts the reply to the message that framing.c found
 * into io->out, as spans. If io->out is full, the job records how far the reply got, and a later
 * call continues.
 */

#include "core/session/session.h"

#include <stdbool.h>

/* The parts of a reply, in order. */
enum reply_phase {
	REPLY_NOTHING, /* the reply is complete */
	REPLY_PREFIX,
	REPLY_HEAD,
	REPLY_BODY,
	REPLY_SUFFIX,
	REPLY_TERMINATOR,
	REPLY_NAK,
};

/* Puts the greeting into io->out, which must be empty. */
void reply_greet(const struct session *session, struct session_io *io);

/*
 * Puts the rest of the reply to @job's message into io->out. Returns true if the reply is complete,
 * false if io->out is full or SESSION_WORK_MAX is reached.
 */
bool reply_put(const struct session *session, struct session_io *io, struct session_job *job);
