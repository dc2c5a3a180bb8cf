#pragma once

/* For Windows: a function of POSIX that its libc lacks. */

#include_next <stdio.h>
#include <sys/types.h>

ssize_t getline(char **line, size_t *size, FILE *stream);
