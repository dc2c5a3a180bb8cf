#pragma once

/*
 * Makes a connected stream from a target. The name is looked up outside the loop, so that the
 * timeout covers the look-up. The addresses are tried as in RFC 8305 ("Happy Eyeballs").
 */

#include "ackc/net/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

/* The maximum number of addresses tried per name. */
#define DIAL_ADDRESSES_MAX 16
/* If an address has not answered after this time, the next one is tried in parallel. */
#define DIAL_STAGGER_MS 250

struct addresses {
	size_t n;
	struct sockaddr_storage list[DIAL_ADDRESSES_MAX]; /* in the order to try them */
	struct proxy_choice proxy;
};

struct lookup;

/*
 * @status is 0 or a failure for words_for(). @addresses is NULL on failure; it is valid only during
 * the call.
 */
typedef void (*lookup_cb)(void *data, int status, const struct addresses *addresses);

/*
 * Starts looking up @t, which the caller keeps until the callback. @cb is called once, never from
 * within this call; *@ret_lookup is invalid from then on. The path of a UNIX socket is handled the
 * same way. Returns 0 or a negative errno; on an error @cb is not called.
 */
int lookup_start(uv_loop_t *loop, const struct target *t, uint64_t timeout_ms, lookup_cb cb,
		 void *data, struct lookup **ret_lookup);

/* Cancels a look-up: its callback is not called. Accepts NULL. */
void lookup_cancel(struct lookup *l);

struct dial;

/*
 * On success @status is 0 and the callee owns the connected @stream (stream_close() ends it). On
 * failure @status is a failure for words_for() and @stream is NULL. @connect_ns is the duration of
 * the connect alone. @peer is the address reached, valid during the call.
 */
typedef void (*dial_cb)(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			const struct sockaddr_storage *peer);

/*
 * Starts connecting to the first of @addresses that answers within @timeout_ms, and sends their
 * PROXY header, if any. The caller keeps @addresses until the callback. @cb is called once, never
 * from within this call; *@ret_dial is invalid from then on. Returns 0 or a negative errno; on an
 * error @cb is not called.
 */
int dial_start(uv_loop_t *loop, const struct addresses *addresses, uint64_t timeout_ms, dial_cb cb,
	       void *data, struct dial **ret_dial);

/* Cancels a dial: its callback is not called. Accepts NULL. */
void dial_cancel(struct dial *d);

/* Closes and frees a stream that a dial made. Accepts NULL. */
void stream_close(uv_stream_t *stream);

/* Closes and frees a stream with a reset, so that no port stays in TIME_WAIT. Accepts NULL. */
void stream_abort(uv_stream_t *stream);

/*
 * Returns the real cause of a failed read of @stream that returned the negative @status. libuv
 * reports UV_EOF for a reset that arrives together with the last bytes (POLLHUP after a short
 * read); SO_ERROR has the cause.
 */
int stream_failure(const uv_stream_t *stream, int status);

/* Return whether input or the end of input is ready, so that a read would not block. */
bool has_input(int fd);
bool stream_has_input(const uv_stream_t *stream);

/* The buffer size for address_text(). */
#define ADDRESS_TEXT_MAX TARGET_LABEL_MAX

/* Formats @a as "127.0.0.1:8080", "[::1]:8080" or "unix:/run/x". All characters are printable. */
void address_text(const struct sockaddr_storage *a, char ret_text[ADDRESS_TEXT_MAX]);

/*
 * Runs a loop until all handles are closed, then closes it. Exits the process instead if a name
 * look-up or a read of standard input still blocks a libuv thread: it cannot be cancelled, and
 * libuv would wait for it at exit. Returns, or exits with, the result of output_end(@status).
 */
int loop_finish(uv_loop_t *loop, int status);

/* Count the requests that may block a libuv thread, for loop_finish(). Main thread only. */
void loop_work_begin(void);
void loop_work_end(void);
