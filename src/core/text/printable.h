#pragma once

/*
 * The one list of characters that must not reach a terminal, a log or a line of JSON as they are,
 * because they control the terminal or make text look like other text. Whoever writes text that
 * comes from elsewhere (peers, files, arguments) asks here and escapes the rest in its own
 * notation.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Returns whether code point @c may be written as it is. Not: the control characters (C0, DEL, C1),
 * so neither LF nor TAB; the bidirectional controls (U+061C, U+200E, U+200F, U+202A to U+202E,
 * U+2066 to U+2069); the separators of lines and paragraphs (U+2028, U+2029).
 */
bool is_printable(uint32_t c);

/*
 * Looks at the character at the beginning of the @n > 0 bytes at @p. Sets *@ret_length to its
 * length in bytes, at most @n, or to that of an ill-formed subsequence. Returns whether it is
 * well-formed and printable.
 */
bool printable_next(const uint8_t *p, size_t n, size_t *ret_length);

/* The room that printable_escape() needs at most for a text of @n bytes, with its NUL. */
#define PRINTABLE_SIZE(n) (4 * (n) + 1)

/*
 * Copies @text to @out (@size > 0 bytes), each byte of what is not printable or ill-formed as \xNN.
 * What does not fit is cut off, between characters. Returns the length.
 */
size_t printable_escape(char *out, size_t size, const char *text);
