#include "base/descriptors.h"

#include <stdbool.h>
#include <sys/resource.h>

/* More than any system permits, and few enough for a search. */
#define PERMITTED_MAX ((rlim_t)1 << 30)

static bool permits(struct rlimit *limit, rlim_t n)
{
	limit->rlim_cur = n;
	return setrlimit(RLIMIT_NOFILE, limit) == 0;
}

/*
 * Searches the highest limit that the system permits, between the current one and the hard one. In
 * macOS the hard one may be infinite, which setrlimit() refuses, as all above the kernel's maximum.
 */
static void search(struct rlimit *limit, rlim_t low)
{
	rlim_t high = limit->rlim_max < PERMITTED_MAX ? limit->rlim_max : PERMITTED_MAX;

	while (low < high) {
		rlim_t middle = high - (high - low) / 2;

		if (permits(limit, middle))
			low = middle;
		else
			high = middle - 1;
	}
}

uint64_t descriptors_raise_limit(void)
{
	struct rlimit limit;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return UINT64_MAX;
	before = limit.rlim_cur;
	if (!permits(&limit, limit.rlim_max))
		search(&limit, before);
	getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}
