/*
 * UTF-8 in portable C, and the choice among the kernels. The portable code is the reference
 * implementation. It also determines the fault that a vector kernel found.
 */

#include "core/utf8/utf8.h"

#include "core/utf8/internal.h"

#include <errno.h>
#include <string.h>

/* More than any architecture has, including the NULL. */
#define KERNELS_MAX 8

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

static inline enum utf8_status character(const uint8_t *p, size_t n, size_t *ret_length)
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
	return character(p, n, ret_length);
}

struct utf8_checked utf8_check_scalar(const uint8_t *p, size_t n)
{
	size_t length = 0;
	size_t i = 0;

	while (i < n) {
		enum utf8_status status;

		if (p[i] < 0x80) {
			while (n - i >= 8 && !(load_word(p + i) & WORD_HIGH_BITS))
				i += 8;
			while (i < n && p[i] < 0x80)
				i++;
			continue;
		}
		status = character(p + i, n - i, &length);
		if (status != UTF8_COMPLETE)
			return (struct utf8_checked){i, (uint32_t)length, status};
		i += length;
	}
	return utf8_complete(n);
}

void utf8_carry_set(struct utf8_carry *carry, const uint8_t *p, size_t length)
{
	uint32_t bytes = 0;

	for (size_t i = 0; i < length; i++)
		bytes |= (uint32_t)p[i] << 8 * i;
	utf8_carry_store(carry, bytes, length);
}

enum utf8_status utf8_carry_join(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 uint8_t ret_head[UTF8_CHARACTER_MAX], size_t *ret_length,
				 size_t *ret_used)
{
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t held = carry->length;
	size_t more = UTF8_CHARACTER_MAX - held < n ? UTF8_CHARACTER_MAX - held : n;
	enum utf8_status status;
	size_t length;

	memcpy(head, carry->bytes, held);
	memcpy(head + held, p, more);
	status = utf8_character(head, held + more, &length);
	*ret_used = length - held;
	if (status == UTF8_PARTIAL) {
		memcpy(carry->bytes, head, length);
		carry->length = (uint8_t)length;
		return status;
	}
	memcpy(ret_head, head, length);
	*ret_length = length;
	carry->length = 0;
	return status;
}

/* In two steps: first the carried character, then the rest. */
struct utf8_checked utf8_check_next_scalar(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	struct utf8_carry joined = *carry;
	uint8_t head[UTF8_CHARACTER_MAX];
	struct utf8_checked checked;
	size_t used = 0, length;

	if (joined.length > 0) {
		enum utf8_status status = utf8_carry_join(&joined, p, n, head, &length, &used);

		if (status == UTF8_PARTIAL)
			*carry = joined;
		if (status != UTF8_COMPLETE)
			return (struct utf8_checked){
				.length = status == UTF8_PARTIAL ? (uint32_t)used : 0,
				.status = status,
			};
	}
	checked = utf8_check_scalar(p + used, n - used);
	checked.valid += used;
	carry->length = 0;
	if (checked.status == UTF8_PARTIAL)
		utf8_carry_set(carry, p + checked.valid, checked.length);
	return checked;
}

struct utf8_checked utf8_explain(struct utf8_carry *carry, const uint8_t *p, size_t n, size_t at)
{
	size_t valid = at > 0 ? at - utf8_cut_off(p, at) : 0, length;
	enum utf8_status status;

	if (carry && carry->length > 0 && at < UTF8_CHARACTER_MAX)
		return utf8_check_next_scalar(carry, p, n);
	if (carry)
		carry->length = 0;
	status = character(p + valid, n - valid, &length);
	return (struct utf8_checked){valid, (uint32_t)length, status};
}

/*
 * Every byte that is not a continuation byte (10xxxxxx) begins a character. The multiplication adds
 * up the bytes of a word.
 */
size_t utf8_count_scalar(const uint8_t *p, size_t n)
{
	size_t continuations = 0;
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t word = load_word(p + i);
		uint64_t found = (word & ~word << 1 & WORD_HIGH_BITS) >> 7;

		continuations += found * UINT64_C(0x0101010101010101) >> 56;
	}
	for (; i < n; i++)
		continuations += (p[i] & 0xc0) == 0x80;
	return n - continuations;
}

static void find_faults_scalar(const uint8_t *p, struct utf8_faults *ret_faults)
{
	size_t i, length;

	*ret_faults = (struct utf8_faults){.whole = UTF8_BLOCK};
	for (i = 0; i < UTF8_BLOCK; i += length) {
		enum utf8_status status = character(p + i, UTF8_BLOCK - i, &length);

		if (status == UTF8_PARTIAL) {
			ret_faults->whole = i;
			return;
		}
		if (status != UTF8_COMPLETE) {
			ret_faults->first |= UINT64_C(1) << i;
			ret_faults->rest |= ((UINT64_C(1) << (length - 1)) - 1) << i << 1;
		}
	}
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

static void copy_lines_scalar(struct utf8_lines *lines)
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

/* ---- kernels ---- */

static bool is_supported(void)
{
	return true;
}

#define SCALAR                                                                                     \
	{                                                                                          \
		.name = "scalar", .is_supported = is_supported, .check = utf8_check_scalar,        \
		.check_next = utf8_check_next_scalar, .count = utf8_count_scalar,                  \
		.find_faults = find_faults_scalar, .copy_lines = copy_lines_scalar                 \
	}

const struct utf8_kernel utf8_kernel_scalar = SCALAR;

/* A copy rather than a pointer, which saves a load before the jump. */
static struct utf8_kernel kernel = SCALAR;

__attribute__((hot)) struct utf8_checked utf8_check(const uint8_t *p, size_t n)
{
	return kernel.check(p, n);
}

struct utf8_checked utf8_check_next(struct utf8_carry *carry, const uint8_t *p, size_t n)
{
	return kernel.check_next(carry, p, n);
}

size_t utf8_count(const uint8_t *p, size_t n)
{
	return kernel.count(p, n);
}

void utf8_find_faults(const uint8_t *p, struct utf8_faults *ret_faults)
{
	kernel.find_faults(p, ret_faults);
}

void utf8_copy_lines(struct utf8_lines *lines)
{
	kernel.copy_lines(lines);
}

int utf8_kernel_select(const char *name)
{
	for (size_t i = 0; utf8_kernels[i]; i++) {
		if (name && strcmp(name, utf8_kernels[i]->name) != 0)
			continue;
		if (!utf8_kernels[i]->is_supported())
			continue;
		kernel = *utf8_kernels[i];
		return 0;
	}
	return -EINVAL;
}

const char *utf8_kernel_name(void)
{
	return kernel.name;
}

const char *const *utf8_kernel_list(void)
{
	static const char *names[KERNELS_MAX];
	size_t n = 0;

	for (size_t i = 0; utf8_kernels[i] && n < KERNELS_MAX - 1; i++) {
		if (utf8_kernels[i]->is_supported())
			names[n++] = utf8_kernels[i]->name;
	}
	names[n] = NULL;
	return names;
}
