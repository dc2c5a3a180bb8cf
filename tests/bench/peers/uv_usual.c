/*
 * The libuv echo server as it is usually written: a buffer and a write request allocated for each
 * read, everything queued with uv_write().
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct write_request {
	uv_write_t request;
	uv_buf_t buffer;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void on_written(uv_write_t *request, int status)
{
	struct write_request *w = (struct write_request *)request;

	free(w->buffer.base);
	free(w);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	*buffer = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct write_request *w;

	if (n > 0) {
		w = malloc(sizeof *w);
		if (!w)
			abort();
		w->buffer = uv_buf_init(buffer->base, (unsigned)n);
		uv_write(&w->request, stream, &w->buffer, 1, on_written);
		return;
	}
	if (n < 0)
		uv_close((uv_handle_t *)stream, on_closed);
	free(buffer->base);
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
	if (uv_accept(server, (uv_stream_t *)client) == 0)
		uv_read_start((uv_stream_t *)client, allocate, on_read);
	else
		uv_close((uv_handle_t *)client, on_closed);
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
