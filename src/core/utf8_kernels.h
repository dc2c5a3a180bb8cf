#pragma once

/* What utf8.c and the kernels share. A kernel proves; the scalar code explains. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct utf8_kernel {
	const char *name;
	/* whether this processor has the instructions */
	bool (*is_supported)(void);
	/*
	 * Returns the length of a prefix of @p that is made of complete, well-formed characters:
	 * all of it but a cut-off character at the end when there is no fault; at most 64 bytes
	 * less than the longest one when there is. Reads nothing outside [@p, @p + @n).
	 */
	size_t (*prove)(const uint8_t *p, size_t n);
	/* Counts the characters of well-formed text. */
	size_t (*count)(const uint8_t *p, size_t n);
};

extern const struct utf8_kernel utf8_kernel_scalar;
