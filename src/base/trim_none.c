#include "base/trim.h"

/* Without malloc_trim() the allocator decides what it returns to the system. */
void trim_memory(void)
{
}
