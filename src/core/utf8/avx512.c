/*
 * UTF-8 with AVX-512 (F and BW): 64 bytes at a time, and a masked load for the remaining bytes.
 * kernels.h describes the algorithm.
 */

#include "core/utf8/kernels.h"

#include <immintrin.h>

#define BLOCK ((size_t)64)

/* Up to a block, a text is one masked load. */
#define SHORT (BLOCK + 1)

#define CHECK_LONG __attribute__((noinline))

typedef __m512i vector;

/* With a carry, the minimum length of a text: the last four bytes are loaded from it. */
#define CHECK_NEXT_MIN ((size_t)UTF8_CHARACTER_MAX)

static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

/* Repeats a row of utf8_tables. */
static inline __m512i load_row(const void *row)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)row));
}

/* Returns a mask of the first @n bytes, 0 to 64. */
static inline __mmask64 first_bytes(size_t n)
{
	return _bzhi_u64(~UINT64_C(0), (unsigned)n);
}

/*
 * Returns nonzero bytes where @x is wrong. @before1 to @before3 are the bytes one to three places
 * earlier.
 */
static inline __m512i errors(__m512i x, __m512i before1, __m512i before2, __m512i before3)
{
	const __m512i nibble = load_row(utf8_tables.nibble);
	__m512i a = _mm512_and_si512(_mm512_srli_epi16(before1, 4), nibble);
	__m512i b = _mm512_and_si512(before1, nibble);
	__m512i c = _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble);
	/* a & b & c */
	__m512i pairs = _mm512_ternarylogic_epi64(
		_mm512_shuffle_epi8(load_row(utf8_tables.first_high), a),
		_mm512_shuffle_epi8(load_row(utf8_tables.first_low), b),
		_mm512_shuffle_epi8(load_row(utf8_tables.second_high), c), 0x80);
	/* 0x80 or above for bytes from E0 (third) and from F0 (fourth) */
	__m512i third = _mm512_subs_epu8(before2, load_row(utf8_tables.third));
	__m512i fourth = _mm512_subs_epu8(before3, load_row(utf8_tables.fourth));

	/* (third | fourth) & 0x80 ^ pairs: TWO_CONTS is an error unless a continuation is due */
	return _mm512_ternarylogic_epi64(_mm512_or_si512(third, fourth),
					 load_row(utf8_tables.high_bit), pairs, 0x6a);
}

/* Returns the errors of the first block; @before holds up to three preceding bytes. */
static inline __m512i first_errors(__m512i x, uint32_t before)
{
	__m512i up = _mm512_alignr_epi32(x, _mm512_set1_epi32((int)before), 12);

	return errors(x, _mm512_alignr_epi8(x, up, 15), _mm512_alignr_epi8(x, up, 14),
		      _mm512_alignr_epi8(x, up, 13));
}

static inline uint64_t nonzero(__m512i x)
{
	return _mm512_test_epi8_mask(x, x);
}

static inline __m512i or2(__m512i a, __m512i b)
{
	return _mm512_or_si512(a, b);
}

static inline __m512i or4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	return _mm512_ternarylogic_epi64(_mm512_or_si512(a, b), c, d, 0xfe);
}

static inline size_t first_bit(uint64_t mask)
{
	return mask ? (size_t)__builtin_ctzll(mask) : BLOCK;
}

static inline size_t first_nonzero(__m512i x)
{
	return first_bit(nonzero(x));
}

static inline void store(uint8_t *p, __m512i x)
{
	_mm512_storeu_si512(p, x);
}

static inline uint64_t lf_mask(const uint8_t *p)
{
	return _mm512_cmpeq_epi8_mask(load(p), _mm512_set1_epi8('\n'));
}

static inline bool is_ascii(__m512i x)
{
	return _mm512_movepi8_mask(x) == 0;
}

#include "core/utf8/blocks.h"

