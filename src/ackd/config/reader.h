#pragma once

/* How the configuration reads files; tests replace it. */

#include <stddef.h>

/*
 * Reads the file at @path. Returns 0 and gives *@ret_bytes (malloc) of length *@ret_n to the
 * caller, or a negative errno: -EFBIG for more than 16 MiB.
 */
typedef int (*config_reader)(void *data, const char *path, char **ret_bytes, size_t *ret_n);
