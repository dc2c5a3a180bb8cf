/*
 * The usual case: the first address answers, and its stream is passed to the callback. If an
 * address fails, the next one is tried immediately. If it has not answered within DIAL_STAGGER_MS,
 * the next one is tried in parallel. The first to connect wins and the others are closed. If all
 * fail, the most informative failure is reported.
 *
 * libuv calls back for every connect, even after its handle was closed. An attempt therefore lives
 * until its callback, and the dial until its last attempt and its timer are gone.
 */

#include "ackc/net/dial.h"
#include "ackc/net/words.h"
#include "core/text/printable.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

union any_stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct attempt {
	uv_connect_t request;
	struct dial *dial;
	uv_stream_t *stream; /* NULL after it was closed or passed on */
	const struct sockaddr_storage *peer;
	uint64_t started_ns;
};

struct dial {
	uv_loop_t *loop;
	uv_timer_t timer;
	const struct addresses *addresses;
	size_t next;
	struct attempt *attempts[DIAL_ADDRESSES_MAX]; /* by address; NULL: not started, or ended */
	unsigned references;			      /* one per attempt, one for the timer */
	unsigned pending;
	int failure;
	uint64_t deadline_ms; /* in the loop's clock */
	dial_cb cb;	      /* NULL after it was called or cancelled */
	void *data;
};

static void on_stream_closed(uv_handle_t *handle)
{
	free(handle);
}

void stream_close(uv_stream_t *stream)
{
	if (stream && !uv_is_closing((uv_handle_t *)stream))
		uv_close((uv_handle_t *)stream, on_stream_closed);
}

void stream_abort(uv_stream_t *stream)
{
	if (!stream || uv_is_closing((uv_handle_t *)stream))
		return;
	if (stream->type != UV_TCP || uv_tcp_close_reset((uv_tcp_t *)stream, on_stream_closed) < 0)
		stream_close(stream);
}

int stream_failure(const uv_stream_t *stream, int status)
{
	int error = 0;
	socklen_t n = sizeof(error);
	uv_os_fd_t fd;

	if (status != UV_EOF || uv_fileno((const uv_handle_t *)stream, &fd) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error == 0)
		return status;
	return uv_translate_sys_error(error);
}

bool has_input(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

bool stream_has_input(const uv_stream_t *stream)
{
	uv_os_fd_t fd;

	return uv_fileno((const uv_handle_t *)stream, &fd) == 0 && has_input(fd);
}

static void dial_unref(struct dial *d)
{
	if (--d->references == 0)
		free(d);
}

static void on_timer_closed(uv_handle_t *handle)
{
	dial_unref(handle->data);
}

void dial_cancel(struct dial *d)
{
	if (!d || uv_is_closing((uv_handle_t *)&d->timer))
		return;
	d->cb = NULL;
	for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++) {
		if (d->attempts[i]) {
			stream_close(d->attempts[i]->stream);
			d->attempts[i]->stream = NULL;
		}
	}
	uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

static void finish(struct dial *d, int status, uv_stream_t *stream, const struct attempt *won)
{
	dial_cb cb = d->cb;
	void *data = d->data;

	dial_cancel(d);
	cb(data, status, stream, won ? uv_hrtime() - won->started_ns : 0, won ? won->peer : NULL);
}

/* Sends the PROXY header, if any, on a new connection. Returns 0 or a negative errno. */
static int send_proxy_header(const struct attempt *a)
{
	const struct proxy_choice *choice = &a->dial->addresses->proxy;
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	uint8_t header[PROXY_SEND_MAX];
	int n = sizeof(local);
	uv_buf_t buf;
	int r = 0;

	if (choice->version == 0)
		return 0;
	if (a->stream->type == UV_TCP)
		r = uv_tcp_getsockname((const uv_tcp_t *)a->stream, (struct sockaddr *)&local, &n);
	if (r < 0)
		return r;
	buf = uv_buf_init((char *)header,
			  (unsigned)proxy_send_make(choice, &local, a->peer, header));
	r = uv_try_write(a->stream, &buf, 1);
	if (r < 0)
		return r;
	/* An empty send buffer accepts a whole header. */
	return (size_t)r == buf.len ? 0 : UV_ENOBUFS;
}

static void launch(struct dial *d);

static void on_connect(uv_connect_t *request, int status)
{
	struct attempt *a = request->data;
	struct dial *d = a->dial;
	uv_stream_t *stream = a->stream;

	for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++) {
		if (d->attempts[i] == a)
			d->attempts[i] = NULL;
	}
	d->pending--;
	if (d->cb && status == 0)
		status = send_proxy_header(a);
	if (!d->cb) {
		/* Another attempt won, or the dial ended: the stream is already closed. */
	} else if (status == 0) {
		a->stream = NULL;
		finish(d, 0, stream, a);
	} else {
		d->failure = words_more_telling(d->failure, status);
		stream_close(stream);
		launch(d);
	}
	free(a);
	dial_unref(d);
}

