#define __STDC_WANT_LIB_EXT1__ 1 /* memset_s() */

#include "ackd/tls/secret.h"

#include <malloc/malloc.h>
#include <string.h>
#include <sys/resource.h>

size_t secret_size(void *p)
{
	return malloc_size(p);
}

void secret_erase(void *p)
{
	size_t n = malloc_size(p);

	memset_s(p, n, 0, n);
}

void secret_forbid_dumps(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
}
