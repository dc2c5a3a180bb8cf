/* Descriptors that the service manager has passed; the same with and without libsystemd. */

#include "ackd/systemd/systemd.h"

#include <stdlib.h>
#include <unistd.h>

void systemd_fds_finish(struct systemd_fd *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i].fd >= 0)
			close(fds[i].fd);
		free(fds[i].name);
	}
}
