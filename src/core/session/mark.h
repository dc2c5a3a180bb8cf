#pragma once

/* The bytes that mark the start or the end of a frame. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The maximum length of a mark. */
#define MARK_MAX 8

struct mark {
	uint8_t length; /* 0 to MARK_MAX */
	uint8_t bytes[MARK_MAX];

	/*
	 * The failure function of Knuth, Morris and Pratt: if the first i bytes match and the next
	 * one does not, the last fallback[i] of them may still begin a match.
	 */
	uint8_t fallback[MARK_MAX];
};

/* Sets mark->fallback. Call it after the bytes are set. */
void mark_prepare(struct mark *mark);

/*
 * Searches @n bytes at @p for @mark, which is not empty. *@matched bytes of it, fewer than all,
 * were matched by the end of the bytes before @p. Returns whether it is found, and sets *@ret_used
 * to the number of bytes up to and including it, or to @n. *@matched is set to how many bytes of
 * the mark are matched at that place. Looks at each byte once, apart from at most MARK_MAX steps
 * back in the mark.
 */
bool mark_find(const struct mark *mark, const uint8_t *p, size_t n, uint8_t *matched,
	       size_t *ret_used);