static UTF8_ALWAYS_INLINE enum utf8_status check_short(struct utf8_carry *carry, const uint8_t *p,
						       size_t n, size_t *ret_valid,
						       size_t *ret_length)
{
	uint32_t before = utf8_carry_before(carry);
	__mmask64 mask = first_bytes(n);
	__m512i x = _mm512_maskz_loadu_epi8(mask, p);
	uint64_t wrong;

	if (carry && n < CHECK_NEXT_MIN)
		return utf8_check_next_apart(carry, p, n, ret_valid, ret_length);
	if (is_ascii(x) && before == 0) {
		*ret_valid = n;
		*ret_length = 0;
		return UTF8_COMPLETE;
	}
	wrong = mask & nonzero(first_errors(x, before));
	if (wrong == 0)
		return utf8_finish(carry, p, n, ret_valid, ret_length);
	return utf8_explain(carry, p, n, (size_t)__builtin_ctzll(wrong), ret_valid, ret_length);
}

static inline size_t find_last_error(const uint8_t *p, size_t i, size_t n)
{
	__mmask64 mask = first_bytes(n - i);
	uint64_t wrong;

	p += i;
	wrong = mask & nonzero(errors(_mm512_maskz_loadu_epi8(mask, p),
				      _mm512_maskz_loadu_epi8(mask, p - 1),
				      _mm512_maskz_loadu_epi8(mask, p - 2),
				      _mm512_maskz_loadu_epi8(mask, p - 3)));
	return wrong ? i + (size_t)__builtin_ctzll(wrong) : n;
}

static size_t count(const uint8_t *p, size_t n)
{
	const __m512i last_continuation = _mm512_set1_epi8((char)0xbf);
	size_t characters = 0;
	size_t i = 0;

	for (; n - i >= BLOCK; i += BLOCK)
		characters += (size_t)__builtin_popcountll(
			_mm512_cmpgt_epi8_mask(load(p + i), last_continuation));
	if (i < n) {
		__mmask64 mask = first_bytes(n - i);
		__m512i x = _mm512_maskz_loadu_epi8(mask, p + i);

		characters += (size_t)__builtin_popcountll(
			_mm512_mask_cmpgt_epi8_mask(mask, x, last_continuation));
	}
	return characters;
}

static inline uint64_t bytes_between(__m512i x, uint8_t first, uint8_t last)
{
	__m512i above = _mm512_sub_epi8(x, _mm512_set1_epi8((char)first));

	return _mm512_cmple_epu8_mask(above, _mm512_set1_epi8((char)(last - first)));
}

static inline uint64_t bytes_equal(__m512i x, uint8_t byte)
{
	return _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)byte));
}

static void classify(const uint8_t *p, struct utf8_classes *ret_classes)
{
	uint64_t *sets = ret_classes->sets;
	__m512i x = load(p);

	sets[UTF8_80_TO_8F] = bytes_between(x, 0x80, 0x8f);
	sets[UTF8_90_TO_9F] = bytes_between(x, 0x90, 0x9f);
	sets[UTF8_A0_TO_BF] = bytes_between(x, 0xa0, 0xbf);
	sets[UTF8_C2_TO_DF] = bytes_between(x, 0xc2, 0xdf);
	sets[UTF8_E0] = bytes_equal(x, 0xe0);
	sets[UTF8_ED] = bytes_equal(x, 0xed);
	sets[UTF8_E1_TO_EF] = bytes_between(x, 0xe1, 0xef) & ~sets[UTF8_ED];
	sets[UTF8_F0] = bytes_equal(x, 0xf0);
	sets[UTF8_F1_TO_F3] = bytes_between(x, 0xf1, 0xf3);
	sets[UTF8_F4] = bytes_equal(x, 0xf4);
	sets[UTF8_NEVER] = bytes_between(x, 0xf5, 0xff) | bytes_between(x, 0xc0, 0xc1);
}

static bool is_supported(void)
{
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt");
}

const struct utf8_kernel utf8_kernel_avx512 = {
	.name = "avx512",
	.is_supported = is_supported,
	.check = check,
	.check_next = check_next,
	.count = count,
	.classify = classify,
	.copy_lines = copy_lines,
};
