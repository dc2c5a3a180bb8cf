#pragma once

/*
 * Helpers that append to io->out, for the reply-making parts of the session: reply.c and
 * fast_path.c.
 */

#include "core/session/session.h"

/* From this size on, a span of its own costs less than a copy. */
#define OUT_REFERENCE_MIN ((size_t)1024)

/* Returns whether the last span ends at @p, so that bytes at @p continue it. */
static inline bool out_ends_at(const struct session_io *io, const uint8_t *p)
{
	const struct iovec *last;

	if (io->n_spans == 0)
		return false;
	last = &io->spans[io->n_spans - 1];
	return (const uint8_t *)last->iov_base + last->iov_len == p;
}

/*
 * Appends @n bytes at @p, which must stay valid. Requires a free span, unless @p continues the last
 * one.
 */
static inline void out_add(struct session_io *io, const uint8_t *p, size_t n)
{
	if (out_ends_at(io, p))
		io->spans[io->n_spans - 1].iov_len += n;
	else
		io->spans[io->n_spans++] = (struct iovec){(void *)(uintptr_t)p, n};
	io->n_bytes += n;
}

/* Returns how many bytes at @p can be appended. */
static inline size_t out_room(const struct session_io *io, const uint8_t *p)
{
	if (io->n_spans == SESSION_SPANS_MAX && !out_ends_at(io, p))
		return 0;
	return io->reply_max - io->n_bytes;
}

/* Returns the place in the area where the next bytes are made. */
static inline uint8_t *area_end(const struct session_io *io)
{
	return io->area + io->area_used;
}

/* Returns how many bytes can be made at area_end(). */
static inline size_t area_room(const struct session_io *io)
{
	return out_room(io, area_end(io));
}

/* Appends the @n bytes that were made at area_end(). */
static inline void area_commit(struct session_io *io, size_t n)
{
	if (n == 0)
		return;
	out_add(io, area_end(io), n);
	io->area_used += n;
}

/* Records the last byte of io->out as the last byte sent. */
static inline void out_note_last(const struct session_io *io, struct session *session)
{
	const struct iovec *last;

	if (io->n_bytes == 0)
		return;
	last = &io->spans[io->n_spans - 1];
	session->place.last_byte = ((const uint8_t *)last->iov_base)[last->iov_len - 1];
	session->place.sent_anything = true;
}
