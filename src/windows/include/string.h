#pragma once

/* For Windows: a function of POSIX that its libc lacks. */

#include_next <string.h>

void *memmem(const void *text, size_t text_n, const void *wanted, size_t wanted_n);
