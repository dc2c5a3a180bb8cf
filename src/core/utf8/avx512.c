/*
 * UTF-8 with AVX-512 (F, BW and VBMI): 64 bytes at a time, and a masked load for the remaining
 * bytes. internal.h describes the algorithm, kernel.h the operations.
 */

#include "core/utf8/internal.h"

#include <immintrin.h>

#define KERNEL utf8_kernel_avx512
#define KERNEL_NAME "avx512"
#define BLOCK ((size_t)64)
#define MASKED_LOADS

/* With a carry, the minimum length of a text: the last four bytes are loaded from it. */
#define CHECK_NEXT_MIN ((size_t)UTF8_CHARACTER_MAX)

typedef __m512i vector;

static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

static inline void store(uint8_t *p, __m512i x)
{
	_mm512_storeu_si512(p, x);
}

static inline __m512i keep(__m512i x)
{
	__asm__("" : "+v"(x));
	return x;
}

/* Repeats a row of utf8_tables. */
static inline __m512i load_row(const void *row)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)row));
}

/* Uses six bits of an index: as the row is repeated, all but the lower four may be anything. */
static inline __m512i look_up(const void *row, __m512i x)
{
	return _mm512_permutexvar_epi8(x, load_row(row));
}

static inline __m512i low_nibbles(__m512i x)
{
	return x;
}

static inline __m512i high_nibbles(__m512i x)
{
	return _mm512_srli_epi16(x, 4);
}

static inline __m512i subtract(__m512i x, const void *row)
{
	return _mm512_subs_epu8(x, load_row(row));
}

static inline __m512i and3(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi64(a, b, c, 0x80);
}

static inline __m512i or4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	return _mm512_ternarylogic_epi64(a | b, c, d, 0xfe);
}

static inline __m512i and_xor(__m512i a, const void *row, __m512i b)
{
	return _mm512_ternarylogic_epi64(a, load_row(row), b, 0x6a);
}

static inline __m512i previous(__m512i x, uint32_t before)
{
	return _mm512_alignr_epi32(x, _mm512_set1_epi32((int)before), 12);
}

#define shift_in(x, previous, k) _mm512_alignr_epi8(x, previous, 16 - (k))

static inline bool is_ascii(__m512i x)
{
	return _mm512_movepi8_mask(x) == 0;
}

static inline uint64_t nonzero(__m512i x)
{
	return _mm512_test_epi8_mask(x, x);
}

static inline size_t first_nonzero(__m512i x)
{
	uint64_t mask = nonzero(x);

	return mask ? (size_t)__builtin_ctzll(mask) : BLOCK;
}

static inline uint64_t starts_64(const uint8_t *p)
{
	return _mm512_cmpgt_epi8_mask(load(p), _mm512_set1_epi8((char)0xbf));
}

static inline uint64_t between_64(const uint8_t *p, uint8_t first, uint8_t last)
{
	const __m512i start = _mm512_set1_epi8((char)first);

	if (first == last)
		return _mm512_cmpeq_epi8_mask(load(p), start);
	return _mm512_cmple_epu8_mask(_mm512_sub_epi8(load(p), start),
				      _mm512_set1_epi8((char)(last - first)));
}

static bool is_supported(void)
{
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
	       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

#include "core/utf8/kernel.h"

/* Returns a mask of the first @n bytes, 0 to 64. */
static inline __mmask64 first_bytes(size_t n)
{
	return _bzhi_u64(~UINT64_C(0), (unsigned)n);
}

static UTF8_ALWAYS_INLINE struct utf8_checked check_short(struct utf8_carry *carry,
							  const uint8_t *p, size_t n)
{
	uint32_t before = utf8_carry_before(carry);
	__mmask64 mask = first_bytes(n);
	__m512i x = _mm512_maskz_loadu_epi8(mask, p);
	uint64_t wrong;

	if (carry && n < CHECK_NEXT_MIN)
		return utf8_check_next_scalar(carry, p, n);
	if (is_ascii(x) && before == 0)
		return utf8_complete(n);
	wrong = mask & nonzero(first_errors(x, before));
	if (wrong == 0)
		return utf8_finish(carry, p, n);
	return utf8_explain(carry, p, n, (size_t)__builtin_ctzll(wrong));
}

static inline size_t last_block(size_t i, size_t n)
{
	return i + (n - i - 1) / BLOCK * BLOCK;
}

/* The bytes after the end are zero, and no error is reported there: the text may go on. */
static inline vector last_errors(const uint8_t *p, size_t last, size_t n)
{
	__mmask64 mask = first_bytes(n - last);

	p += last;
	return _mm512_maskz_mov_epi8(mask, errors(_mm512_maskz_loadu_epi8(mask, p),
						  keep(_mm512_maskz_loadu_epi8(mask, p - 1)),
						  _mm512_maskz_loadu_epi8(mask, p - 2),
						  _mm512_maskz_loadu_epi8(mask, p - 3)));
}
