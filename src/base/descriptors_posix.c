#include "base/descriptors.h"

#include <sys/resource.h>

uint64_t descriptors_raise_limit(void)
{
	struct rlimit rlimit;

	if (getrlimit(RLIMIT_NOFILE, &rlimit) < 0)
		return UINT64_MAX;
	rlimit.rlim_cur = rlimit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rlimit) < 0)
		getrlimit(RLIMIT_NOFILE, &rlimit);
	return rlimit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rlimit.rlim_cur;
}
