/* UTF-8 with AVX2: 32 bytes at a time. internal.h describes the algorithm. */

#include "core/utf8/internal.h"

#include <immintrin.h>

#define KERNEL utf8_kernel_avx2
#define KERNEL_NAME "avx2"
#define BLOCK ((size_t)32)

typedef __m256i vector;

static inline __m256i load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline void store(uint8_t *p, __m256i x)
{
	_mm256_storeu_si256((__m256i *)(void *)p, x);
}

static inline __m256i keep(__m256i x)
{
	__asm__("" : "+x"(x));
	return x;
}

/* Repeats a row of utf8_tables. */
static inline __m256i load_row(const void *row)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)row));
}

static inline __m256i look_up(const void *row, __m256i x)
{
	return _mm256_shuffle_epi8(load_row(row), x);
}

static inline __m256i low_nibbles(__m256i x)
{
	return x & load_row(utf8_tables.nibble);
}

static inline __m256i high_nibbles(__m256i x)
{
	return low_nibbles(_mm256_srli_epi16(x, 4));
}

static inline __m256i subtract(__m256i x, const void *row)
{
	return _mm256_subs_epu8(x, load_row(row));
}

static inline __m256i and3(__m256i a, __m256i b, __m256i c)
{
	return a & b & c;
}

static inline __m256i or4(__m256i a, __m256i b, __m256i c, __m256i d)
{
	return (a | b) | (c | d);
}

static inline __m256i and_xor(__m256i a, const void *row, __m256i b)
{
	return (a & load_row(row)) ^ b;
}

static inline __m256i previous(__m256i x, uint32_t before)
{
	return _mm256_permute2x128_si256(x, _mm256_set1_epi32((int)before), 0x02);
}

#define shift_in(x, previous, k) _mm256_alignr_epi8(x, previous, 16 - (k))

static inline bool is_ascii(__m256i x)
{
	return _mm256_movemask_epi8(x) == 0;
}

static inline size_t first_nonzero(__m256i x)
{
	__m256i zero = _mm256_cmpeq_epi8(x, _mm256_setzero_si256());
	unsigned mask = ~(unsigned)_mm256_movemask_epi8(zero);

	return mask ? (size_t)__builtin_ctz(mask) : BLOCK;
}

static inline uint64_t mask_64(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
							     << 32;
}

static inline uint64_t starts_64(const uint8_t *p)
{
	const __m256i last_continuation = _mm256_set1_epi8((char)0xbf);

	return mask_64(_mm256_cmpgt_epi8(load(p), last_continuation),
		       _mm256_cmpgt_epi8(load(p + BLOCK), last_continuation));
}

static inline __m256i between(__m256i x, uint8_t first, uint8_t last)
{
	const __m256i start = _mm256_set1_epi8((char)first);
	const __m256i range = _mm256_set1_epi8((char)(last - first));

	if (first == last)
		return _mm256_cmpeq_epi8(x, start);
	x = _mm256_sub_epi8(x, start);
	return _mm256_cmpeq_epi8(_mm256_min_epu8(x, range), x);
}

static inline uint64_t between_64(const uint8_t *p, uint8_t first, uint8_t last)
{
	return mask_64(between(load(p), first, last), between(load(p + BLOCK), first, last));
}

static bool is_supported(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

#include "core/utf8/kernel.h"
