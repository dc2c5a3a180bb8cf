#include "ackd/tls/secret.h"

#include <malloc_np.h>
#include <strings.h>
#include <sys/procctl.h>
#include <unistd.h>

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
	int how = PROC_TRACE_CTL_DISABLE;

	procctl(P_PID, getpid(), PROC_TRACE_CTL, &how);
}
