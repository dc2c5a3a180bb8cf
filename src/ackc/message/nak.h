#pragma once

/*
 * Finds ackd's NAK lines in a stream of bytes, wherever the reads cut it. What a server that echoes
 * sends back may look like one: so the same is counted in what was sent, and only more NAKs than
 * that are the server's own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAK_LINE_MAX 100

struct nak_finder {
	uint64_t found;
	char last[NAK_LINE_MAX + 1]; /* the latest one, without its LF */
	char line[NAK_LINE_MAX + 1]; /* the beginning of the current line */
	size_t n;
	bool hopeless; /* the current line is none */
};

/* Goes on with @n bytes at @p. */
void nak_find(struct nak_finder *f, const uint8_t *p, size_t n);
