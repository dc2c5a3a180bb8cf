#pragma once

/* The event loop of a command, from the look-up of its target to its exit status. */

#include "ackc/net/lookup.h"

#include <stdbool.h>

#define RUN_SIGNALS 3 /* two for all commands, and an extra one */

struct run {
	uv_loop_t loop;
	struct lookup lookup;
	uv_signal_t signals[RUN_SIGNALS];
	void (*on_signal)(void *data, int number);
	void *data;
	bool ended;
	int status;
	bool reading_input; /* a libuv thread reads standard input, and may block in it */
};

/*
 * Opens the loop and starts to look up @target, which the caller keeps. @on_found is called once,
 * never from within this call. @on_signal is called for SIGINT, SIGTERM and @extra_signal (0:
 * none). Returns 0 or a negative errno; on an error there is no loop.
 */
int run_start(struct run *r, const struct target *target, uint64_t timeout_ms, lookup_cb on_found,
	      int extra_signal, void (*on_signal)(void *data, int number), void *data);

/* Restores the default effect of the signals. */
void run_release_signals(struct run *r);

/*
 * Ends the command with the exit status @status. Closes the handles of run_start(); the caller
 * closes its own.
 */
void run_end(struct run *r, int status);

/*
 * Runs the loop until run_end(), and then until all handles are closed. Exits the process instead
 * if a look-up or a read of standard input still blocks a libuv thread: it cannot be cancelled, and
 * libuv would wait for it at exit. Returns, or exits with, output_end() of the status.
 */
int run_wait(struct run *r);
