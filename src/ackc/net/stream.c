/*
 * libuv calls back for every request, also after the handle was closed. The callbacks below
 * therefore look at the stream's own callbacks, which stream_close() clears. A write has a request
 * of its own, which carries the queued bytes.
 *
 * With TLS, the bytes that libuv reads go to OpenSSL, and what it decrypts to the stream's user.
 * Bytes that OpenSSL sends on its own, such as the handshake, are queued like those of the user,
 * who does not notice them. During the handshake, each read takes only the bytes that OpenSSL asks
 * for. Data after the handshake thus remains in the socket until stream_read().
 */

#include "ackc/net/stream.h"

#include "ackc/net/unix_socket.h"
#include "ackc/output/failure.h"
#include "core/text/printable.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* The maximum number of bytes of TLS per read. */
#define TLS_CHUNK (64 * 1024)

/* The maximum number of queued bytes that OpenSSL sends on its own. */
#define OWN_MAX (64 * 1024)

struct stream {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} uv;
	union {
		uv_connect_t connect;
		uv_write_t opened;
	} request; /* of stream_connect() */
	uv_shutdown_t shutdown;
	stream_connect_cb connected;	    /* NULL after it was called */
	const struct stream_events *events; /* NULL before stream_read() and after the close */
	void *data;
	uv_buf_t buffer;
	unsigned writes;       /* of the user, queued */
	size_t own_queued;     /* bytes that OpenSSL sends on its own */
	int write_failure;     /* of the first write that failed; 0: none */
	struct tls *tls;       /* NULL: plain text */
	bool established;      /* the handshake is complete */
	bool writing;	       /* stream_write() is running */
	uint64_t handshake_ns; /* its start; then its duration */
};

struct queued_write {
	uv_write_t request;
	size_t own; /* OpenSSL's bytes; 0: the user's */
	uint8_t bytes[];
};

void handle_free(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_closed(uv_handle_t *handle)
{
	struct stream *s = handle->data;

	tls_destroy(s->tls);
	free(s);
}

void stream_close(struct stream *s)
{
	if (!s || uv_is_closing(&s->uv.handle))
		return;
	if (s->tls)
		tls_end(s->tls);
	s->connected = NULL;
	s->events = NULL;
	uv_close(&s->uv.handle, on_closed);
}

void stream_abort(struct stream *s)
{
	if (!s || uv_is_closing(&s->uv.handle))
		return;
	if (s->uv.handle.type == UV_TCP && uv_tcp_close_reset(&s->uv.tcp, on_closed) == 0) {
		s->connected = NULL;
		s->events = NULL;
	} else {
		stream_close(s);
	}
}

/* Reports the outcome of the connect or of the handshake. */
static void report_connected(struct stream *s, int status)
{
	stream_connect_cb cb = s->connected;

	s->connected = NULL;
	if (cb)
		cb(s->data, status);
}

static void on_connect(uv_connect_t *request, int status)
{
	report_connected(request->data, status);
}

static void on_opened(uv_write_t *request, int status)
{
	report_connected(request->handle->data, status);
}

/* Connects to a UNIX socket. Writing nothing makes libuv call back from the loop. */
static int connect_unix(struct stream *s, const struct sockaddr_un *un)
{
	uv_buf_t nothing = uv_buf_init(NULL, 0);
	int r = unix_socket_connect(&s->uv.pipe, un);

	return r < 0 ? r : uv_write(&s->request.opened, &s->uv.stream, &nothing, 1, on_opened);
}

int stream_connect(uv_loop_t *loop, const struct sockaddr_storage *peer, stream_connect_cb cb,
		   void *data, struct stream **ret_stream)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return UV_ENOMEM;
	s->connected = cb;
	s->data = data;
	if (peer->ss_family == AF_UNIX) {
		uv_pipe_init(loop, &s->uv.pipe, 0);
		s->uv.handle.data = s;
		r = connect_unix(s, (const struct sockaddr_un *)peer);
	} else {
		uv_tcp_init(loop, &s->uv.tcp);
		s->uv.handle.data = s;
		s->request.connect.data = s;
		r = uv_tcp_connect(&s->request.connect, &s->uv.tcp, (const struct sockaddr *)peer,
				   on_connect);
	}
	if (r < 0) {
		stream_close(s);
		return r;
	}
	/* Without TCP_NODELAY a small message would wait for the previous one's acknowledgement. */
	if (peer->ss_family != AF_UNIX)
		uv_tcp_nodelay(&s->uv.tcp, 1);
	*ret_stream = s;
	return 0;
}

