#include "loop/parallelism.h"

#include <sched.h>
#include <unistd.h>

unsigned parallelism(void)
{
	cpu_set_t permitted;
	long n;

	/* it fails if a processor has a number for which the set has no room */
	if (sched_getaffinity(0, sizeof(permitted), &permitted) == 0)
		n = CPU_COUNT(&permitted);
	else
		n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}
