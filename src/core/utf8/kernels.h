#pragma once

/*
 * What utf8.c and the vector kernels share. A kernel proves; the scalar code explains.
 *
 * The kernels classify each pair of neighbouring bytes with three table look-ups, an algorithm of
 * John Keiser and Daniel Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte",
 * Software: Practice and Experience 51 (5), 2021, https://arxiv.org/abs/2010.03090. Each bit of a
 * table's byte is one way in which a pair can be wrong; a pair is wrong when the high nibble of
 * its first byte, the low nibble of its first byte and the high nibble of its second byte agree on
 * a bit. What is left is whether bytes that must be third or fourth ones are continuation bytes.
 */

#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a byte can be in UTF-8; ASCII is what is nothing of this. */
enum utf8_class {
	UTF8_80_TO_8F,
	UTF8_90_TO_9F,
	UTF8_A0_TO_BF,
	UTF8_C2_TO_DF,
	UTF8_E0,
	UTF8_E1_TO_EF, /* but ED */
	UTF8_ED,
	UTF8_F0,
	UTF8_F1_TO_F3,
	UTF8_F4,
	UTF8_NEVER,
	UTF8_ASCII,
	UTF8_N_CLASSES,
};

/* The classes of 64 bytes: in each set, bit i says whether byte i is in it. That of ASCII is unset.
 */
struct utf8_classes {
	uint64_t sets[UTF8_N_CLASSES];
};

/* Classifies the 64 bytes at @p. */
void utf8_classify(const uint8_t *p, struct utf8_classes *ret_classes);
void utf8_classify_scalar(const uint8_t *p, struct utf8_classes *ret_classes);

/* Of a function whose copies differ in what is constant. */
#define UTF8_ALWAYS_INLINE inline __attribute__((always_inline))

struct utf8_kernel {
	const char *name;
	/* whether this processor has the instructions */
	bool (*is_supported)(void);
	/* utf8_check(), utf8_check_next() */
	enum utf8_status (*check)(const uint8_t *p, size_t n, size_t *ret_valid,
				  size_t *ret_length);
	enum utf8_status (*check_next)(struct utf8_carry *carry, const uint8_t *p, size_t n,
				       size_t *ret_valid, size_t *ret_length);
	/* utf8_count() */
	size_t (*count)(const uint8_t *p, size_t n);
	/* utf8_classify() */
	void (*classify)(const uint8_t *p, struct utf8_classes *ret_classes);
	/* utf8_copy_lines() */
	void (*copy_lines)(struct utf8_lines *lines);
};

/* The kernels of this architecture, best first, NULL-terminated; the scalar one is the last. */
extern const struct utf8_kernel *const utf8_kernels[];

/* utf8_check_next() in two steps: the carried character, then the rest. */
enum utf8_status utf8_check_next_apart(struct utf8_carry *carry, const uint8_t *p, size_t n,
				       size_t *ret_valid, size_t *ret_length);
size_t utf8_count_scalar(const uint8_t *p, size_t n);
void utf8_copy_lines_scalar(struct utf8_lines *lines);

/* Returns which of the @n <= 64 bytes at @p are LF: bit i is that of byte i. */
uint64_t utf8_lf_mask_scalar(const uint8_t *p, size_t n);

/*
 * Puts the suffix before the terminator of a line of @length bytes, LF included, that ends before
 * @out. Returns where it ends now.
 */
uint8_t *utf8_put_suffix(const struct utf8_lines *lines, uint8_t *out, size_t length);

extern const struct utf8_kernel utf8_kernel_scalar;
extern const struct utf8_kernel utf8_kernel_avx2;
extern const struct utf8_kernel utf8_kernel_avx512;
extern const struct utf8_kernel utf8_kernel_neon;

/*
 * What the kernels load, each row to be repeated to the width of a vector. Defined elsewhere, so
 * that compilers load them: they would rather make a repeated byte in a general register and
 * broadcast it, which keeps the shuffle unit busy, the busiest here.
 */
