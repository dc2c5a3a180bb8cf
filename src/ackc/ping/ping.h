#pragma once

/* The command ackc ping: measures round trips. */

#include "ackc/cli/options.h"

/*
 * Runs ackc ping until its end. Returns the exit status. Returns a negative errno if it could not
 * start; it writes all other error messages itself.
 */
int ping_run(const struct options *options);
