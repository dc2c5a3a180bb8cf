#pragma once

/*
 * Framing, the first half of session.c. It cuts the input into messages and, in the same pass,
 * checks each byte once for what the error handlers replace or reject. A fault is reported as soon
 * as the bytes prove it, so the result does not depend on read boundaries.
 */

#include "core/session/session.h"

/*
 * Takes the next message, or the next fault, from @job's input and prepares @job for the reply.
 * Stores unfinished input in @session.
 *
 * Returns 1, 0 if there is no complete message, -ENOBUFS (the budget is exceeded) or -ENOMEM.
 */
int frame_next(struct session *session, struct session_io *io, struct session_job *job);
