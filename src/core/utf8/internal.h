#pragma once

/*
 * Shared by utf8.c and the vector kernels. A kernel finds where an error is; the scalar code in
 * utf8.c determines which error it is.
 *
 * The kernels classify each pair of neighbouring bytes with three table look-ups. The algorithm is
 * by John Keiser and Daniel Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte",
 * Software: Practice and Experience 51 (5), 2021, https://arxiv.org/abs/2010.03090. Each bit of a
 * table's byte is one way in which a pair can be wrong. The tables are indexed by the high nibble
 * and the low nibble of the first byte, and by the high nibble of the second byte. A pair is wrong
 * if all three entries have a bit in common. One check remains: bytes in third or fourth position
 * must be continuation bytes.
 */

#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Forces inlining, so that each call is specialized for its constant arguments. */
#define UTF8_ALWAYS_INLINE inline __attribute__((always_inline))

/* The functions of utf8.h that depend on the kernel. */
struct utf8_kernel {
	const char *name;
	/* returns whether this processor has the instructions */
	bool (*is_supported)(void);
	struct utf8_checked (*check)(const uint8_t *p, size_t n);
	struct utf8_checked (*check_next)(struct utf8_carry *carry, const uint8_t *p, size_t n);
	size_t (*count)(const uint8_t *p, size_t n);
	void (*find_faults)(const uint8_t *p, struct utf8_faults *ret_faults);
	void (*copy_lines)(struct utf8_lines *lines);
};

/* The kernels of this architecture, best first, NULL-terminated; the scalar one is the last. */
extern const struct utf8_kernel *const utf8_kernels[];

extern const struct utf8_kernel utf8_kernel_scalar;
extern const struct utf8_kernel utf8_kernel_avx2;
extern const struct utf8_kernel utf8_kernel_avx512;
extern const struct utf8_kernel utf8_kernel_neon;

/* The parts of the scalar kernel that the vector kernels use, in utf8.c. */
struct utf8_checked utf8_check_next_scalar(struct utf8_carry *carry, const uint8_t *p, size_t n);
size_t utf8_count_scalar(const uint8_t *p, size_t n);

/*
 * Finishes a check whose look-ups found the first wrong byte at @at. Determines the fault of the
 * character that this byte continues or begins. @carry may be NULL.
 */
struct utf8_checked utf8_explain(struct utf8_carry *carry, const uint8_t *p, size_t n, size_t at);

/* Returns a mask of the LFs in the @n <= 64 bytes at @p: bit i stands for byte i. */
uint64_t utf8_lf_mask_scalar(const uint8_t *p, size_t n);

/*
 * Inserts the suffix before the terminator of a line of @length bytes, including LF, that ends at
 * @out. Returns the new end.
 */
uint8_t *utf8_put_suffix(const struct utf8_lines *lines, uint8_t *out, size_t length);

/*
 * Constants that the kernels load, each row repeated to the width of a vector. They are defined in
 * another file so that compilers load them. Otherwise compilers build a repeated byte in a general
 * register and broadcast it, which occupies the shuffle unit, the bottleneck here.
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
 * Returns the length of the cut-off character at the end of the @n > 0 bytes at @p. The look-ups
 * found no wrong pair in them, so that only the last byte can be a bad lead byte.
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

/* Loads four bytes in little-endian order; compiles to a single load on little-endian machines. */
static inline uint32_t utf8_load_four(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * Stores the @length <= 3 bytes of a carry; the first is the least significant of @bytes. The
 * compiler merges the four stores into one: a load that soon follows separate partial stores would
 * stall, because it cannot be forwarded.
 */
static inline void utf8_carry_store(struct utf8_carry *carry, uint32_t bytes, size_t length)
{
	uint32_t all = (bytes & 0xffffff) | (uint32_t)length << 24;

	carry->bytes[0] = (uint8_t)all;
	carry->bytes[1] = (uint8_t)(all >> 8);
	carry->bytes[2] = (uint8_t)(all >> 16);
	carry->length = (uint8_t)(all >> 24);
}

/* Returns the bytes in @carry (NULL: none), the last as the most significant. */
static inline uint32_t utf8_carry_before(const struct utf8_carry *carry)
{
	uint32_t all;

	if (!carry)
		return 0;
	/* a single load, which a store of utf8_carry_store() can be forwarded to */
	all = (uint32_t)carry->bytes[0] | (uint32_t)carry->bytes[1] << 8 |
	      (uint32_t)carry->bytes[2] << 16 | (uint32_t)carry->length << 24;
	return (uint32_t)((uint64_t)(all & 0xffffff) << 8 * (UTF8_CHARACTER_MAX - (all >> 24)));
}

/*
 * Finishes a check whose look-ups found no wrong pair in all @n > 0 bytes; @n >= 4 if there is a
 * @carry. The end of a buffer is unpredictable, so no branch depends on it, except for a bad lead
 * byte.
 */
static inline struct utf8_checked utf8_finish(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	size_t cut_off = utf8_cut_off(p, n);
	struct utf8_checked checked = {
		.valid = n - cut_off,
		.length = (uint32_t)cut_off,
		.status = cut_off > 0 ? UTF8_PARTIAL : UTF8_COMPLETE,
	};

	if (p[n - 1] >= 0xc0 && (p[n - 1] < 0xc2 || p[n - 1] > 0xf4)) {
		checked.status = UTF8_INVALID_START;
		cut_off = 0;
	}
	if (carry) {
		uint64_t last = utf8_load_four(p + n - 4);

		last >>= 8 * (UTF8_CHARACTER_MAX - cut_off);
		utf8_carry_store(carry, (uint32_t)last, cut_off);
	}
	return checked;
}

/* Returns the result of a check of @n bytes that are all whole characters. */
static inline struct utf8_checked utf8_complete(size_t n)
{
	return (struct utf8_checked){.valid = n, .status = UTF8_COMPLETE};
}
