#pragma once

/*
 * From a target to a connected stream: the name is looked up off the loop, so that the time-out
 * covers it, and the addresses are tried as RFC 8305 ("Happy Eyeballs") has it.
 */

#include "ackc/net/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

/* More addresses of a name than this are not tried. */
#define DIAL_ADDRESSES_MAX 16
/* An address that is silent for this long is joined by the next one. */
#define DIAL_STAGGER_MS 250

struct addresses {
	size_t n;
	struct sockaddr_storage list[DIAL_ADDRESSES_MAX]; /* in the order to try them */
	struct proxy_choice proxy;
};

struct lookup;

/* @status: 0, or what failed, for words_for(). @addresses is NULL on failure; copy what is kept. */
typedef void (*lookup_cb)(void *data, int status, const struct addresses *addresses);

/*
 * Looks up @t (kept by the caller until the callback). @cb is called once, never from within this
 * call, and *@ret_lookup is dead from then on. A UNIX socket's path takes the same way. Returns 0
 * or a negative errno; then @cb is not called.
 */
int lookup_start(uv_loop_t *loop, const struct target *t, uint64_t timeout_ms, lookup_cb cb,
		 void *data, struct lookup **ret_lookup);

/* Gives up on a look-up: its callback is not called. Accepts NULL. */
void lookup_cancel(struct lookup *l);

struct dial;

/*
 * @status: 0 and a connected stream that the callee owns from here (stream_close() ends it); or
 * what failed, for words_for(), and NULL. @connect_ns is what the connect itself took, @peer whom
 * it reached (valid during the call).
 */
typedef void (*dial_cb)(void *data, int status, uv_stream_t *stream, uint64_t connect_ns,
			const struct sockaddr_storage *peer);

/*
 * Connects to the first of @addresses (kept by the caller until the callback) that answers within
 * @timeout_ms, and sends the PROXY header of @addresses, if any. @cb is called once, never from
 * within this call, and *@ret_dial is dead from then on. Returns 0 or a negative errno; then @cb is
 * not called.
 */
int dial_start(uv_loop_t *loop, const struct addresses *addresses, uint64_t timeout_ms, dial_cb cb,
	       void *data, struct dial **ret_dial);

/* Gives up on a dial: its callback is not called. Accepts NULL. */
void dial_cancel(struct dial *d);

/* Closes a stream that a dial made and frees it. Accepts NULL. */
void stream_close(uv_stream_t *stream);

/* Closes it such that the peer sees a reset and no port lingers in TIME_WAIT. Accepts NULL. */
void stream_abort(uv_stream_t *stream);

/*
 * Returns what a read of @stream that ended with the negative @status really ended with: libuv says
 * UV_EOF of a reset that arrives together with the last bytes (POLLHUP after a short read), and the
 * socket knows better.
 */
int stream_failure(const uv_stream_t *stream, int status);

/* Return whether input or the end of input waits to be read, so that a read would not block. */
bool has_input(int fd);
bool stream_has_input(const uv_stream_t *stream);

/* Room for address_text(). */
#define ADDRESS_TEXT_MAX TARGET_LABEL_MAX

/* Writes @a as people write it: "127.0.0.1:8080", "[::1]:8080", "unix:/run/x"; printable. */
void address_text(const struct sockaddr_storage *a, char ret_text[ADDRESS_TEXT_MAX]);

/*
 * Ends a loop: runs it until all handles are closed, and closes it. A name look-up or a read of
 * standard input that still blocks a thread of libuv's cannot be waited for, and libuv would wait
 * at exit: then the process ends here. Returns, or exits with, what output_end() makes of @status.
 */
int loop_finish(uv_loop_t *loop, int status);

/* Count the requests that may block a thread of libuv's, for loop_finish(). Main thread only. */
void loop_work_begin(void);
void loop_work_end(void);
