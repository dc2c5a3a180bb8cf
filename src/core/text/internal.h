#pragma once

/* Runs of ASCII, which all charsets share. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The step of the search for ASCII, in bytes. */
#define ASCII_STEP ((size_t)16)
#define ASCII_HIGH_BITS UINT64_C(0x8080808080808080)

/* Returns the length of the leading ASCII in @text. */
static inline size_t ascii_length(const uint8_t *text, size_t n)
{
	size_t i = 0;

	for (; n - i >= ASCII_STEP; i += ASCII_STEP) {
		uint64_t words[ASCII_STEP / 8];

		memcpy(words, text + i, sizeof(words));
		if ((words[0] | words[1]) & ASCII_HIGH_BITS)
			break;
	}
	while (i < n && text[i] < 0x80)
		i++;
	return i;
}

/* Copies the leading ASCII and returns its length. May overwrite @out beyond it, up to @n bytes. */
static inline size_t copy_ascii(const uint8_t *text, uint8_t *out, size_t n)
{
	size_t i = 0;

	for (; n - i >= ASCII_STEP; i += ASCII_STEP) {
		uint64_t words[ASCII_STEP / 8];

		memcpy(words, text + i, sizeof(words));
		memcpy(out + i, words, sizeof(words));
		if ((words[0] | words[1]) & ASCII_HIGH_BITS)
			break;
	}
	for (; i < n && text[i] < 0x80; i++)
		out[i] = text[i];
	return i;
}
