#pragma once

/* Listening, shared by the baselines in C. */

#include <stdbool.h>

/*
 * Returns a listening socket on port @argv[1] of 127.0.0.1. On failure it prints an error and
 * exits. Raises the descriptor limit to its maximum.
 */
int listen_or_exit(int argc, char **argv, bool nonblocking);
