#include "base/descriptors.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROOM_MIN ((size_t)16 * 1024)

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

int descriptor_read_all(int fd, size_t max, char **ret_bytes, size_t *ret_n)
{
	size_t n = 0;
	size_t room = ROOM_MIN;
	char *bytes = malloc(room);

	while (bytes) {
		ssize_t got = read(fd, bytes + n, room - n);
		char *more;
		int r;

		if (got == 0) {
			*ret_bytes = bytes;
			*ret_n = n;
			return 0;
		}
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || (n += (size_t)got) > max) {
			r = got < 0 ? -errno : -EFBIG;
			free(bytes);
			return r;
		}
		if (n < room)
			continue;
		more = realloc(bytes, room *= 2);
		if (!more)
			free(bytes);
		bytes = more;
	}
	return -ENOMEM;
}
