#include "base/descriptors.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM_MIN ((size_t)16 * 1024)

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
