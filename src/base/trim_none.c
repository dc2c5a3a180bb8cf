#include "base/trim.h"

/* Without malloc_trim(): the allocator decides by itself what it gives back. */
void trim_memory(void)
{
}
