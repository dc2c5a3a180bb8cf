#pragma once

/*
 * How "ackd --reload" learns what became of a reload: the daemon sends the outcome of every reload
 * to an abstract datagram socket that carries its process ID, and --reload listens there. Nobody
 * listening is the usual case and no error.
 */

#include "ackd/server.h"

#include <stdint.h>

/*
 * Tells whoever waits the outcome of the reload that began at @begun_us (CLOCK_MONOTONIC). Never
 * blocks.
 */
void control_report(uint64_t begun_us, enum exit_status status);

/*
 * What "ackd --reload" does once it has checked the configuration: sends SIGHUP to $MAINPID, waits
 * for the outcome of that reload and returns it. Errors go to stderr.
 */
enum exit_status control_reload(void);

/* Returns CLOCK_MONOTONIC in microseconds. */
uint64_t control_now_us(void);
