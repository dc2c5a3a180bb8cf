#pragma once

/*
 * The code that the vector kernels share. A check processes groups of four blocks, then the
 * remaining bytes. A kernel's file defines the following, then includes this file:
 *
 *   BLOCK                     the number of bytes of a vector
 *   SHORT                     the minimum length of a text that check_long() accepts
 *   CHECK_LONG                UTF8_ALWAYS_INLINE, or noinline if inlining would make the check of
 *                             a short text save registers that only the long check needs
 *   vector                    the type of a vector of bytes
 *   load(p)                   loads the BLOCK bytes at @p
 *   or2(a, b), or4(a, b, c, d)
 *   is_ascii(x)               returns whether no byte of @x is 80 or above
 *   errors(x, b1, b2, b3)     returns nonzero bytes where @x is wrong; b1 to b3 are the bytes one
 *                             to three places earlier
 *   first_errors(x, before)   the same for the first block of a text; @before holds up to three
 *                             preceding bytes, the nearest as the most significant
 *   first_nonzero(x)          returns the position of the first nonzero byte, or BLOCK
 *   store(p, x)               stores @x at @p
 *   lf_mask(p)                returns a mask: bit i says whether byte i of the 64 at @p is LF
 */

#include "core/utf8/kernels.h"

#include <string.h>

#define GROUP (4 * BLOCK)

/* The kernel's file defines it. Checks less than SHORT bytes. @carry may be NULL. */
static inline enum utf8_status check_short(struct utf8_carry *carry, const uint8_t *p, size_t n,
					   size_t *ret_valid, size_t *ret_length);

/*
 * The kernel's file defines it. Finds the first error in the bytes from @i on, less than a block.
 * Returns its position, or @n. There is no error before @i.
 */
static inline size_t find_last_error(const uint8_t *p, size_t i, size_t n);

/*
 * Returns the errors of a block that is not the first of a text. Unaligned loads of the preceding
 * bytes cost less than shuffling two registers together.
 */
static inline vector block_errors(const uint8_t *p)
{
	return errors(load(p), load(p - 1), load(p - 2), load(p - 3));
}

/*
 * Searches for errors block by block from @i on. @i is 0, or a position without an error before it.
 * Returns the position of the first error, or @n.
 */
static size_t find_error(uint32_t before, const uint8_t *p, size_t i, size_t n)
{
	for (; n - i >= BLOCK; i += BLOCK) {
		size_t wrong =
			first_nonzero(i == 0 ? first_errors(load(p), before) : block_errors(p + i));

		if (wrong < BLOCK)
			return i + wrong;
	}
	return i < n ? find_last_error(p, i, n) : n;
}

/* Returns whether the bytes from @i on (less than a group) and the byte before them are ASCII. */
static inline bool rest_is_ascii(uint32_t before, const uint8_t *p, size_t i, size_t n)
{
	vector any = load(p + n - BLOCK);

	if (i == 0 ? before != 0 : p[i - 1] >= 0x80)
		return false;
	for (; n - i >= BLOCK; i += BLOCK)
		any = or2(any, load(p + i));
	return is_ascii(any);
}

/* Requires @n >= SHORT. */
static CHECK_LONG enum utf8_status check_long(struct utf8_carry *carry, const uint8_t *p, size_t n,
					      size_t *ret_valid, size_t *ret_length)
{
	uint32_t before = utf8_carry_before(carry);
	size_t i = 0;

	for (; n - i >= GROUP; i += GROUP) {
		const uint8_t *q = p + i;

		if (is_ascii(or4(load(q), load(q + BLOCK), load(q + 2 * BLOCK),
				 load(q + 3 * BLOCK))) &&
		    (i == 0 ? before == 0 : q[-1] < 0x80))
			continue;
		if (first_nonzero(or4(i == 0 ? first_errors(load(q), before) : block_errors(q),
				      block_errors(q + BLOCK), block_errors(q + 2 * BLOCK),
				      block_errors(q + 3 * BLOCK))) < BLOCK)
			break;
	}
	if (n - i < GROUP && rest_is_ascii(before, p, i, n)) {
		if (carry)
			carry->length = 0;
		*ret_valid = n;
		*ret_length = 0;
		return UTF8_COMPLETE;
	}
	i = find_error(before, p, i, n);
	if (i == n)
		return utf8_finish(carry, p, n, ret_valid, ret_length);
	return utf8_explain(carry, p, n, i, ret_valid, ret_length);
}

static enum utf8_status check(const uint8_t *p, size_t n, size_t *ret_valid, size_t *ret_length)
{
	if (n < SHORT)
		return check_short(NULL, p, n, ret_valid, ret_length);
	return check_long(NULL, p, n, ret_valid, ret_length);
}

static enum utf8_status check_next(struct utf8_carry *carry, const uint8_t *p, size_t n,
				   size_t *ret_valid, size_t *ret_length)
{
	if (n < SHORT)
		return check_short(carry, p, n, ret_valid, ret_length);
	return check_long(carry, p, n, ret_valid, ret_length);
}

#include "core/utf8/lines.h"
