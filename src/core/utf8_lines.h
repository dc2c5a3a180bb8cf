#pragma once

/*
 * The part of utf8_copy_lines() that is the same for every kernel. A kernel's file includes this
 * one after it has defined:
 *
 *   lf_mask(p)                  bit i of it says whether byte i of the 64 at @p is LF
 *   copy_line(out, p, n, left)  copies the @n bytes at @p, of which @left can be read, to @out
 *   COPY_SLACK                  how many bytes behind them it may overwrite
 *
 * LFs are found in 64 bytes at a time, so that looking for the next one need not wait for the place
 * of the last.
 */

#include "core/utf8_kernels.h"

#include <string.h>

static void copy_lines(struct utf8_lines *lines)
{
	const size_t before = lines->prefix_length, after = lines->suffix_length;
	const size_t max = lines->max_bytes + 1;
	const size_t longest = before + max + after + UTF8_PREFIX_READ + COPY_SLACK;
	const uint8_t *const end = lines->end, *const prefix = lines->prefix;
	const uint8_t *p = lines->p;
	uint8_t *out = lines->out, *last;

	if ((size_t)(lines->out_end - out) < longest)
		return;
	last = lines->out_end - longest;
	for (const uint8_t *at = p; at < end; at += 64) {
		size_t left = (size_t)(end - at);
		uint64_t mask = left >= 64 ? lf_mask(at) : utf8_lf_mask_scalar(at, left);

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
