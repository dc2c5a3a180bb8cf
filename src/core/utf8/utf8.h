#pragma once

/*
 * UTF-8 as RFC 3629 and table 3-7 of the Unicode Standard define it: no surrogates, no overlong
 * forms, nothing above U+10FFFF. An ill-formed subsequence is a *maximal subpart* (Unicode
 * chapter 3, D93b), which is also what CPython, WHATWG and Rust report.
 *
 * A character that the end of a buffer cuts off is carried into the next one by struct utf8_carry,
 * so the outcome never depends on where the buffers end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest character, and so the most that a carry and what completes it can hold. */
#define UTF8_CHARACTER_MAX 4

enum utf8_status {
	UTF8_COMPLETE,		   /* everything is well-formed, and the last character is whole */
	UTF8_PARTIAL,		   /* well-formed, but the last character is cut off */
	UTF8_INVALID_START,	   /* a byte that starts no character */
	UTF8_INVALID_CONTINUATION, /* a character that its next byte does not continue */
};

/*
 * Checks @n bytes at @p, which begin at a character boundary.
 *
 * Sets *@ret_valid to the length in bytes of the longest prefix that is made of complete,
 * well-formed characters, and *@ret_length to the length of what follows it: 0 for
 * UTF8_COMPLETE; the 1 to 3 bytes of the cut-off character for UTF8_PARTIAL (valid + length == n);
 * the 1 to 3 bytes of the maximal subpart otherwise (1 for UTF8_INVALID_START).
 *
 * A fault is reported as soon as the bytes prove it: ED A0 is UTF8_INVALID_CONTINUATION of length 1
 * at ED, never UTF8_PARTIAL. Reads no byte outside [@p, @p + @n).
 */
enum utf8_status utf8_check(const uint8_t *p, size_t n, size_t *ret_valid, size_t *ret_length);

/* The same in plain C, whatever the kernel in use: the reference. */
enum utf8_status utf8_check_scalar(const uint8_t *p, size_t n, size_t *ret_valid,
				   size_t *ret_length);

/*
 * Looks at the first character of @n > 0 bytes at @p alone; *@ret_length is that of the character
 * (UTF8_COMPLETE), of what there is of it (UTF8_PARTIAL: @n), or of the maximal subpart.
 */
enum utf8_status utf8_character(const uint8_t *p, size_t n, size_t *ret_length);

/* Returns the number of characters in @n bytes of well-formed UTF-8 at @p. */
size_t utf8_count(const uint8_t *p, size_t n);

/* Returns the code point of the character that begins at @p, which is well-formed and whole. */
static inline uint32_t utf8_code_point(const uint8_t *p)
{
	if (p[0] < 0x80)
		return p[0];
	if (p[0] < 0xe0)
		return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
	if (p[0] < 0xf0)
		return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
	return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
	       (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

/* The bytes of a character that the end of a buffer cut off; 0 <= length <= 3. Zeroed: empty. */
struct utf8_carry {
	uint8_t bytes[UTF8_CHARACTER_MAX - 1];
	uint8_t length;
};

/* Keeps the @length bytes (1 to 3) of a cut-off character at @p, which utf8_check() has found. */
void utf8_carry_set(struct utf8_carry *carry, const uint8_t *p, size_t length);

/*
 * Goes on with a carry that is not empty, given the next @n bytes (@n > 0) at @p.
 *
 * Sets *@ret_used to how many of the bytes at @p were consumed (0 to 3), and fills @ret_head:
 *   UTF8_COMPLETE              one whole character, its length in *@ret_length;
 *   UTF8_PARTIAL               all of @p was consumed and the character is still cut off;
 *   UTF8_INVALID_CONTINUATION  the maximal subpart, its length in *@ret_length. The byte that
 *                              proves the fault is not consumed.
 * @carry itself is emptied, or for UTF8_PARTIAL extended (then @ret_head is not written).
 */
enum utf8_status utf8_carry_join(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 uint8_t ret_head[UTF8_CHARACTER_MAX], size_t *ret_length,
				 size_t *ret_used);

/*
 * Checks the next @n > 0 bytes at @p of a stream of which @carry is what came before: as
 * utf8_check() does, but the bytes at @p first go on with the character in @carry, at no cost to
 * speak of. What was carried, followed by the @ret_valid bytes at @p, is whole characters.
 *
 * UTF8_COMPLETE and UTF8_PARTIAL leave in @carry what goes on with the next bytes. A fault empties
 * @carry; but when the fault is in the carried character, *@ret_valid and *@ret_length are 0 and
 * @carry is as it was: utf8_carry_join() tells the rest.
 */
enum utf8_status utf8_check_next(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 size_t *ret_valid, size_t *ret_length);

/* So many bytes at utf8_lines.prefix can be read, however short it is: a few moves copy them. */
#define UTF8_PREFIX_READ ((size_t)32)

/* Lines that are copied, with something put around each. */
struct utf8_lines {
	const uint8_t *prefix; /* goes before each line */
	size_t prefix_length;
	const uint8_t *suffix; /* goes before each terminator, LF or CRLF */
	size_t suffix_length;
	size_t max_bytes; /* of a line that is copied, LF not counted */
	bool unchecked;	  /* p to end may be ill-formed: lines of ASCII alone are copied */

	/* what is left, moved along */
	const uint8_t *p, *end;
	uint8_t *out, *out_end;
	uint64_t count; /* of lines; those that were copied are added */
};

/* Fewer unchecked bytes than these are better checked first. */
#define UTF8_UNCHECKED_MIN ((size_t)64)

/*
 * Copies the lines from p on to out, up to the first that is longer than max_bytes, has no LF
 * before end, or might not fit before out_end. What lies between out and out_end may be
 * overwritten.
 *
 * Of unchecked lines it copies those of which it sees in passing that they are ASCII, and so
 * well-formed: none of fewer than UTF8_UNCHECKED_MIN bytes, none after one that is not, and maybe
 * not the last before it; the scalar kernel none.
 */
void utf8_copy_lines(struct utf8_lines *lines);

/*
 * Chooses the kernel that the functions above use: by @name, or when it is NULL the best
 * that this processor has. Returns 0, or -EINVAL when there is no such kernel here. Until it is
 * called, the scalar one is in use. Call it once, before other threads start.
 */
int utf8_kernel_select(const char *name);

/* Returns the name of the kernel in use: "scalar", "avx2", "avx512", "neon". Static. */
const char *utf8_kernel_name(void);

/* Returns the names of the kernels that this processor can run, NULL-terminated, best first. */
const char *const *utf8_kernel_list(void);
