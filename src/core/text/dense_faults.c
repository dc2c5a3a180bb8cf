#include "core/text/dense_faults.h"

#include "core/utf8/kernels.h"

#include <string.h>

/* Sets of bytes of a block: bit i stands for byte i. */
struct sets {
	uint64_t faults;   /* the first byte of each ill-formed subsequence */
	uint64_t absorbed; /* the other bytes of these subsequences */
	size_t whole; /* number of bytes before a character that may continue in the next block */
};

/*
 * A byte is good if it is ASCII or part of a whole character. Every other byte begins an ill-formed
 * subsequence, unless it continues one as a valid second or third byte.
 */
static void find_faults(const struct utf8_classes *c, struct sets *ret_sets)
{
	const uint64_t *in = c->sets;
	uint64_t lead4 = in[UTF8_F0] | in[UTF8_F1_TO_F3] | in[UTF8_F4];
	uint64_t lead3 = in[UTF8_E0] | in[UTF8_E1_TO_EF] | in[UTF8_ED];
	uint64_t leads = in[UTF8_C2_TO_DF] | lead3 | lead4;
	uint64_t continuations = in[UTF8_80_TO_8F] | in[UTF8_90_TO_9F] | in[UTF8_A0_TO_BF];
	uint64_t misplaced =
		(in[UTF8_E0] << 1 & ~in[UTF8_A0_TO_BF]) | (in[UTF8_ED] << 1 & in[UTF8_A0_TO_BF]) |
		(in[UTF8_F0] << 1 & in[UTF8_80_TO_8F]) | (in[UTF8_F4] << 1 & ~in[UTF8_80_TO_8F]);
	uint64_t second = leads << 1 & continuations & ~misplaced;
	uint64_t third = (second & (lead3 | lead4) << 1) << 1 & continuations;
	uint64_t fourth = (third & lead4 << 2) << 1 & continuations;
	uint64_t end2 = second & in[UTF8_C2_TO_DF] << 1;
	uint64_t end3 = third & lead3 << 2;
	uint64_t good = ~(leads | continuations | in[UTF8_NEVER]) | end2 | end2 >> 1 | end3 |
			end3 >> 1 | end3 >> 2 | fourth | fourth >> 1 | fourth >> 2 | fourth >> 3;
	/* leads near the end of the block whose characters are valid as far as the block goes */
	uint64_t unfinished = (leads & UINT64_C(1) << 63) |
			      ((lead3 | lead4) & UINT64_C(1) << 62 & second >> 1) |
			      (lead4 & UINT64_C(1) << 61 & third >> 2);

	ret_sets->whole = unfinished ? (size_t)__builtin_ctzll(unfinished) : REPAIR_BLOCK;
	ret_sets->absorbed = (second | third) & ~good;
	ret_sets->faults = ~good & ~ret_sets->absorbed;
	if (unfinished)
		ret_sets->faults &= (unfinished & -unfinished) - 1; /* only the faults before it */
}

/* Copies @n bytes, at most a block, without a loop. May read and write a whole block. */
static inline void copy(uint8_t *out, const uint8_t *p, size_t n)
{
	memcpy(out, p, 16);
	if (n > 16)
		memcpy(out + 16, p + 16, REPAIR_BLOCK - 16);
}

unsigned repair_block(enum decode_errors errors, const uint8_t *raw, uint8_t *out, size_t *ret_read,
		      size_t *ret_written)
{
	struct utf8_classes classes;
	struct sets sets;
	size_t read = 0;
	size_t written = 0;

	utf8_classify(raw, &classes);
	find_faults(&classes, &sets);
	for (uint64_t faults = sets.faults; faults; faults &= faults - 1) {
		size_t at = (size_t)__builtin_ctzll(faults);
		/* a fault at the last byte of a block has no further bytes */
		uint64_t after = at < REPAIR_BLOCK - 1 ? sets.absorbed >> (at + 1) : 0;
		size_t length = 1 + (size_t)__builtin_ctzll(~after);

		copy(out + written, raw + read, at - read);
		written += at - read;
		if (errors == DECODE_REPLACE) {
			memcpy(out + written, "\xef\xbf\xbd", 4);
			written += 3;
		} else {
			written += decode_replacement(errors, raw + at, length, out + written);
		}
		read = at + length;
	}
	copy(out + written, raw + read, sets.whole - read);
	*ret_read = sets.whole;
	*ret_written = written + sets.whole - read;
	return (unsigned)__builtin_popcountll(sets.faults);
}
