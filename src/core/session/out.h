#pragma once

/*
 * The output of a session call: reply bytes in order, as spans. A span refers to received bytes, or
 * to bytes that were made in the area. The functions are inline because the fast path calls them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The maximum number of reply bytes, and of spans, that one call makes. */
#define SESSION_REPLY_MAX ((size_t)256 * 1024)
#define SESSION_SPANS_MAX 64

/*
 * The maximum number of reply bytes that can be set aside. SESSION_REPLY_MAX bytes fit after them.
 */
#define SESSION_ASIDE_MAX ((size_t)64 * 1024)
#define SESSION_AREA_BYTES (SESSION_ASIDE_MAX + SESSION_REPLY_MAX)

/* From this size on, a span of its own costs less than a copy. */
#define OUT_REFERENCE_MIN ((size_t)1024)

struct out {
	struct iovec spans[SESSION_SPANS_MAX];
	unsigned n_spans;
	size_t n_bytes;	  /* sum of the span lengths, at most max_bytes */
	size_t max_bytes; /* SESSION_REPLY_MAX; tests lower it, but not below the length of a NAK
			     line or a template */
	uint8_t *area;	  /* SESSION_AREA_BYTES, where replies are made */
	size_t area_used;
	size_t n_aside; /* bytes at the start of the area that out_clear() keeps */
};

/* Discards the output. */
static inline void out_clear(struct out *out)
{
	out->n_spans = 0;
	out->n_bytes = 0;
	out->area_used = out->n_aside;
}

/* Makes the @n bytes at @p, which must stay valid, the only output. */
static inline void out_set(struct out *out, const void *p, size_t n)
{
	out->spans[0] = (struct iovec){(void *)(uintptr_t)p, n};
	out->n_spans = 1;
	out->n_bytes = n;
}

/* Returns whether the last span ends at @p, so that bytes at @p continue it. */
static inline bool out_ends_at(const struct out *out, const uint8_t *p)
{
	const struct iovec *last;

	if (out->n_spans == 0)
		return false;
	last = &out->spans[out->n_spans - 1];
	return (const uint8_t *)last->iov_base + last->iov_len == p;
}

/* Returns the last byte of the output, which is not empty. */
static inline uint8_t out_last_byte(const struct out *out)
{
	const struct iovec *last = &out->spans[out->n_spans - 1];

	return ((const uint8_t *)last->iov_base)[last->iov_len - 1];
}

/* Returns how many bytes at @p can be appended. */
static inline size_t out_room(const struct out *out, const uint8_t *p)
{
	if (out->n_spans == SESSION_SPANS_MAX && !out_ends_at(out, p))
		return 0;
	return out->max_bytes - out->n_bytes;
}

/* Appends @n bytes at @p, which must stay valid. There must be room for them. */
static inline void out_add(struct out *out, const uint8_t *p, size_t n)
{
	if (out_ends_at(out, p))
		out->spans[out->n_spans - 1].iov_len += n;
	else
		out->spans[out->n_spans++] = (struct iovec){(void *)(uintptr_t)p, n};
	out->n_bytes += n;
}

/* Returns the place in the area where the next bytes are made. */
static inline uint8_t *out_area(const struct out *out)
{
	return out->area + out->area_used;
}

/* Returns how many bytes can be made at out_area(). */
static inline size_t out_area_room(const struct out *out)
{
	return out_room(out, out_area(out));
}

/* Appends the @n bytes that were made at out_area(). */
static inline void out_commit(struct out *out, size_t n)
{
	if (n == 0)
		return;
	out_add(out, out_area(out), n);
	out->area_used += n;
}
