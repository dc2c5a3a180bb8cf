#pragma once

/* Arrays on the heap. */

#include <stddef.h>
#include <stdlib.h>

/*
 * Changes the room of @array, which may be NULL, to @n elements of @size bytes, as realloc().
 * Returns NULL if there is no memory, or if the product is too large; @array is unchanged then. Not
 * all systems have reallocarray().
 */
static inline void *array_resize(void *array, size_t n, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : realloc(array, bytes);
}
