#pragma once

#include <stddef.h>

/*
 * Gives the caller the bytes of the file at @path (malloc); also of a pipe or of /dev/stdin. @data
 * is not used. Returns 0, -EFBIG (more than CONFIG_SCAN_BYTES_MAX), -EISDIR, or what open(2) and
 * read(2) return, negative.
 */
int config_file_read(void *data, const char *path, char **ret_bytes, size_t *ret_n);
