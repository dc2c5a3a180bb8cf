#pragma once

#include "ackc/cli/options.h"

/*
 * Runs ackc send: sends texts or standard input and prints the replies. Writes its own error
 * messages. Returns the exit status.
 */
int send_run(const struct options *options);
