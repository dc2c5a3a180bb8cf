#pragma once

/*
 * The second half of session.c: answers the message that frame.c found, as spans of io->out. What
 * does not fit is answered later: the job remembers how far it got.
 */

#include "core/session/session.h"

#include <stdbool.h>

/* The parts of an answer, in order. */
enum reply_phase {
	REPLY_NOTHING, /* all of it is out */
	REPLY_PREFIX,
	REPLY_HEAD,
	REPLY_BODY,
	REPLY_SUFFIX,
	REPLY_TERMINATOR,
	REPLY_NAK,
};

/* Puts the greeting into io->out, which is empty. */
void reply_greet(const struct session *session, struct session_io *io);

/*
 * Puts what is left of the answer to @job's message into io->out. Returns true when that was all of
 * it, false when io->out is full or SESSION_WORK_MAX is reached.
 */
bool reply_put(const struct session *session, struct session_io *io, struct session_job *job);
