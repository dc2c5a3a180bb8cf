#pragma once

/*
 * Writes received text to a terminal without harmful characters. Control characters become ^[ or
 * \x9b, bidirectional controls \u202e, and ill-formed bytes \xNN. Line ends and tabs are unchanged.
 */

#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stdio.h>

struct display {
	struct utf8_carry carry;
	bool carriage_return; /* a held CR, which may be part of a line end */
};

/* Writes the @n bytes at @p to @out. Keeps a cut-off character for the next call. */
void display_write(struct display *d, const uint8_t *p, size_t n, FILE *out);

/* Writes the kept bytes at the end of the input. */
void display_end(struct display *d, FILE *out);
