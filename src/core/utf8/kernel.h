#pragma once

/* clang-format off */
/*
 * The code of the vector kernels. A kernel's file defines the following, then includes this file:
 *
 *   KERNEL, KERNEL_NAME        the struct utf8_kernel and its name
 *   BLOCK                      the number of bytes of a vector: 16, 32 or 64
 *   MASKED_LOADS               if part of a vector can be loaded: then the file also defines
 *                              check_short() and find_last_error()
 *   vector                     the type of a vector of bytes, with the operators & | ^
 *   load(p), store(p, x)       unaligned
 *   look_up(row, x)            the entry of the row of 16 bytes for each byte of @x, which is
 *                              0 to 15
 *   high_nibbles(x)            the upper four bits of each byte
 *   low_nibbles(x)             the lower four bits of each byte, as an index for look_up()
 *   subtract(x, row)           @x - @row, at least 0
 *   and3(a, b, c)              @a & @b & @c
 *   or4(a, b, c, d)            @a | @b | @c | @d
 *   and_xor(a, row, b)         (@a & @row) ^ @b
 *   previous(x, before)        a vector that shift_in() shifts into @x: it ends with the four
 *                              bytes of @before, the nearest to @x as the most significant
 *   shift_in(x, previous, k)   the bytes @k places before those of @x; a macro, @k is constant
 *   is_ascii(x)                whether no byte of @x is 80 or above
 *   first_nonzero(x)           the position of the first nonzero byte, or BLOCK
 *   starts_64(p)               a mask: bit i says whether byte i of the 64 at @p is not a
 *                              continuation byte
 *   between_64(p, a, b)        a mask: bit i says whether byte i of the 64 at @p is @a to @b
 *   is_supported()             whether this processor has the instructions
 */
/* clang-format on */

#include <string.h>

/* A check processes groups of blocks, then single blocks, then the remaining bytes. */
#define GROUP (4 * BLOCK)

#ifdef MASKED_LOADS
/*
 * Up to a block, a text is one masked load. Inlining the check of longer texts would make the check
 * of short ones save registers that only the former needs.
 */
#define SHORT (BLOCK + 1)
#define CHECK_LONG __attribute__((noinline))
#else
/* Shorter texts have no last block with three bytes before it. */
#define SHORT (BLOCK + 3)
#define CHECK_LONG UTF8_ALWAYS_INLINE
#endif

/* ---- the check ---- */

/*
 * Returns nonzero bytes where @x is wrong. @before1 to @before3 are the bytes one to three places
 * earlier.
 */
static inline vector errors(vector x, vector before1, vector before2, vector before3)
{
	vector pairs = and3(look_up(utf8_tables.first_high, high_nibbles(before1)),
			    look_up(utf8_tables.first_low, low_nibbles(before1)),
			    look_up(utf8_tables.second_high, high_nibbles(x)));
	/* 0x80 or above for bytes from E0 (third) and from F0 (fourth) */
	vector third = subtract(before2, utf8_tables.third);
	vector fourth = subtract(before3, utf8_tables.fourth);

	/* TWO_CONTS is an error unless a continuation is due, and a missing one is an error */
	return and_xor(third | fourth, utf8_tables.high_bit, pairs);
}

/* Returns the errors of the first block of a text; @before holds up to three preceding bytes. */
static inline vector first_errors(vector x, uint32_t before)
{
	vector up = previous(x, before);

	return errors(x, shift_in(x, up, 1), shift_in(x, up, 2), shift_in(x, up, 3));
}

/*
 * Returns the errors of a block that is not the first of a text. Unaligned loads of the preceding
 * bytes cost less than shuffling two registers together.
 */
static inline vector block_errors(const uint8_t *p)
{
	return errors(load(p), load(p - 1), load(p - 2), load(p - 3));
}

/* Checks less than SHORT bytes. @carry may be NULL. */
static inline struct utf8_checked check_short(struct utf8_carry *carry, const uint8_t *p, size_t n);

/*
 * Finds the first error in the bytes from @i on, less than a block. Returns its position, or @n.
 * There is no error before @i.
 */
static inline size_t find_last_error(const uint8_t *p, size_t i, size_t n);

#ifndef MASKED_LOADS
static inline struct utf8_checked check_short(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	return carry ? utf8_check_next_scalar(carry, p, n) : utf8_check_scalar(p, n);
}

/* Checks the last BLOCK bytes, some of which were checked before. */
static inline size_t find_last_error(const uint8_t *p, size_t i, size_t n)
{
	size_t at = n - BLOCK;
	size_t wrong = first_nonzero(block_errors(p + at));

	return wrong < BLOCK ? at + wrong : n;
}
#endif

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
		any = any | load(p + i);
	return is_ascii(any);
}

