/*
 * An optimized libuv echo server: one read buffer for all connections, uv_try_write() first. Only
 * the unsent rest is copied and queued; reading stops until it is sent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define READ_BYTES (64 * 1024)

struct rest {
	uv_write_t request;
	char bytes[];
};

static char read_buffer[READ_BYTES];

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	*buffer = uv_buf_init(read_buffer, sizeof read_buffer);
}

static void on_written(uv_write_t *request, int status)
{
	uv_stream_t *stream = request->handle;

	free(request->data);
	if (status == UV_ECANCELED)
		return;
	if (status < 0)
		uv_close((uv_handle_t *)stream, on_closed);
	else
		uv_read_start(stream, lend, on_read);
}

static void queue(uv_stream_t *stream, const char *bytes, size_t n)
{
	struct rest *rest = malloc(sizeof *rest + n);
	uv_buf_t buffer;

	if (!rest)
		abort();
	memcpy(rest->bytes, bytes, n);
	rest->request.data = rest;
	buffer = uv_buf_init(rest->bytes, (unsigned)n);
	uv_read_stop(stream);
	uv_write(&rest->request, stream, &buffer, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	uv_buf_t out;
	int sent;

	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_closed);
		return;
	}
	if (n == 0)
		return;
	out = uv_buf_init(buffer->base, (unsigned)n);
	sent = uv_try_write(stream, &out, 1);
	if (sent == n)
		return;
	if (sent < 0 && sent != UV_EAGAIN)
		uv_close((uv_handle_t *)stream, on_closed);
	else
		queue(stream, buffer->base + (sent > 0 ? sent : 0),
		      (size_t)(n - (sent > 0 ? sent : 0)));
}

static void on_connection(uv_stream_t *server, int status)
{
	uv_tcp_t *client;

	if (status < 0)
		return;
	client = malloc(sizeof *client);
	if (!client)
		abort();
	uv_tcp_init(server->loop, client);
	if (uv_accept(server, (uv_stream_t *)client) < 0) {
		uv_close((uv_handle_t *)client, on_closed);
		return;
	}
	uv_tcp_nodelay(client, 1);
	uv_read_start((uv_stream_t *)client, lend, on_read);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct sockaddr_in address;
	uv_tcp_t server;
	int r;

	if (argc != 2)
		return 64;
	uv_tcp_init(loop, &server);
	uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address);
	uv_tcp_bind(&server, (const struct sockaddr *)&address, 0);
	r = uv_listen((uv_stream_t *)&server, 4096, on_connection);
	if (r < 0) {
		fprintf(stderr, "listen: %s\n", uv_strerror(r));
		return 69;
	}
	return uv_run(loop, UV_RUN_DEFAULT);
}
