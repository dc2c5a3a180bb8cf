#pragma once

/*
 * The single list of characters that must not reach a terminal, a log or a line of JSON unescaped:
 * they control the terminal or make text look like other text. All code that writes foreign text
 * (from peers, files, arguments) uses it, and escapes in its own notation.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Returns whether code point @c may be written unescaped. It returns false for: control characters
 * (C0, DEL, C1), including LF and TAB; bidirectional controls (U+061C, U+200E, U+200F, U+202A to
 * U+202E, U+2066 to U+2069); line and paragraph separators (U+2028, U+2029).
 */
bool is_printable(uint32_t c);

/*
 * Examines the first character of the @n > 0 bytes at @p. Sets *@ret_length to the length in bytes,
 * at most @n, of the character or ill-formed subsequence. Returns whether it is well-formed and
 * printable.
 */
bool printable_next(const uint8_t *p, size_t n, size_t *ret_length);

/* The buffer size that printable_bytes() needs for @n bytes, including the NUL. */
#define PRINTABLE_BYTES_SIZE(n) (4 * (n) + 4)

/*
 * Writes @n bytes at @p as Python's ascii() shows a bytes object, such as b'a\xff\n', to @out.
 * Returns the length.
 */
size_t printable_bytes(char *out, const uint8_t *p, size_t n);

/* The buffer size that printable_escape() needs for a text of @n bytes, including the NUL. */
#define PRINTABLE_SIZE(n) (4 * (n) + 1)

/*
 * Copies @text to @out (@size > 0 bytes). Each byte of an unprintable character or ill-formed
 * subsequence becomes \xNN. Truncates at a character boundary if @out is too small. Returns the
 * length.
 */
size_t printable_escape(char *out, size_t size, const char *text);
