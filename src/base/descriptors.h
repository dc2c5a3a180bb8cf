#pragma once

/* The limit of open files, and reading a descriptor to its end. */

#include <stddef.h>
#include <stdint.h>

/*
 * Raises the soft limit of open files to the hard one, or as far as the system permits. Returns the
 * limit; UINT64_MAX if there is none.
 */
uint64_t descriptors_raise_limit(void);

/*
 * Reads @fd, which may be a pipe, to its end. The caller frees *@ret_bytes, which has room for at
 * least one byte more. Blocks. Returns 0 or a negative errno: -EFBIG for more than @max bytes.
 */
int descriptor_read_all(int fd, size_t max, char **ret_bytes, size_t *ret_n);
