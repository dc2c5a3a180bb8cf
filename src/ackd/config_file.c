#include "config_file.h"

#include "config_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int read_all(int fd, char **ret_bytes, size_t *ret_n)
{
	size_t n = 0, capacity = 0;
	char *bytes = NULL, *grown;
	ssize_t n_read;
	int r;

	for (;;) {
		if (n == capacity) {
			capacity = capacity > 0 ? capacity * 2 : 16384;
			grown = realloc(bytes, capacity);
			if (grown == NULL) {
				r = -ENOMEM;
				break;
			}
			bytes = grown;
		}
		n_read = read(fd, bytes + n, capacity - n);
		if (n_read == 0) {
			*ret_bytes = bytes;
			*ret_n = n;
			return 0;
		}
		if (n_read < 0 && errno == EINTR)
			continue;
		r = n_read < 0 ? -errno : 0;
		if (r < 0)
			break;
		n += (size_t)n_read;
		if (n > CONFIG_SCAN_BYTES_MAX) {
			r = -EFBIG;
			break;
		}
	}
	free(bytes);
	return r;
}

int config_file_read(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	r = read_all(fd, ret_bytes, ret_n);
	close(fd);
	return r;
}
