#pragma once

/*
 * Finds ackd's NAK lines in a stream of bytes, independent of read boundaries. An echo server may
 * return text that looks like a NAK line. Therefore NAK lines in the sent text are counted too, and
 * only the excess in the received text is the server's own.
 */

#include <stddef.h>
#include <stdint.h>

/* A longer NAK line is cut to this length. */
#define NAK_KEPT_MAX 100

/*
 * Returns the length of the NAK line ("NAK", a number, a reason) that the @n bytes at @p begin
 * with, without its line end and at most NAK_KEPT_MAX; 0 if there is none. The line ends at the
 * first byte that is not printable ASCII.
 */
size_t nak_length(const uint8_t *p, size_t n);

struct nak_finder {
	uint64_t found;
	char last[NAK_KEPT_MAX + 1];	/* the latest NAK line, without its LF */
	uint8_t line[NAK_KEPT_MAX + 1]; /* the beginning of the current line */
	size_t n;
};

/* Processes the next @n bytes at @p. */
void nak_find(struct nak_finder *f, const uint8_t *p, size_t n);
