#pragma once

/* Checks that standard output accepts what is written. */

#include <stdbool.h>

/*
 * Flushes standard output. Returns false if this or an earlier write failed; the first failure is
 * reported. If the reader of a pipe has gone, SIGPIPE ends the process, as for any filter.
 */
bool output_flush(void);

/* Flushes at the end. Returns @status, or EXIT_NETWORK instead of EXIT_GOOD on failure. */
int output_end(int status);

/*
 * Makes output_end() return @status on any failure from here on. A reader that has gone then counts
 * as a failure instead of raising SIGPIPE.
 */
void output_fail_with(int status);
