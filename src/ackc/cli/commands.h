#pragma once

/*
 * The commands. Each runs to completion, writes its own error messages and returns the exit status.
 */

#include "ackc/cli/options.h"

int send_run(const struct send_options *options);
int ping_run(const struct ping_options *options);
int load_run(const struct load_options *options);
