#pragma once

#include "ackc/cli/options.h"

/* Runs ackc ping until its end. Writes its own error messages. Returns the exit status. */
int ping_run(const struct options *options);