/*
 * Returns the real cause of the end of a stream. libuv reports UV_EOF for a reset that arrives
 * together with the last bytes (POLLHUP after a short read); SO_ERROR has the cause. If a write
 * failed before, it has taken the cause from there.
 */
static int cause_of(const struct stream *s, int status)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (status == UV_EOF && s->write_failure)
		return s->write_failure;
	if (status != UV_EOF ||
	    getsockopt(stream_socket(s), SOL_SOCKET, SO_ERROR, (void *)&error, &n) < 0 ||
	    error == 0)
		return status;
	return uv_translate_sys_error(error);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	*ret_buf = ((struct stream *)handle->data)->buffer;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = stream->data;

	if (n > 0)
		s->events->received(s->data, (const uint8_t *)buf->base, (size_t)n);
	else if (n < 0)
		s->events->ended(s->data, cause_of(s, (int)n));
}

static void note_failure(struct stream *s, int status)
{
	if (s->write_failure == 0)
		s->write_failure = status;
}

static void on_written(uv_write_t *request, int status)
{
	struct stream *s = request->handle->data;
	struct queued_write *rest = request->data;
	bool own = rest->own;

	s->writes -= !own;
	s->own_queued -= rest->own;
	note_failure(s, status);
	free(rest);
	if (!own && s->writes == 0 && s->events && s->events->drained)
		s->events->drained(s->data, status);
}

/* Writes bytes as they are. */
static int write_raw(struct stream *s, const void *bytes, size_t n)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)n);
	struct queued_write *rest;
	int r = uv_try_write(&s->uv.stream, &buf, 1);

	if (r < 0 && r != UV_EAGAIN) {
		note_failure(s, r);
		return r;
	}
	if (r > 0 && (size_t)r == n)
		return 0;
	if (r > 0) {
		bytes = (const char *)bytes + r;
		n -= (size_t)r;
	}
	/* a server that demands answers and does not read them */
	if (!s->writing && n > OWN_MAX - s->own_queued)
		return UV_ENOBUFS;
	rest = malloc(sizeof(*rest) + n);
	if (!rest)
		return UV_ENOMEM;
	memcpy(rest->bytes, bytes, n);
	buf = uv_buf_init((char *)rest->bytes, (unsigned)n);
	rest->request.data = rest;
	rest->own = s->writing ? 0 : n;
	r = uv_write(&rest->request, &s->uv.stream, &buf, 1, on_written);
	if (r < 0) {
		free(rest);
		return r;
	}
	s->writes += s->writing;
	s->own_queued += rest->own;
	return 0;
}

int stream_write(struct stream *s, const void *bytes, size_t n)
{
	int r = 0;

	s->writing = true;
	if (!s->tls)
		r = write_raw(s, bytes, n);
	else if (n > 0)
		r = tls_write(s->tls, bytes, n);
	s->writing = false;
	if (r < 0 && r != UV_ENOMEM)
		note_failure(s, r);
	return r;
}

/* The bytes of TLS that a read takes. OpenSSL has copied them when the read is over. */
static _Thread_local char tls_bytes[TLS_CHUNK];

/* Describes what a server without TLS has sent. @n bytes have been read; more may have arrived. */
static int plain_text_failure(struct stream *s, const uint8_t *bytes, size_t n)
{
	uint8_t seen[48];
	char words[PRINTABLE_BYTES_SIZE(sizeof(seen))];
	ssize_t more;

	n = n < sizeof(seen) ? n : sizeof(seen);
	memcpy(seen, bytes, n);
	/* libuv's sockets do not block */
	more = recv(stream_socket(s), (void *)(seen + n), sizeof(seen) - n, 0);
	printable_bytes(words, seen, n + (more > 0 ? (size_t)more : 0));
	return failure_describe(FAILURE_NO_TLS, "the server does not speak TLS: it sent %s", words);
}

/* Ends the handshake, with 0 or a failure. */
static void end_handshake(struct stream *s, int status)
{
	uv_read_stop(&s->uv.stream);
	s->established = status == 0;
	s->handshake_ns = uv_hrtime() - s->handshake_ns;
	report_connected(s, status);
}

