#pragma once

/*
 * The first half of session.c: cuts the input into messages and looks at each byte once, on the
 * way, for what the error handlers are to replace or refuse. Faults are found in the order in which
 * bytes prove them, so the outcome does not depend on where the reads end.
 */

#include "core/session/session.h"

/*
 * Takes the next message, or the next fault, from @job's input, and sets up @job to be answered.
 * Keeps in @session what the input left unfinished.
 *
 * Returns 1, or 0 when there is none; -ENOBUFS (the budget is exceeded) or -ENOMEM.
 */
int frame_next(struct session *session, struct session_io *io, struct session_job *job);
