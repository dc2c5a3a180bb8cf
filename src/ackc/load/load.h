#pragma once

#include "ackc/cli/options.h"

/*
 * Runs ackc load: loads a server over many connections and prints a report. Writes its own error
 * messages. Returns the exit status.
 */
int load_run(const struct options *options);
