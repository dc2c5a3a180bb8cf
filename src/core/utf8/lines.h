#pragma once

/*
 * utf8_copy_lines() for the vector kernels. It searches for LFs 64 bytes at a time, so that the
 * search for one LF does not depend on the position of the previous one. A kernel's file includes
 * this one after the definitions listed in blocks.h.
 */

#include "core/utf8/kernels.h"

#include <string.h>

/* Returns whether the 64 bytes at @p are ASCII. */
static inline bool ascii_64(const uint8_t *p)
{
	vector any = load(p);

	for (size_t i = BLOCK; i < 64; i += BLOCK)
		any = or2(any, load(p + i));
	return is_ascii(any);
}

/*
 * Finds the LFs of the 64-byte block at @at and sets bit i of *@ret_mask if byte i is LF. @left
 * bytes remain before the end; @before bytes belong to earlier blocks. Returns false if the lines
 * are unchecked and a byte is not ASCII.
 */
static inline bool find_lfs(const struct utf8_lines *lines, const uint8_t *at, size_t before,
			    size_t left, uint64_t *ret_mask)
{
	size_t back = 0;

	if (left < 64 && before + left < 64) {
		*ret_mask = utf8_lf_mask_scalar(at, left);
		return !lines->unchecked;
	}
	/* load the last 64 bytes, which overlap the previous block */
	if (left < 64)
		back = 64 - left;
	*ret_mask = lf_mask(at - back) >> back;
	return !lines->unchecked || ascii_64(at - back);
}

/*
 * Copies a line of @n bytes at @p, from where @left bytes are readable. May overwrite BLOCK bytes
 * after the copy.
 */
static inline void copy_line(uint8_t *out, const uint8_t *p, size_t n, size_t left)
{
	if (left < n + BLOCK) {
		memcpy(out, p, n);
		return;
	}
	for (size_t i = 0; i < n; i += BLOCK)
		store(out + i, load(p + i));
}

static void copy_lines(struct utf8_lines *lines)
{
	const size_t before = lines->prefix_length, after = lines->suffix_length;
	const size_t max = lines->max_bytes + 1;
	const size_t longest = before + max + after + UTF8_PREFIX_READ + BLOCK;
	const uint8_t *const begin = lines->p, *const end = lines->end;
	const uint8_t *const prefix = lines->prefix;
	const uint8_t *p = begin;
	uint8_t *out = lines->out, *last;

	if ((size_t)(lines->out_end - out) < longest)
		return;
	last = lines->out_end - longest;
	for (const uint8_t *at = p; at < end; at += 64) {
		uint64_t mask;

		if (!find_lfs(lines, at, (size_t)(at - begin), (size_t)(end - at), &mask))
			break;
		for (; mask != 0; mask &= mask - 1) {
			const uint8_t *next = at + __builtin_ctzll(mask) + 1;
			size_t length = (size_t)(next - p);

			if (length > max || out > last)
				goto done;
			if (before <= UTF8_PREFIX_READ)
				memcpy(out, prefix, UTF8_PREFIX_READ);
			else
				memcpy(out, prefix, before);
			copy_line(out + before, p, length, (size_t)(end - p));
			out += before + length;
			if (after > 0)
				out = utf8_put_suffix(lines, out, length);
			p = next;
			lines->count++;
		}
	}
done:
	lines->p = p;
	lines->out = out;
}
