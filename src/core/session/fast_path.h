#pragma once

/*
 * The fast path: well-formed input, replies in UTF-8, templates without variables. One loop here
 * does the steps that framing.c and reply.c take per message. They handle everything else, and give
 * the same results for these messages. session_feed() starts here.
 */

#include "core/session/session.h"

/*
 * Answers the lines at the start of @job's input, up to the first that needs the general path, and
 * removes them from the input. Must be called between two messages.
 */
void plain_lines(struct session *session, struct session_io *io, struct session_job *job);

/*
 * The rest of session_feed(), in session.c: handles any read. The first io->job.checked bytes are
 * known to be well-formed.
 */
int session_feed_any(struct session *session, struct session_io *io, const uint8_t *data, size_t n);
