/*
 * UTF-8 in portable C: the reference implementation. It also determines the fault that a vector
 * kernel found.
 */

#include "core/utf8/utf8.h"

#include "core/utf8/kernels.h"

#include <string.h>

#define WORD_HIGH_BITS UINT64_C(0x8080808080808080)

static uint64_t load_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/*
 * Returns the length of the character that starts with @lead, and the range of its second byte
 * (table 3-7). Returns 0 if @lead starts no character.
 */
static size_t lead_length(uint8_t lead, uint8_t *ret_low, uint8_t *ret_high)
{
	*ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2)
		return 0;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	return lead < 0xf5 ? 4 : 0;
}

static inline enum utf8_status look(const uint8_t *p, size_t n, size_t *ret_length)
{
	uint8_t low, high;
	size_t length = lead_length(p[0], &low, &high);

	if (length == 0) {
		*ret_length = 1;
		return UTF8_INVALID_START;
	}
	for (size_t i = 1; i < length; i++) {
		*ret_length = i;
		if (i == n)
			return UTF8_PARTIAL;
		if (p[i] < low || p[i] > high)
			return UTF8_INVALID_CONTINUATION;
		low = 0x80;
		high = 0xbf;
	}
	*ret_length = length;
	return UTF8_COMPLETE;
}

enum utf8_status utf8_character(const uint8_t *p, size_t n, size_t *ret_length)
{
	return look(p, n, ret_length);
}

enum utf8_status utf8_check_scalar(const uint8_t *p, size_t n, size_t *ret_valid,
				   size_t *ret_length)
{
	enum utf8_status status;
	size_t length;
	size_t i = 0;

	while (i < n) {
		if (p[i] < 0x80) {
			while (n - i >= 8 && !(load_word(p + i) & WORD_HIGH_BITS))
				i += 8;
			while (i < n && p[i] < 0x80)
				i++;
			continue;
		}
		status = look(p + i, n - i, &length);
		if (status != UTF8_COMPLETE) {
			*ret_valid = i;
			*ret_length = length;
			return status;
		}
		i += length;
	}
	*ret_valid = n;
	*ret_length = 0;
	return UTF8_COMPLETE;
}

#define FOUR(class) (class), (class), (class), (class)
#define SIXTEEN(class) FOUR(class), FOUR(class), FOUR(class), FOUR(class)

/* The classes of the bytes 80 to FF. */
static const uint8_t high_classes[128] = {
	SIXTEEN(UTF8_80_TO_8F),
	SIXTEEN(UTF8_90_TO_9F),
	SIXTEEN(UTF8_A0_TO_BF),
	SIXTEEN(UTF8_A0_TO_BF),
	/* C0 */
	UTF8_NEVER,
	UTF8_NEVER,
	UTF8_C2_TO_DF,
	UTF8_C2_TO_DF,
	FOUR(UTF8_C2_TO_DF),
	FOUR(UTF8_C2_TO_DF),
	FOUR(UTF8_C2_TO_DF),
	SIXTEEN(UTF8_C2_TO_DF),
	/* E0 */
	UTF8_E0,
	UTF8_E1_TO_EF,
	UTF8_E1_TO_EF,
	UTF8_E1_TO_EF,
	FOUR(UTF8_E1_TO_EF),
	FOUR(UTF8_E1_TO_EF),
	UTF8_E1_TO_EF,
	UTF8_ED,
	UTF8_E1_TO_EF,
	UTF8_E1_TO_EF,
	/* F0 */
	UTF8_F0,
	UTF8_F1_TO_F3,
	UTF8_F1_TO_F3,
	UTF8_F1_TO_F3,
	UTF8_F4,
	UTF8_NEVER,
	UTF8_NEVER,
	UTF8_NEVER,
	FOUR(UTF8_NEVER),
	FOUR(UTF8_NEVER),
};

void utf8_classify_scalar(const uint8_t *p, struct utf8_classes *ret_classes)
{
	*ret_classes = (struct utf8_classes){0};
	for (int i = 0; i < 64; i++) {
		uint8_t class = p[i] < 0x80 ? UTF8_ASCII : high_classes[p[i] - 0x80];

		ret_classes->sets[class] |= UINT64_C(1) << i;
	}
}

static bool is_supported(void)
{
	return true;
}

/* Every byte that is not a continuation byte (10xxxxxx) begins a character. */
size_t utf8_count_scalar(const uint8_t *p, size_t n)
{
	size_t continuations = 0;
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t word = load_word(p + i);

		continuations += (size_t)__builtin_popcountll(word & ~word << 1 & WORD_HIGH_BITS);
	}
	for (; i < n; i++)
		continuations += (p[i] & 0xc0) == 0x80;
	return n - continuations;
}

/* ---- lines ---- */

uint8_t *utf8_put_suffix(const struct utf8_lines *lines, uint8_t *out, size_t length)
{
	size_t terminator = length > 1 && out[-2] == '\r' ? 2 : 1;
	uint8_t *end = out - terminator;

	memcpy(end, lines->suffix, lines->suffix_length);
	end += lines->suffix_length;
	if (terminator == 2)
		*end++ = '\r';
	*end++ = '\n';
	return end;
}

uint64_t utf8_lf_mask_scalar(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n, *lf = p;
	uint64_t mask = 0;

	while ((lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL)
		mask |= UINT64_C(1) << (lf++ - p);
	return mask;
}

void utf8_copy_lines_scalar(struct utf8_lines *lines)
{
	const uint8_t *p = lines->p, *lf;
	uint8_t *out = lines->out;

	while (!lines->unchecked) {
		size_t left = (size_t)(lines->end - p), length;

		lf = memchr(p, '\n', left <= lines->max_bytes ? left : lines->max_bytes + 1);
		if (!lf)
			break;
		length = (size_t)(lf + 1 - p);
		if (lines->prefix_length + length + lines->suffix_length >
		    (size_t)(lines->out_end - out))
			break;
		memcpy(out, lines->prefix, lines->prefix_length);
		memcpy(out + lines->prefix_length, p, length);
		out += lines->prefix_length + length;
		if (lines->suffix_length > 0)
			out = utf8_put_suffix(lines, out, length);
		p += length;
		lines->count++;
	}
	lines->p = p;
	lines->out = out;
}

const struct utf8_kernel utf8_kernel_scalar = {
	.name = "scalar",
	.is_supported = is_supported,
	.check = utf8_check_scalar,
	.check_next = utf8_check_next_apart,
	.count = utf8_count_scalar,
	.classify = utf8_classify_scalar,
	.copy_lines = utf8_copy_lines_scalar,
};
