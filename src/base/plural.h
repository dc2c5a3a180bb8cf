#pragma once

#include <stdint.h>

/* Returns the ending of a noun that @n counts: "%u worker%s". */
static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
