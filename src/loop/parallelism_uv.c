#include "loop/parallelism.h"

#include <uv.h>

unsigned parallelism(void)
{
	return uv_available_parallelism();
}
