#pragma once

#include "ackc/cli/options.h"

/*
 * Runs ackc load: loads a server over many connections and prints a report. Returns as ping_run()
 * does.
 */
int load_run(const struct options *options);
