#include "base/trim.h"

#include <malloc.h>

void trim_memory(void)
{
	malloc_trim(0);
}
