#pragma once

/* A growing area of bytes whose memory is charged to a budget. */

#include "core/session/budget.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* NULL while capacity is 0 */
	uint32_t length;
	uint32_t capacity;
};

/*
 * Appends @n bytes at @p; grows as needed, geometrically, but never beyond @max_bytes of capacity
 * (the caller has checked that length + @n <= @max_bytes). Returns 0, -ENOBUFS when the budget is
 * exceeded or -ENOMEM; then nothing changed.
 */
int buf_append(struct buf *buf, struct budget *budget, size_t max_bytes, const uint8_t *p,
	       size_t n);

/* Releases the memory and gives it back to the budget; @buf is empty and usable afterwards. */
void buf_finish(struct buf *buf, struct budget *budget);
