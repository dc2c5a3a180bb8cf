#pragma once

/* A growable byte buffer whose memory is charged to a budget. */

#include "core/session/budget.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* NULL while capacity is 0 */
	uint32_t length;
	uint32_t capacity;
};

/*
 * Appends @n bytes at @p. The capacity grows geometrically, but never beyond @max_bytes; the caller
 * ensures that length + @n <= @max_bytes. Returns 0, -ENOBUFS if the budget is exceeded, or
 * -ENOMEM. On an error the buffer is unchanged.
 */
int buf_append(struct buf *buf, struct budget *budget, size_t max_bytes, const uint8_t *p,
	       size_t n);

/* Frees the memory and returns it to the budget. @buf is empty and usable afterwards. */
void buf_finish(struct buf *buf, struct budget *budget);
