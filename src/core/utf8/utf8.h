#pragma once

/*
 * UTF-8 as RFC 3629 and table 3-7 of the Unicode Standard define it: no surrogates, no overlong
 * forms, nothing above U+10FFFF. An ill-formed subsequence is a *maximal subpart* (Unicode chapter
 * 3, D93b), which is also what CPython, WHATWG and Rust report.
 *
 * struct utf8_carry carries a character cut off by the end of a buffer into the next buffer, so the
 * result never depends on buffer boundaries.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The maximum length of a character, and so of a carry together with the bytes that complete it. */
#define UTF8_CHARACTER_MAX 4

enum utf8_status {
	UTF8_COMPLETE,		   /* everything is well-formed, and the last character is whole */
	UTF8_PARTIAL,		   /* well-formed, but the last character is cut off */
	UTF8_INVALID_START,	   /* a byte that cannot start a character */
	UTF8_INVALID_CONTINUATION, /* a character whose next byte is not a valid continuation */
};

/* The result of a check of n bytes. */
struct utf8_checked {
	size_t valid;	 /* bytes of the longest prefix of complete, well-formed characters */
	uint32_t length; /* of what follows it: 0 for UTF8_COMPLETE; the 1 to 3 bytes of the cut-off
			    character for UTF8_PARTIAL (valid + length == n); the 1 to 3 bytes of
			    the maximal subpart otherwise (1 for UTF8_INVALID_START) */
	enum utf8_status status;
};

/*
 * Checks @n bytes at @p, which begin at a character boundary.
 *
 * A fault is reported as soon as the bytes prove it: ED A0 is UTF8_INVALID_CONTINUATION of length 1
 * at ED, never UTF8_PARTIAL. Reads no byte outside [@p, @p + @n).
 */
struct utf8_checked utf8_check(const uint8_t *p, size_t n);

/* The same in portable C, independent of the selected kernel: the reference implementation. */
struct utf8_checked utf8_check_scalar(const uint8_t *p, size_t n);

/*
 * Checks only the first character of @n > 0 bytes at @p. Sets *@ret_length to the length of the
 * character (UTF8_COMPLETE), of its available part (UTF8_PARTIAL: @n), or of the maximal subpart.
 */
enum utf8_status utf8_character(const uint8_t *p, size_t n, size_t *ret_length);

/* Returns the number of characters in @n bytes of well-formed UTF-8 at @p. */
size_t utf8_count(const uint8_t *p, size_t n);

/* Returns the code point of the well-formed, whole character at @p. */
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

/* Stores the @length bytes (1 to 3) at @p of a cut-off character that utf8_check() found. */
void utf8_carry_set(struct utf8_carry *carry, const uint8_t *p, size_t length);

/*
 * Continues a nonempty carry with the next @n bytes (@n > 0) at @p.
 *
 * Sets *@ret_used to the number of bytes consumed at @p (0 to 3), and fills @ret_head:
 *   UTF8_COMPLETE              one whole character, its length in *@ret_length;
 *   UTF8_PARTIAL               all of @p was consumed and the character is still cut off;
 *   UTF8_INVALID_CONTINUATION  the maximal subpart, its length in *@ret_length. The byte that
 *                              proves the fault is not consumed.
 * Empties @carry, or extends it for UTF8_PARTIAL (then @ret_head is not written).
 */
enum utf8_status utf8_carry_join(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 uint8_t ret_head[UTF8_CHARACTER_MAX], size_t *ret_length,
				 size_t *ret_used);

/*
 * Checks the next @n > 0 bytes at @p of a stream, like utf8_check(), but continues the character in
 * @carry first, at almost no cost. The carried bytes followed by the first valid bytes at @p are
 * whole characters.
 *
 * UTF8_COMPLETE and UTF8_PARTIAL store in @carry the cut-off character for the next call. A fault
 * empties @carry, with one exception: if the fault is in the carried character, valid and length
 * are 0 and @carry is unchanged. Then utf8_carry_join() reports the details.
 */
struct utf8_checked utf8_check_next(struct utf8_carry *carry, const uint8_t *p, size_t n);

/* The size of the blocks that utf8_find_faults() takes, in bytes. */
#define UTF8_BLOCK ((size_t)64)

/* The faults of a block, as sets of its bytes: bit i stands for byte i. */
struct utf8_faults {
	uint64_t first; /* the first byte of each maximal subpart */
	uint64_t rest;	/* the other bytes of these subparts */
	size_t whole;	/* number of bytes before a character that may continue after the block */
};

/* Finds all ill-formed subsequences in the UTF8_BLOCK bytes at @p, up to ret_faults->whole. */
void utf8_find_faults(const uint8_t *p, struct utf8_faults *ret_faults);

/*
 * The number of bytes at utf8_lines.prefix that must be readable, however short the prefix is: it
 * is copied in a few wide moves.
 */
#define UTF8_PREFIX_READ ((size_t)32)

/* Lines to copy, with a prefix and suffix for each. */
struct utf8_lines {
	const uint8_t *prefix; /* goes before each line */
	size_t prefix_length;
	const uint8_t *suffix; /* goes before each terminator, LF or CRLF */
	size_t suffix_length;
	size_t max_bytes; /* maximum length of a copied line, without LF */
	bool unchecked;	  /* p to end may be ill-formed: only ASCII lines are copied */

	/* the remaining input and output; each call advances them */
	const uint8_t *p, *end;
	uint8_t *out, *out_end;
	uint64_t count; /* lines copied, added up over calls */
};

/* With fewer unchecked bytes, checking them first is faster. */
#define UTF8_UNCHECKED_MIN ((size_t)64)

/*
 * Copies the lines from p on to out. Stops at the first line that is longer than max_bytes, has no
 * LF before end, or might not fit before out_end. May overwrite everything between out and out_end.
 *
 * It copies unchecked lines only if it finds them to be ASCII, and so well-formed. It copies none
 * if there are fewer than UTF8_UNCHECKED_MIN bytes, none after a line that is not ASCII, and
 * possibly not the last line before that one. The scalar kernel copies no unchecked lines.
 */
void utf8_copy_lines(struct utf8_lines *lines);

/*
 * Selects the kernel that the functions above use: the one named @name, or the best that this
 * processor supports if @name is NULL. Returns 0, or -EINVAL if this processor supports no such
 * kernel. Until the first call the scalar kernel is in use. Call it once, before other threads
 * start.
 */
int utf8_kernel_select(const char *name);

/* Returns the name of the kernel in use: "scalar", "avx2", "avx512", "neon". Static. */
const char *utf8_kernel_name(void);

/*
 * Returns the names of the kernels that this processor supports, NULL-terminated, best first.
 * Static.
 */
const char *const *utf8_kernel_list(void);
