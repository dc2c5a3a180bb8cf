/*
 * UTF-8 with NEON, which every AArch64 processor has: 16 bytes at a time. The remaining bytes are
 * checked as the last 16 bytes, which overlap the previous block. kernels.h describes the
 * algorithm.
 */

#include "core/utf8/kernels.h"

#include <arm_neon.h>

#define BLOCK ((size_t)16)

/* Shorter texts have no last block with three bytes before it. */
#define SHORT (BLOCK + 3)

#define CHECK_LONG UTF8_ALWAYS_INLINE

typedef uint8x16_t vector;

static inline uint8x16_t look_up(const int8_t table[16], uint8x16_t nibbles)
{
	return vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(table)), nibbles);
}

/*
 * Returns nonzero bytes where @x is wrong. @before1 to @before3 are the bytes one to three places
 * earlier.
 */
static inline uint8x16_t errors(uint8x16_t x, uint8x16_t before1, uint8x16_t before2,
				uint8x16_t before3)
{
	uint8x16_t pairs = vandq_u8(
		vandq_u8(look_up(utf8_tables.first_high, vshrq_n_u8(before1, 4)),
			 look_up(utf8_tables.first_low, vandq_u8(before1, vdupq_n_u8(0x0f)))),
		look_up(utf8_tables.second_high, vshrq_n_u8(x, 4)));
	/* 0x80 or above for bytes from E0 (third) and from F0 (fourth) */
	uint8x16_t third = vqsubq_u8(before2, vdupq_n_u8(0xe0 - 0x80));
	uint8x16_t fourth = vqsubq_u8(before3, vdupq_n_u8(0xf0 - 0x80));
	uint8x16_t due = vandq_u8(vorrq_u8(third, fourth), vdupq_n_u8(0x80));

	/* TWO_CONTS is an error unless a continuation is due, and a missing one is an error */
	return veorq_u8(due, pairs);
}

/* Returns the errors of the first block; @before holds up to three preceding bytes. */
static inline uint8x16_t first_errors(uint8x16_t x, uint32_t before)
{
	uint8x16_t up = vreinterpretq_u8_u32(vdupq_n_u32(before));

	return errors(x, vextq_u8(up, x, 15), vextq_u8(up, x, 14), vextq_u8(up, x, 13));
}

static inline uint8x16_t load(const uint8_t *p)
{
	return vld1q_u8(p);
}

static inline uint8x16_t or2(uint8x16_t a, uint8x16_t b)
{
	return vorrq_u8(a, b);
}

static inline uint8x16_t or4(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
	return vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d));
}

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

static inline void store(uint8_t *p, uint8x16_t x)
{
	vst1q_u8(p, x);
}

/* Keeps one bit per byte and adds neighbours until eight bytes are left. */
static inline uint64_t lf_mask(const uint8_t *p)
{
	const uint8x16_t lf = vdupq_n_u8('\n');
	const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
	uint8x16_t a = vandq_u8(vceqq_u8(load(p), lf), bit);
	uint8x16_t b = vandq_u8(vceqq_u8(load(p + BLOCK), lf), bit);
	uint8x16_t c = vandq_u8(vceqq_u8(load(p + 2 * BLOCK), lf), bit);
	uint8x16_t d = vandq_u8(vceqq_u8(load(p + 3 * BLOCK), lf), bit);
	uint8x16_t sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));

	return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

#include "core/utf8/blocks.h"

static inline enum utf8_status check_short(struct utf8_carry *carry, const uint8_t *p, size_t n,
					   size_t *ret_valid, size_t *ret_length)
{
	return carry ? utf8_check_next_apart(carry, p, n, ret_valid, ret_length)
		     : utf8_check_scalar(p, n, ret_valid, ret_length);
}

/* Checks the last BLOCK bytes, some of which were checked before. */
static inline size_t find_last_error(const uint8_t *p, size_t i, size_t n)
{
	size_t at = n - BLOCK;
	size_t wrong = first_nonzero(block_errors(p + at));

	return wrong < BLOCK ? at + wrong : n;
}

static size_t count(const uint8_t *p, size_t n)
{
	const int8x16_t last_continuation = vdupq_n_s8((int8_t)0xbf);
	size_t characters = 0;
	size_t i = 0;

	for (; n - i >= BLOCK; i += BLOCK) {
		int8x16_t x = vreinterpretq_s8_u8(vld1q_u8(p + i));

		characters += vaddvq_u8(vshrq_n_u8(vcgtq_s8(x, last_continuation), 7));
	}
	return characters + utf8_count_scalar(p + i, n - i);
}

static bool is_supported(void)
{
	return true;
}

const struct utf8_kernel utf8_kernel_neon = {
	.name = "neon",
	.is_supported = is_supported,
	.check = check,
	.check_next = check_next,
	.count = count,
	.classify = utf8_classify_scalar,
	.copy_lines = copy_lines,
};
