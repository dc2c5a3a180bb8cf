#pragma once

/* The command ackc load: a load test over many connections. */

#include "ackc/cli/options.h"

/*
 * Runs ackc load: loads a server over many connections and prints a report. Returns as ping_run()
 * does.
 */
int load_run(const struct options *options);
