#pragma once

/*
 * A byte stream to a server. This is the only place that knows the transport: TCP or a UNIX socket,
 * by the family of the address, and TLS or not.
 */

#include "ackc/tls/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct stream;

/* The callbacks of a stream's user. None is called from within a function below. */
struct stream_events {
	/* @n bytes have arrived at the start of the buffer of stream_read(). */
	void (*received)(void *data, const uint8_t *bytes, size_t n);
	/*
	 * Nothing more will arrive. @failure is for failure_text(): UV_EOF if the server closed
	 * (TLS: after a close_notify), or else the cause, which a write may have met first.
	 */
	void (*ended)(void *data, int failure);
	/* Everything queued was written, or @status has the error. NULL: not needed. */
	void (*drained)(void *data, int status);
};

/* @status is 0 or a negative errno. On failure the stream remains to be closed. */
typedef void (*stream_connect_cb)(void *data, int status);

/*
 * Starts connecting a new stream to @peer. @cb is called once, unless the stream is closed before.
 * Returns 0 or a negative errno; on an error there is no stream.
 */
int stream_connect(uv_loop_t *loop, const struct sockaddr_storage *peer, stream_connect_cb cb,
		   void *data, struct stream **ret_stream);

/*
 * Starts the TLS handshake on a connected stream; what was written before is sent in plain text.
 * @cb is called once with 0 or a failure, unless the stream is closed before. The caller keeps
 * @client. Returns 0 or a negative errno; on an error @cb is not called.
 */
int stream_start_tls(struct stream *s, const struct tls_client *client, stream_connect_cb cb,
		     void *data);

/* Describes the TLS of a stream after its handshake. Returns false for a stream without TLS. */
bool stream_tls_facts(const struct stream *s, struct tls_facts *ret);

/* Returns the duration of the TLS handshake; 0 without TLS. */
uint64_t stream_handshake_ns(const struct stream *s);

/*
 * Starts reading into the @size bytes at @buffer, or continues with another buffer, which can be
 * done from within received(). If @size is 0, the next bytes end the stream with UV_ENOBUFS.
 */
void stream_read(struct stream *s, void *buffer, size_t size, const struct stream_events *events,
		 void *data);

/* Stops reading. Bytes of TLS that have already been read may still be received. */
void stream_pause(struct stream *s);

/*
 * Writes what the socket takes immediately, and queues a copy of the rest. Returns 0 or a negative
 * errno.
 */
int stream_write(struct stream *s, const void *bytes, size_t n);

/* Returns whether a part of the writes is queued: then drained() follows. */
bool stream_is_queued(const struct stream *s);

/*
 * Returns whether a write has failed, so that no other can succeed. Bytes that the server sent
 * before are still received, and then ended() has the cause.
 */
bool stream_is_broken(const struct stream *s);

/*
 * Half-closes the stream when everything is written, with TLS after a close_notify. A failure shows
 * in reading.
 */
void stream_half_close(struct stream *s);

/* For uv_close(): frees the object that the handle's data points to, which contains the handle. */
void handle_free(uv_handle_t *handle);

/* Closes and frees a stream; its callbacks are not called any more. Accepts NULL. */
void stream_close(struct stream *s);

/* The same with a reset, so that no port stays in TIME_WAIT. */
void stream_abort(struct stream *s);

/* Returns the socket, for questions to the kernel; -1 if there is none. */
uv_os_sock_t stream_socket(const struct stream *s);

/* Returns whether input or the end of input is ready to be read from the socket. */
bool stream_has_input(const struct stream *s);
