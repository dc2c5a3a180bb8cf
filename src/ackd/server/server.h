#pragma once

/* The daemon as a whole: start, signals, reload, drain, restart. */

#include "ackd/config/config.h"
#include "ackd/server/exit_status.h"

/*
 * Runs the daemon with the configuration of @source until a signal ends it. Returns the exit
 * status; errors have been logged.
 */
enum exit_status server_run(const struct config_source *source);