struct utf8_tables {
	int8_t first_high[16];	/* errors by the high nibble of the first byte */
	int8_t first_low[16];	/* by the low nibble of the first byte */
	int8_t second_high[16]; /* by the high nibble of the second byte */
	uint8_t nibble[16];	/* 0F */
	uint8_t third[16];	/* subtracted with saturation, leaves 80 and above of E0 to FF */
	uint8_t fourth[16];	/* the same of F0 to FF */
	uint8_t high_bit[16];	/* 80 */
};

extern const struct utf8_tables utf8_tables;

/*
 * Returns how many bytes of a cut-off character @p ends with, given that the look-ups found no
 * pair wrong in its @n > 0 bytes (so that a bad lead byte can only be the last).
 */
static inline size_t utf8_cut_off(const uint8_t *p, size_t n)
{
	size_t length = 0;

	if (n >= 3)
		length = p[n - 3] >= 0xf0 ? 3 : 0;
	if (n >= 2)
		length = p[n - 2] >= 0xe0 ? 2 : length;
	return p[n - 1] >= 0xc0 ? 1 : length;
}

/* Four bytes, the first as the least significant: where that is the machine's order, one load. */
static inline uint32_t utf8_load_four(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * Stores the @length <= 3 bytes of a carry, the first as the least significant of @bytes: all at
 * once, since a load that follows soon waits long for stores that only together make it up.
 */
static inline void utf8_carry_store(struct utf8_carry *carry, uint32_t bytes, size_t length)
{
	carry->bytes[0] = (uint8_t)bytes;
	carry->bytes[1] = (uint8_t)(bytes >> 8);
	carry->bytes[2] = (uint8_t)(bytes >> 16);
	carry->length = (uint8_t)length;
}

/* Returns what is in @carry (NULL: nothing), the last byte as the most significant. */
static inline uint32_t utf8_carry_before(const struct utf8_carry *carry)
{
	uint64_t bytes;

	if (!carry)
		return 0;
	bytes = (uint64_t)carry->bytes[0] | (uint64_t)carry->bytes[1] << 8 |
		(uint64_t)carry->bytes[2] << 16;
	return (uint32_t)(bytes << 8 * (UTF8_CHARACTER_MAX - carry->length));
}

/*
 * Finishes a check whose look-ups found no pair wrong in all @n > 0 bytes; @n >= 4 when there is a
 * @carry. Where a buffer ends is chance: no branch depends on it, but for a bad lead byte there.
 */
static inline enum utf8_status utf8_finish(struct utf8_carry *carry, const uint8_t *p, size_t n,
					   size_t *ret_valid, size_t *ret_length)
{
	size_t cut_off = utf8_cut_off(p, n);
	enum utf8_status status = cut_off > 0 ? UTF8_PARTIAL : UTF8_COMPLETE;

	*ret_valid = n - cut_off;
	*ret_length = cut_off;
	if (p[n - 1] >= 0xc0 && (p[n - 1] < 0xc2 || p[n - 1] > 0xf4)) {
		status = UTF8_INVALID_START;
		cut_off = 0;
	}
	if (carry) {
		uint64_t last = utf8_load_four(p + n - 4);

		last >>= 8 * (UTF8_CHARACTER_MAX - cut_off);
		utf8_carry_store(carry, (uint32_t)last, cut_off);
	}
	return status;
}

/*
 * Finishes a check whose look-ups found the first wrong byte at @at: tells what is wrong with the
 * character that this byte is due to continue or to begin.
 */
static inline enum utf8_status utf8_explain(struct utf8_carry *carry, const uint8_t *p, size_t n,
					    size_t at, size_t *ret_valid, size_t *ret_length)
{
	size_t valid = at > 0 ? at - utf8_cut_off(p, at) : 0;

	if (carry && carry->length > 0 && at < UTF8_CHARACTER_MAX)
		return utf8_check_next_apart(carry, p, n, ret_valid, ret_length);
	if (carry)
		carry->length = 0;
	*ret_valid = valid;
	return utf8_character(p + valid, n - valid, ret_length);
}
