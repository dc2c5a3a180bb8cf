#pragma once

/* The daemon as a whole: start, signals, reload, drain, restart. */

#include "ackd/server/exit_status.h"

/*
 * Runs the daemon until a signal ends it. See config_load() for @path and @port. Returns the exit
 * status; errors have been logged.
 */
enum exit_status server_run(const char *path, int port);
