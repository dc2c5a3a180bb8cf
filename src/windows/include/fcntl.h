#pragma once

/* For Windows: open(2), for names in UTF-8 and without changes of line ends. */

#include_next <fcntl.h>

#define O_CLOEXEC O_NOINHERIT
#define O_NONBLOCK 0

int open_utf8(const char *path, int flags);
#define open open_utf8
