#pragma once

/* Standard output: that it takes what is written. */

#include <stdbool.h>

/*
 * Writes out what standard output holds back. Returns false when that, or an earlier write, failed;
 * the first time it is said. When the reader has gone the process ends by SIGPIPE, as any filter.
 */
bool output_flush(void);

/* The same at the end: returns @status, or EXIT_NETWORK in place of EXIT_GOOD on failure. */
int output_end(int status);

/*
 * From here on, output_end() returns @status on failure, and a reader that has gone is a failure
 * like any other.
 */
void output_fail_with(int status);
