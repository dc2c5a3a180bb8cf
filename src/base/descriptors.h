#pragma once

#include <stdint.h>

/*
 * Raises the soft limit of open files to the hard one. Returns the limit; UINT64_MAX if there is
 * none.
 */
uint64_t descriptors_raise_limit(void);