static void continue_handshake(struct stream *s, const uint8_t *bytes, size_t n)
{
	int r;

	tls_feed(s->tls, bytes, n);
	r = tls_handshake(s->tls);
	if (r == FAILURE_NO_TLS)
		r = plain_text_failure(s, bytes, n);
	if (r)
		end_handshake(s, r < 0 ? r : 0);
}

/* Passes all that can be decrypted to the user. */
static void decrypt(struct stream *s, const uint8_t *bytes, size_t n)
{
	ssize_t r = 1;

	tls_feed(s->tls, bytes, n);
	/* The user may close the stream, or change the buffer. */
	while (r > 0 && s->events) {
		r = s->buffer.len ? tls_read(s->tls, s->buffer.base, s->buffer.len) : UV_ENOBUFS;
		/* a server that has ended did not read what could not be written */
		if (r == UV_EOF && s->write_failure)
			r = s->write_failure;
		if (r < 0)
			uv_read_stop(&s->uv.stream);
		if (r > 0)
			s->events->received(s->data, (uint8_t *)s->buffer.base, (size_t)r);
		else if (r < 0)
			s->events->ended(s->data, (int)r);
	}
}

/* The connection ended, or failed with @status, and TLS did not end it. */
static void tls_cut(struct stream *s, int status)
{
	status = cause_of(s, status);
	if (status == UV_EPIPE) /* of a write */
		status = UV_EOF;
	if (s->established)
		s->events->ended(s->data, status == UV_EOF ? FAILURE_CUT : status);
	else
		end_handshake(s, failure_describe(FAILURE_TLS, "%s in the TLS handshake",
						  status == UV_EOF ? "connection closed"
								   : failure_text(status)));
}

static void on_tls_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	const struct stream *s = handle->data;
	size_t wanted = s->established ? TLS_CHUNK : tls_wanted(s->tls);

	*ret_buf = uv_buf_init(tls_bytes, (unsigned)(wanted < TLS_CHUNK ? wanted : TLS_CHUNK));
}

static void on_tls_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = stream->data;

	if (n < 0)
		tls_cut(s, (int)n);
	else if (n > 0 && s->established)
		decrypt(s, (const uint8_t *)buf->base, (size_t)n);
	else if (n > 0)
		continue_handshake(s, (const uint8_t *)buf->base, (size_t)n);
}

static int send_tls(void *data, const void *bytes, size_t n)
{
	return write_raw(data, bytes, n);
}

int stream_start_tls(struct stream *s, const struct tls_client *client, stream_connect_cb cb,
		     void *data)
{
	int r = tls_create(client, send_tls, s, &s->tls);

	if (r < 0)
		return r;
	s->connected = cb;
	s->data = data;
	s->handshake_ns = uv_hrtime();
	r = tls_handshake(s->tls);
	if (r < 0)
		return r;
	return uv_read_start(&s->uv.stream, on_tls_alloc, on_tls_read);
}

bool stream_tls_facts(const struct stream *s, struct tls_facts *ret)
{
	if (!s->tls)
		return false;
	tls_describe(s->tls, ret);
	ret->handshake_ns = s->handshake_ns;
	return true;
}

uint64_t stream_handshake_ns(const struct stream *s)
{
	return s->handshake_ns;
}

void stream_read(struct stream *s, void *buffer, size_t size, const struct stream_events *events,
		 void *data)
{
	bool reading = s->events;

	s->events = events;
	s->data = data;
	s->buffer = uv_buf_init(buffer, (unsigned)size);
	if (!reading)
		uv_read_start(&s->uv.stream, s->tls ? on_tls_alloc : on_alloc,
			      s->tls ? on_tls_read : on_read);
}

void stream_pause(struct stream *s)
{
	uv_read_stop(&s->uv.stream);
}

bool stream_is_queued(const struct stream *s)
{
	return s->writes > 0;
}

bool stream_is_broken(const struct stream *s)
{
	return s->write_failure;
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	/* A failure shows in reading. */
}

void stream_half_close(struct stream *s)
{
	if (s->tls)
		tls_end(s->tls);
	uv_shutdown(&s->shutdown, &s->uv.stream, on_shutdown);
}

uv_os_sock_t stream_socket(const struct stream *s)
{
	uv_os_fd_t fd;

	return (uv_os_sock_t)(uv_fileno(&s->uv.handle, &fd) == 0 ? fd : (uv_os_fd_t)-1);
}

bool stream_has_input(const struct stream *s)
{
	struct pollfd p = {.fd = stream_socket(s), .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}
