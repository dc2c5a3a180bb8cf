#pragma once

/*
 * Shows what a server sent on a terminal such that it can do no harm there: control characters as
 * ^[ and \x9b, those that turn the direction of text as \u202e, ill-formed bytes as \xNN. A line's
 * end and a tab stay what they are.
 */

#include "core/utf8/utf8.h"

#include <stdbool.h>
#include <stdio.h>

struct display {
	struct utf8_carry carry;
	bool carriage_return; /* held back: the end of a line, or a trick to overwrite it */
};

/* Writes the @n bytes at @p to @out; a cut-off character waits for the next call. */
void display_write(struct display *d, const uint8_t *p, size_t n, FILE *out);

/* Writes what was waiting when the input has ended. */
void display_end(struct display *d, FILE *out);
