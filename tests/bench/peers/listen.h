#pragma once

/* What the baselines in C have in common: how they listen. */

#include <stdbool.h>

/*
 * Returns a listening socket on port @argv[1] of 127.0.0.1. Exits with a word on stderr when that
 * cannot be. The descriptor limit is raised to what is allowed.
 */
int listen_or_exit(int argc, char **argv, bool nonblocking);
