/*
 * UTF-8 with NEON, which every AArch64 processor has: 16 bytes at a time. internal.h describes the
 * algorithm, kernel.h the operations.
 */

#include "core/utf8/internal.h"

#include <arm_neon.h>

#define KERNEL utf8_kernel_neon
#define KERNEL_NAME "neon"
#define BLOCK ((size_t)16)

typedef uint8x16_t vector;

static inline uint8x16_t load(const uint8_t *p)
{
	return vld1q_u8(p);
}

static inline void store(uint8_t *p, uint8x16_t x)
{
	vst1q_u8(p, x);
}

static inline uint8x16_t keep(uint8x16_t x)
{
	__asm__("" : "+w"(x));
	return x;
}

static inline uint8x16_t look_up(const void *row, uint8x16_t x)
{
	return vqtbl1q_u8(vld1q_u8(row), x);
}

static inline uint8x16_t low_nibbles(uint8x16_t x)
{
	return x & vdupq_n_u8(0x0f);
}

static inline uint8x16_t high_nibbles(uint8x16_t x)
{
	return vshrq_n_u8(x, 4);
}

static inline uint8x16_t subtract(uint8x16_t x, const uint8_t *row)
{
	return vqsubq_u8(x, vld1q_u8(row));
}

static inline uint8x16_t and3(uint8x16_t a, uint8x16_t b, uint8x16_t c)
{
	return a & b & c;
}

static inline uint8x16_t or4(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
	return (a | b) | (c | d);
}

static inline uint8x16_t and_xor(uint8x16_t a, const uint8_t *row, uint8x16_t b)
{
	return (a & vld1q_u8(row)) ^ b;
}

static inline uint8x16_t previous(uint8x16_t x, uint32_t before)
{
	return vreinterpretq_u8_u32(vdupq_n_u32(before));
}

#define shift_in(x, previous, k) vextq_u8(previous, x, 16 - (k))

static inline bool is_ascii(uint8x16_t x)
{
	return vmaxvq_u8(x) < 0x80;
}

/* Uses a mask of four bits per byte. */
static inline size_t first_nonzero(uint8x16_t x)
{
	uint16x8_t nonzero = vreinterpretq_u16_u8(vtstq_u8(x, x));
	uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(nonzero, 4)), 0);

	return mask ? (size_t)__builtin_ctzll(mask) / 4 : BLOCK;
}

static inline uint8x16_t between(uint8x16_t x, uint8_t first, uint8_t last)
{
	return vcleq_u8(vsubq_u8(x, vdupq_n_u8(first)), vdupq_n_u8((uint8_t)(last - first)));
}

/* Keeps one bit per byte and adds neighbours until eight bytes are left. */
static inline uint64_t between_64(const uint8_t *p, uint8_t first, uint8_t last)
{
	const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
	uint8x16_t a = between(load(p), first, last) & bit;
	uint8x16_t b = between(load(p + BLOCK), first, last) & bit;
	uint8x16_t c = between(load(p + 2 * BLOCK), first, last) & bit;
	uint8x16_t d = between(load(p + 3 * BLOCK), first, last) & bit;
	uint8x16_t sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));

	return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

static inline uint64_t starts_64(const uint8_t *p)
{
	return ~between_64(p, 0x80, 0xbf);
}

static bool is_supported(void)
{
	return true;
}

#include "core/utf8/kernel.h"
