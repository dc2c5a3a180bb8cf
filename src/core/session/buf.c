#include "core/session/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Small enough to be negligible, large enough for most lines split over two packets. */
#define BUF_CAPACITY_MIN ((size_t)256)

static int buf_grow(struct buf *buf, struct budget *budget, size_t max_bytes, size_t needed)
{
	size_t capacity = (size_t)buf->capacity * 2;
	uint8_t *data;

	if (capacity < BUF_CAPACITY_MIN)
		capacity = BUF_CAPACITY_MIN;
	if (capacity < needed)
		capacity = needed;
	if (capacity > max_bytes)
		capacity = max_bytes;
	if (!budget_take(budget, capacity - buf->capacity))
		return -ENOBUFS;
	data = realloc(buf->data, capacity);
	if (!data) {
		budget_give(budget, capacity - buf->capacity);
		return -ENOMEM;
	}
	buf->data = data;
	buf->capacity = (uint32_t)capacity;
	return 0;
}

int buf_append(struct buf *buf, struct budget *budget, size_t max_bytes, const uint8_t *p, size_t n)
{
	size_t needed = buf->length + n;

	if (needed > buf->capacity) {
		int r = buf_grow(buf, budget, max_bytes, needed);
		if (r < 0)
			return r;
	}
	if (n > 0)
		memcpy(buf->data + buf->length, p, n);
	buf->length = (uint32_t)needed;
	return 0;
}

void buf_finish(struct buf *buf, struct budget *budget)
{
	free(buf->data);
	if (buf->capacity > 0)
		budget_give(budget, buf->capacity);
	*buf = (struct buf){0};
}
