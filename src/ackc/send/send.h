#pragma once

/* The command ackc send: sends texts and prints the replies. */

#include "ackc/cli/options.h"

/*
 * Runs ackc send: sends texts or standard input and prints the replies. Returns as ping_run() does.
 */
int send_run(const struct options *options);
