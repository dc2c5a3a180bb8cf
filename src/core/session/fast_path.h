#pragma once

/*
 * The common case, at once: well-formed input, replies in UTF-8, templates without variables. What
 * frame.c and reply.c would do to each message in steps is one loop here. They do whatever is not
 * plain, and would do all of this with the same outcome. session_feed() begins here.
 */

#include "core/session/session.h"

/*
 * Answers the lines at the start of @job's input, up to the first that is not plain, and takes them
 * off. To be called between two messages.
 */
void plain_lines(struct session *session, struct session_io *io, struct session_job *job);

/*
 * The rest of session_feed(), in session.c: any read, plain or not. The first io->job.checked bytes
 * are known to be well-formed.
 */
int session_feed_any(struct session *session, struct session_io *io, const uint8_t *data, size_t n);