static int connect_stream(struct attempt *a, uv_loop_t *loop, union any_stream *s)
{
	int r;

	if (a->peer->ss_family == AF_UNIX) {
		uv_pipe_init(loop, &s->pipe, 0);
		a->stream = &s->stream;
		uv_pipe_connect(&a->request, &s->pipe,
				((const struct sockaddr_un *)a->peer)->sun_path, on_connect);
		return 0;
	}
	uv_tcp_init(loop, &s->tcp);
	a->stream = &s->stream;
	r = uv_tcp_connect(&a->request, &s->tcp, (const struct sockaddr *)a->peer, on_connect);
	/*
	 * Without TCP_NODELAY a small message would wait for the acknowledgement of the previous
	 * one.
	 */
	if (r == 0)
		uv_tcp_nodelay(&s->tcp, 1);
	return r;
}

static int attempt_start(struct dial *d, size_t i)
{
	struct attempt *a = calloc(1, sizeof(*a));
	union any_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!a || !s) {
		free(a);
		free(s);
		return -ENOMEM;
	}
	a->dial = d;
	a->peer = &d->addresses->list[i];
	a->request.data = a;
	a->started_ns = uv_hrtime();
	r = connect_stream(a, d->loop, s);
	if (r < 0) {
		stream_close(&s->stream);
		free(a);
		return r;
	}
	d->attempts[i] = a;
	d->pending++;
	d->references++;
	return 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct dial *d = timer->data;

	if (uv_now(d->loop) >= d->deadline_ms)
		finish(d, words_more_telling(d->failure, FAILURE_CONNECT_TIMEOUT), NULL, NULL);
	else
		launch(d);
}

/* Starts the next address, and sets the timer for the step after it. */
static void launch(struct dial *d)
{
	uint64_t now_ms;
	uint64_t wait_ms;
	bool begun = false;

	while (!begun && d->next < d->addresses->n) {
		int r = attempt_start(d, d->next++);

		begun = r == 0;
		if (r < 0)
			d->failure = words_more_telling(d->failure, r);
	}
	if (d->pending == 0) {
		finish(d, d->failure, NULL, NULL);
		return;
	}
	uv_update_time(d->loop);
	now_ms = uv_now(d->loop);
	wait_ms = d->deadline_ms > now_ms ? d->deadline_ms - now_ms : 0;
	if (d->next < d->addresses->n && wait_ms > DIAL_STAGGER_MS)
		wait_ms = DIAL_STAGGER_MS;
	uv_timer_start(&d->timer, on_timer, wait_ms, 0);
}

int dial_start(uv_loop_t *loop, const struct addresses *addresses, uint64_t timeout_ms, dial_cb cb,
	       void *data, struct dial **ret_dial)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	d->addresses = addresses;
	d->cb = cb;
	d->data = data;
	d->references = 1;
	uv_update_time(loop);
	d->deadline_ms = uv_now(loop) + timeout_ms;
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	uv_timer_start(&d->timer, on_timer, 0, 0);
	*ret_dial = d;
	return 0;
}

void address_text(const struct sockaddr_storage *a, char ret_text[ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN + 1] = "?";
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

	if (a->ss_family == AF_UNIX) {
		strcpy(ret_text, "unix:");
		printable_escape(ret_text + strlen("unix:"), ADDRESS_TEXT_MAX - strlen("unix:"),
				 ((const struct sockaddr_un *)a)->sun_path);
	} else if (a->ss_family == AF_INET6) {
		uv_ip6_name(v6, host, sizeof(host));
		snprintf(ret_text, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		uv_ip4_name(v4, host, sizeof(host));
		snprintf(ret_text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4->sin_port));
	}
}
