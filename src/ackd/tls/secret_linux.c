#include "ackd/tls/secret.h"

#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>

size_t secret_size(void *p)
{
	return malloc_usable_size(p);
}

void secret_erase(void *p)
{
	explicit_bzero(p, malloc_usable_size(p));
}

void secret_forbid_dumps(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}
