/*
 * UTF-8 with AVX2: 32 bytes at a time. The remaining bytes are checked as the last 32 bytes, which
 * overlap the previous block. kernels.h describes the algorithm.
 */

#include "core/utf8/kernels.h"

#include <immintrin.h>

#define BLOCK ((size_t)32)

/* Shorter texts have no last block with three bytes before it. */
#define SHORT (BLOCK + 3)

#define CHECK_LONG UTF8_ALWAYS_INLINE

typedef __m256i vector;

static inline __m256i load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Repeats a row of utf8_tables. */
static inline __m256i load_row(const void *row)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)row));
}

/*
 * Returns nonzero bytes where @x is wrong. @before1 to @before3 are the bytes one to three places
 * earlier.
 */
static inline __m256i errors(__m256i x, __m256i before1, __m256i before2, __m256i before3)
{
	const __m256i nibble = load_row(utf8_tables.nibble);
	__m256i a = _mm256_and_si256(_mm256_srli_epi16(before1, 4), nibble);
	__m256i b = _mm256_and_si256(before1, nibble);
	__m256i c = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
	__m256i pairs = _mm256_and_si256(
		_mm256_and_si256(_mm256_shuffle_epi8(load_row(utf8_tables.first_high), a),
				 _mm256_shuffle_epi8(load_row(utf8_tables.first_low), b)),
		_mm256_shuffle_epi8(load_row(utf8_tables.second_high), c));
	/* 0x80 or above for bytes from E0 (third) and from F0 (fourth) */
	__m256i third = _mm256_subs_epu8(before2, load_row(utf8_tables.third));
	__m256i fourth = _mm256_subs_epu8(before3, load_row(utf8_tables.fourth));
	__m256i due =
		_mm256_and_si256(_mm256_or_si256(third, fourth), load_row(utf8_tables.high_bit));

	/* TWO_CONTS is an error unless a continuation is due, and a missing one is an error */
	return _mm256_xor_si256(due, pairs);
}

/* Returns the errors of the first block; @before holds up to three preceding bytes. */
static inline __m256i first_errors(__m256i x, uint32_t before)
{
	__m256i up = _mm256_permute2x128_si256(x, _mm256_set1_epi32((int)before), 0x02);

	return errors(x, _mm256_alignr_epi8(x, up, 15), _mm256_alignr_epi8(x, up, 14),
		      _mm256_alignr_epi8(x, up, 13));
}

static inline __m256i or2(__m256i a, __m256i b)
{
	return _mm256_or_si256(a, b);
}

static inline __m256i or4(__m256i a, __m256i b, __m256i c, __m256i d)
{
	return _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
}

static inline bool is_ascii(__m256i x)
{
	return _mm256_movemask_epi8(x) == 0;
}

static inline size_t first_bit(unsigned mask)
{
	return mask ? (size_t)__builtin_ctz(mask) : BLOCK;
}

static inline size_t first_nonzero(__m256i x)
{
	__m256i zero = _mm256_cmpeq_epi8(x, _mm256_setzero_si256());
	return first_bit(~(unsigned)_mm256_movemask_epi8(zero));
}

static inline void store(uint8_t *p, __m256i x)
{
	_mm256_storeu_si256((__m256i *)(void *)p, x);
}

/* Returns a mask: bit i stands for byte i of @low, then of @high. */
static inline uint64_t mask_64(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
							     << 32;
}

static inline uint64_t lf_mask(const uint8_t *p)
{
	const __m256i lf = _mm256_set1_epi8('\n');

	return mask_64(_mm256_cmpeq_epi8(load(p), lf), _mm256_cmpeq_epi8(load(p + BLOCK), lf));
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
	const __m256i last_continuation = _mm256_set1_epi8((char)0xbf);
	size_t characters = 0;
	size_t i = 0;

	for (; n - i >= BLOCK; i += BLOCK) {
		__m256i starts = _mm256_cmpgt_epi8(load(p + i), last_continuation);

		characters += (size_t)__builtin_popcount((unsigned)_mm256_movemask_epi8(starts));
	}
	return characters + utf8_count_scalar(p + i, n - i);
}

/* The two halves of a block of utf8_classify(). */
struct halves {
	__m256i low, high;
};

static inline uint64_t bytes_between(const struct halves *x, uint8_t first, uint8_t last)
{
	const __m256i start = _mm256_set1_epi8((char)first);
	const __m256i range = _mm256_set1_epi8((char)(last - first));
	__m256i low = _mm256_sub_epi8(x->low, start);
	__m256i high = _mm256_sub_epi8(x->high, start);

	low = _mm256_cmpeq_epi8(_mm256_min_epu8(low, range), low);
	high = _mm256_cmpeq_epi8(_mm256_min_epu8(high, range), high);
	return mask_64(low, high);
}

static void classify(const uint8_t *p, struct utf8_classes *ret_classes)
{
	const struct halves x = {load(p), load(p + BLOCK)};
	uint64_t *sets = ret_classes->sets;

	sets[UTF8_80_TO_8F] = bytes_between(&x, 0x80, 0x8f);
	sets[UTF8_90_TO_9F] = bytes_between(&x, 0x90, 0x9f);
	sets[UTF8_A0_TO_BF] = bytes_between(&x, 0xa0, 0xbf);
	sets[UTF8_C2_TO_DF] = bytes_between(&x, 0xc2, 0xdf);
	sets[UTF8_E0] = bytes_between(&x, 0xe0, 0xe0);
	sets[UTF8_ED] = bytes_between(&x, 0xed, 0xed);
	sets[UTF8_E1_TO_EF] = bytes_between(&x, 0xe1, 0xef) & ~sets[UTF8_ED];
	sets[UTF8_F0] = bytes_between(&x, 0xf0, 0xf0);
	sets[UTF8_F1_TO_F3] = bytes_between(&x, 0xf1, 0xf3);
	sets[UTF8_F4] = bytes_between(&x, 0xf4, 0xf4);
	sets[UTF8_NEVER] = bytes_between(&x, 0xf5, 0xff) | bytes_between(&x, 0xc0, 0xc1);
}

static bool is_supported(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

const struct utf8_kernel utf8_kernel_avx2 = {
	.name = "avx2",
	.is_supported = is_supported,
	.check = check,
	.check_next = check_next,
	.count = count,
	.classify = classify,
	.copy_lines = copy_lines,
};
