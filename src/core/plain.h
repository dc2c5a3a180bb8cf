#pragma once

/*
 * The common case, at once: well-formed input, replies in UTF-8, templates without variables. What
 * frame.c and reply.c would do to each message in steps is one loop here. They do whatever is not
 * plain, and would do all of this with the same outcome.
 */

#include "core/session.h"

/*
 * Answers a read of @n bytes at @data in stream framing, if it is plain, as a whole. Returns false
 * when it is not, having done nothing but look: *@ret_checked is how many bytes at @data are known
 * to be well-formed and complete.
 */
bool plain_read(struct session *session, struct session_io *io, const uint8_t *data, size_t n,
		size_t *ret_checked);

/*
 * Answers the lines at the start of @job's input, up to the first that is not plain, and takes them
 * off. To be called between two messages.
 */
void plain_lines(struct session *session, struct session_io *io, struct session_job *job);