/* Requires @n >= SHORT. */
static CHECK_LONG struct utf8_checked check_long(struct utf8_carry *carry, const uint8_t *p,
						 size_t n)
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
		return utf8_complete(n);
	}
	i = find_error(before, p, i, n);
	return i == n ? utf8_finish(carry, p, n) : utf8_explain(carry, p, n, i);
}

static struct utf8_checked check(const uint8_t *p, size_t n)
{
	return n < SHORT ? check_short(NULL, p, n) : check_long(NULL, p, n);
}

static struct utf8_checked check_next(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	return n < SHORT ? check_short(carry, p, n) : check_long(carry, p, n);
}

/* ---- counting ---- */

static size_t count(const uint8_t *p, size_t n)
{
	size_t characters = 0;
	size_t i = 0;

	if (n < 64)
		return utf8_count_scalar(p, n);
	for (; n - i >= 64; i += 64)
		characters += (size_t)__builtin_popcountll(starts_64(p + i));
	if (i < n)
		characters += (size_t)__builtin_popcountll(starts_64(p + n - 64) >> (64 - n + i));
	return characters;
}

/* ---- faults ---- */

/*
 * Classifies the bytes of a block, then finds its faults by arithmetic on sets of bytes. A byte is
 * good if it is ASCII or part of a whole character. Every other byte begins an ill-formed
 * subsequence, unless it continues one as a valid second or third byte.
 */
static void find_faults(const uint8_t *p, struct utf8_faults *ret_faults)
{
	uint64_t low = between_64(p, 0x80, 0x8f), high = between_64(p, 0xa0, 0xbf);
	uint64_t e0 = between_64(p, 0xe0, 0xe0), ed = between_64(p, 0xed, 0xed);
	uint64_t f0 = between_64(p, 0xf0, 0xf0), f4 = between_64(p, 0xf4, 0xf4);
	uint64_t lead2 = between_64(p, 0xc2, 0xdf);
	uint64_t lead3 = between_64(p, 0xe0, 0xef);
	uint64_t lead4 = between_64(p, 0xf0, 0xf4);
	uint64_t leads = lead2 | lead3 | lead4;
	uint64_t ascii = between_64(p, 0x00, 0x7f);
	uint64_t continuations = between_64(p, 0x80, 0xbf);
	uint64_t misplaced =
		(e0 << 1 & ~high) | (ed << 1 & high) | (f0 << 1 & low) | (f4 << 1 & ~low);
	uint64_t second = leads << 1 & continuations & ~misplaced;
	uint64_t third = (second & (lead3 | lead4) << 1) << 1 & continuations;
	uint64_t fourth = (third & lead4 << 2) << 1 & continuations;
	uint64_t end2 = second & lead2 << 1;
	uint64_t end3 = third & lead3 << 2;
	uint64_t good = ascii | end2 | end2 >> 1 | end3 | end3 >> 1 | end3 >> 2 | fourth |
			fourth >> 1 | fourth >> 2 | fourth >> 3;
	/* leads near the end of the block whose characters are valid as far as the block goes */
	uint64_t unfinished = (leads & UINT64_C(1) << 63) |
			      ((lead3 | lead4) & UINT64_C(1) << 62 & second >> 1) |
			      (lead4 & UINT64_C(1) << 61 & third >> 2);

	ret_faults->whole = unfinished ? (size_t)__builtin_ctzll(unfinished) : UTF8_BLOCK;
	ret_faults->rest = (second | third) & ~good;
	ret_faults->first = ~good & ~ret_faults->rest;
	if (unfinished) { /* only the faults before it */
		ret_faults->first &= (unfinished & -unfinished) - 1;
		ret_faults->rest &= (unfinished & -unfinished) - 1;
	}
}

/* ---- lines ---- */

/* Returns whether the 64 bytes at @p are ASCII. */
static inline bool ascii_64(const uint8_t *p)
{
	vector any = load(p);

	for (size_t i = BLOCK; i < 64; i += BLOCK)
		any = any | load(p + i);
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
	*ret_mask = between_64(at - back, '\n', '\n') >> back;
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

/*
 * Searches for LFs 64 bytes at a time, so that the search for one LF does not depend on the
 * position of the previous one.
 */
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

const struct utf8_kernel KERNEL = {
	.name = KERNEL_NAME,
	.is_supported = is_supported,
	.check = check,
	.check_next = check_next,
	.count = count,
	.find_faults = find_faults,
	.copy_lines = copy_lines,
};
