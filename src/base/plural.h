#pragma once

/* The plurals of nouns in messages. */

#include <stdint.h>

/* Returns the plural ending for a noun counted by @n: "%u worker%s". */
static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
