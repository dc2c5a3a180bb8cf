#pragma once

/* clang-format off */
/*
 * The code of the vector kernels. A kernel's file defines the following, then includes this file:
 *
 *   KERNEL, KERNEL_NAME        the struct utf8_kernel and its name
 *   BLOCK                      the number of bytes of a vector: 16, 32 or 64
 *   MASKED_LOADS               if part of a vector can be loaded: then the file also defines
 *                              check_short(), last_block() and last_errors()
 *   vector                     the type of a vector of bytes, with the operators & | ^
 *   load(p), store(p, x)       unaligned
 *   keep(x)                    @x in a register: otherwise GCC loads it again for each use
 *   look_up(row, x)            the entry of the row of 16 bytes for each index in @x
 *   high_nibbles(x)            the upper four bits of each byte, as an index for look_up()
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

/* A check processes groups of blocks, then the remaining blocks, then what is left of a block. */
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
	return errors(load(p), keep(load(p - 1)), load(p - 2), load(p - 3));
}

/* Adds to @wrong the errors of the blocks from @p up to @end. */
static UTF8_ALWAYS_INLINE vector add_errors(vector wrong, const uint8_t *p, const uint8_t *end)
{
	for (; p < end; p += BLOCK)
		wrong = wrong | block_errors(p);
	return wrong;
}

static inline bool is_zero(vector x)
{
	return first_nonzero(x) == BLOCK;
}

/* Checks less than SHORT bytes. @carry may be NULL. */
static inline struct utf8_checked check_short(struct utf8_carry *carry, const uint8_t *p, size_t n);

/*
 * Returns where the last block begins if the bytes from @i on are cut into blocks. It may be
 * shorter than the others, or overlap the one before it.
 */
static inline size_t last_block(size_t i, size_t n);

/* Returns the errors of the last block, which begins at @last. */
static inline vector last_errors(const uint8_t *p, size_t last, size_t n);

#ifndef MASKED_LOADS
static inline struct utf8_checked check_short(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	return carry ? utf8_check_next_scalar(carry, p, n) : utf8_check_scalar(p, n);
}

static inline size_t last_block(size_t i, size_t n)
{
	return n - BLOCK;
}

static inline vector last_errors(const uint8_t *p, size_t last, size_t n)
{
	return block_errors(p + last);
}
#endif

/* Returns the position of the first error. There is one, and none before @i. */
static size_t find_error(uint32_t before, const uint8_t *p, size_t i, size_t n)
{
	size_t last = last_block(i, n);

	for (; i < last; i += BLOCK) {
		size_t wrong =
			first_nonzero(i == 0 ? first_errors(load(p), before) : block_errors(p + i));

		if (wrong < BLOCK)
			return i + wrong;
	}
	return last + first_nonzero(last_errors(p, last, n));
}

/* Finishes a check that found an error, but none before @i. */
static __attribute__((noinline, cold)) struct utf8_checked
explain(struct utf8_carry *carry, const uint8_t *p, size_t i, size_t n)
{
	i = find_error(utf8_carry_before(carry), p, i, n);
	return utf8_explain(carry, p, n, i);
}

/*
 * Returns whether there is no error in a group that is not the first of a text. ASCII is skipped
 * unless it follows another character, which may be cut off. In text that is mostly ASCII, other
 * characters are often in one half of a group: then only that half is classified.
 */
static UTF8_ALWAYS_INLINE bool group_is_valid(const uint8_t *p)
{
	const uint8_t *middle = p + GROUP / 2, *end = p + GROUP;
	vector low = load(p) | load(p + BLOCK);
	vector high = load(middle) | load(middle + BLOCK);
	bool skips_low, skips_high;

	if (is_ascii(low | high) && p[-1] < 0x80)
		return true;
	skips_low = is_ascii(low) & (p[-1] < 0x80);
	skips_high = is_ascii(high) & (middle[-1] < 0x80);
	if (skips_low | skips_high) {
		/* without a branch: which half it is cannot be predicted */
		p += skips_low ? GROUP / 2 : 0;
		return is_zero(add_errors(block_errors(p), p + BLOCK, p + GROUP / 2));
	}
	return is_zero(add_errors(block_errors(p), p + BLOCK, end));
}

/* The same for the first group. @before holds up to three preceding bytes. */
static UTF8_ALWAYS_INLINE bool first_group_is_valid(uint32_t before, const uint8_t *p)
{
	if (is_ascii(or4(load(p), load(p + BLOCK), load(p + 2 * BLOCK), load(p + 3 * BLOCK))) &&
	    before == 0)
		return true;
	return is_zero(add_errors(first_errors(load(p), before), p + BLOCK, p + GROUP));
}

/* Returns whether the bytes from @i on, at least one, are ASCII that follows a whole character. */
static UTF8_ALWAYS_INLINE bool rest_is_ascii(uint32_t before, const uint8_t *p, size_t i, size_t n)
{
	const size_t last = last_block(i, n);
	vector any = load(p + n - BLOCK);

	for (size_t j = i; j < last; j += BLOCK)
		any = any | load(p + j);
	return is_ascii(any) && (i == 0 ? before == 0 : p[i - 1] < 0x80);
}

/* Finishes a check that found nothing but ASCII at the end. */
static UTF8_ALWAYS_INLINE struct utf8_checked finish_ascii(struct utf8_carry *carry, size_t n)
{
	if (carry)
		utf8_carry_store(carry, 0, 0);
	return utf8_complete(n);
}

/* Requires @n >= SHORT. */
static CHECK_LONG struct utf8_checked check_long(struct utf8_carry *carry, const uint8_t *p,
						 size_t n)
{
	uint32_t before = utf8_carry_before(carry);
	size_t i = 0, last;
	vector wrong;

	if (n < GROUP) {
		/* tested here, not below, which saves three instructions */
		if (rest_is_ascii(before, p, 0, n))
			return finish_ascii(carry, n);
	} else {
		if (!first_group_is_valid(before, p))
			return explain(carry, p, 0, n);
		/* aligned blocks, because two cache lines cost two loads */
		i = n < 2 * GROUP ? GROUP : GROUP - (uintptr_t)p % BLOCK;
		for (; n - i >= GROUP; i += GROUP) {
			if (!group_is_valid(p + i))
				return explain(carry, p, i, n);
		}
		if (i == n)
			return utf8_finish(carry, p, n);
		if (rest_is_ascii(before, p, i, n))
			return finish_ascii(carry, n);
	}
	last = last_block(i, n);
	wrong = last_errors(p, last, n);
	if (i == 0)
		wrong = wrong | first_errors(load(p), before);
	wrong = add_errors(wrong, p + (i == 0 ? BLOCK : i), p + last);
	return is_zero(wrong) ? utf8_finish(carry, p, n) : explain(carry, p, i, n);
}

/* The check of a short text then fits into one cache line: a tenth less time. */
#define ALIGNED __attribute__((aligned(64)))

static ALIGNED __attribute__((hot)) struct utf8_checked check(const uint8_t *p, size_t n)
{
	return n < SHORT ? check_short(NULL, p, n) : check_long(NULL, p, n);
}

static ALIGNED __attribute__((nonnull(1))) struct utf8_checked
check_next(struct utf8_carry *carry, const uint8_t *p, size_t n)
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
