#pragma once

/*
 * setup_prepare() in a thread of its own, since it reads files and may look up names: nobody knows
 * how long that takes. Who began one may turn away from it at any moment.
 *
 * The thread is not one of libuv's pool, which ends the process if it cannot start its threads.
 */

#include "ackd/sockets/setup.h"

#include <uv.h>

struct preparation;

/*
 * Begins to prepare the configuration; @path, which stays the caller's for the life of the process,
 * and @port are those of config_load(). When it is done, @async is sent. Returns 0 and
 * *@ret_preparation, which preparation_take() or preparation_abandon() ends, or a libuv error.
 */
int preparation_begin(const char *path, int port, uv_async_t *async,
		      struct preparation **ret_preparation);

/* Whether it has ended, one way or the other, so that preparation_take() may be called. */
bool preparation_is_done(struct preparation *preparation);

/*
 * Ends @preparation, which is done. Returns what setup_prepare() did; *@ret_setup is the caller's,
 * NULL when that failed, and so are the lines *@ret_errors (free(3)), NULL when memory was short.
 */
int preparation_take(struct preparation *preparation, struct setup **ret_setup, char **ret_errors);

/*
 * Turns away from @preparation, done or not, without waiting: from here on its async is not sent,
 * and its thread, which goes on until the look-up returns or the process ends, touches nothing that
 * is not its own. Accepts NULL.
 */
void preparation_abandon(struct preparation *preparation);
