#pragma once

/*
 * Runs setup_prepare() in a separate thread, because it reads files and may look up names, which
 * can take arbitrarily long. The caller may abandon it at any time.
 *
 * The thread does not belong to libuv's pool, because libuv ends the process if it cannot start the
 * pool's threads.
 */

#include "ackd/sockets/setup.h"

#include <uv.h>

struct preparation;

/*
 * Begins to prepare the configuration. See config_load() for @path and @port; @path must stay valid
 * for the life of the process. @async is sent when the preparation is done. Returns 0 and
 * *@ret_preparation, which must be ended by preparation_take() or preparation_abandon(), or a libuv
 * error.
 */
int preparation_begin(const char *path, int port, uv_async_t *async,
		      struct preparation **ret_preparation);

/*
 * Returns whether the preparation has succeeded or failed, so that preparation_take() may be
 * called.
 */
bool preparation_is_done(struct preparation *preparation);

/*
 * Ends @preparation, which must be done. Returns the result of setup_prepare() and gives the caller
 * *@ret_setup (NULL after a failure) and the lines *@ret_errors (free(3); NULL when out of memory).
 */
int preparation_take(struct preparation *preparation, struct setup **ret_setup, char **ret_errors);

/*
 * Abandons @preparation, done or not, without waiting. Its async is no longer sent. Its thread
 * continues until the look-up returns or the process ends, and uses only its own data. Accepts
 * NULL.
 */
void preparation_abandon(struct preparation *preparation);
