#pragma once

/*
 * Keeps secrets out of freed memory and out of core dumps. meson.build selects the file for the
 * system.
 */

#include <stddef.h>

/* Returns the size of the allocated memory @p, which is at least the size that was requested. */
size_t secret_size(void *p);

/* Overwrites the whole allocated memory @p with zeros, even if nothing reads it again. */
void secret_erase(void *p);

/*
 * Keeps the secrets of this process out of core dumps: from now on the kernel makes none. In Linux
 * and FreeBSD other processes of its user cannot look into its memory either. Call before the first
 * secret is read.
 */
void secret_forbid_dumps(void);
