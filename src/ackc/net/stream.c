/*
 * libuv calls back for every request, also after the handle was closed. The callbacks below
 * therefore look at the stream's own callbacks, which stream_close() clears. A write has a request
 * of its own, which carries the queued bytes.
 */

#include "ackc/net/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct stream {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} uv;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	stream_connect_cb connected;	    /* NULL after it was called */
	const struct stream_events *events; /* NULL before stream_read() and after the close */
	void *data;
	uv_buf_t buffer;
	unsigned writes;   /* queued */
	int write_failure; /* of the first write that failed; 0: none */
};

struct queued_write {
	uv_write_t request;
	uint8_t bytes[];
};

void handle_free(uv_handle_t *handle)
{
	free(handle->data);
}

void stream_close(struct stream *s)
{
	if (!s || uv_is_closing(&s->uv.handle))
		return;
	s->connected = NULL;
	s->events = NULL;
	uv_close(&s->uv.handle, handle_free);
}

void stream_abort(struct stream *s)
{
	if (!s || uv_is_closing(&s->uv.handle))
		return;
	if (s->uv.handle.type == UV_TCP && uv_tcp_close_reset(&s->uv.tcp, handle_free) == 0)
		s->events = NULL;
	else
		stream_close(s);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct stream *s = request->data;
	stream_connect_cb cb = s->connected;

	s->connected = NULL;
	if (cb)
		cb(s->data, status);
}

int stream_connect(uv_loop_t *loop, const struct sockaddr_storage *peer, stream_connect_cb cb,
		   void *data, struct stream **ret_stream)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->connected = cb;
	s->data = data;
	s->connect.data = s;
	if (peer->ss_family == AF_UNIX) {
		uv_pipe_init(loop, &s->uv.pipe, 0);
		uv_pipe_connect(&s->connect, &s->uv.pipe,
				((const struct sockaddr_un *)peer)->sun_path, on_connect);
	} else {
		uv_tcp_init(loop, &s->uv.tcp);
		r = uv_tcp_connect(&s->connect, &s->uv.tcp, (const struct sockaddr *)peer,
				   on_connect);
	}
	s->uv.handle.data = s;
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
	if (status != UV_EOF || getsockopt(stream_fd(s), SOL_SOCKET, SO_ERROR, &error, &n) < 0 ||
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

void stream_read(struct stream *s, void *buffer, size_t size, const struct stream_events *events,
		 void *data)
{
	bool reading = s->events;

	s->events = events;
	s->data = data;
	s->buffer = uv_buf_init(buffer, (unsigned)size);
	if (!reading)
		uv_read_start(&s->uv.stream, on_alloc, on_read);
}

void stream_pause(struct stream *s)
{
	uv_read_stop(&s->uv.stream);
}

static void note_failure(struct stream *s, int status)
{
	if (s->write_failure == 0)
		s->write_failure = status;
}

static void on_written(uv_write_t *request, int status)
{
	struct stream *s = request->handle->data;

	free(request->data);
	s->writes--;
	note_failure(s, status);
	if (s->writes == 0 && s->events && s->events->drained)
		s->events->drained(s->data, status);
}

int stream_write(struct stream *s, const void *bytes, size_t n)
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
	rest = malloc(sizeof(*rest) + n);
	if (!rest)
		return -ENOMEM;
	memcpy(rest->bytes, bytes, n);
	buf = uv_buf_init((char *)rest->bytes, (unsigned)n);
	rest->request.data = rest;
	r = uv_write(&rest->request, &s->uv.stream, &buf, 1, on_written);
	if (r < 0)
		free(rest);
	else
		s->writes++;
	return r;
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
	uv_shutdown(&s->shutdown, &s->uv.stream, on_shutdown);
}

int stream_fd(const struct stream *s)
{
	uv_os_fd_t fd;

	return uv_fileno(&s->uv.handle, &fd) == 0 ? fd : -1;
}

bool has_input(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}
