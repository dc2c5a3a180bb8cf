/*
 * The usual case: the first address answers, and its stream is passed to the callback. If an
 * address fails, the next one is tried immediately. If it has not answered within DIAL_STAGGER_MS,
 * the next one is tried in parallel. The first to connect wins and the others are closed. If all
 * fail, the most informative failure is reported.
 *
 * With TLS, the winner then makes the handshake, within the same time limit. No other address is
 * tried if that fails.
 */

#include "ackc/net/dial.h"

#include "ackc/output/failure.h"

#include <errno.h>
#include <stdlib.h>

struct attempt {
	struct dial *dial;
	struct stream *stream; /* NULL: not started, or ended */
	const struct sockaddr_storage *peer;
	uint64_t started_ns;
};

struct dial {
	uv_loop_t *loop;
	uv_timer_t timer;
	const struct addresses *addresses;
	struct attempt attempts[ADDRESSES_MAX]; /* by address */
	size_t next;				/* address to try */
	unsigned pending;
	int failure;
	uint64_t deadline_ms; /* in the loop's clock */
	uint64_t connect_ns;
	bool handshaking; /* the others are closed */
	dial_cb cb;
	void *data;
};

void dial_cancel(struct dial *d)
{
	if (!d || uv_is_closing((uv_handle_t *)&d->timer))
		return;
	for (size_t i = 0; i < d->next; i++)
		stream_close(d->attempts[i].stream);
	uv_close((uv_handle_t *)&d->timer, handle_free);
}

static void fail(struct dial *d, int failure)
{
	dial_cancel(d);
	d->cb(d->data, failure, NULL, 0, NULL);
}

static void succeed(struct attempt *a)
{
	struct dial *d = a->dial;
	struct stream *stream = a->stream;

	a->stream = NULL;
	dial_cancel(d);
	d->cb(d->data, 0, stream, d->connect_ns, a->peer);
}

static void on_handshake(void *data, int status)
{
	struct attempt *a = data;

	if (status < 0)
		fail(a->dial, status);
	else
		succeed(a);
}

static uint64_t left_ms(const struct dial *d)
{
	uint64_t now_ms;

	uv_update_time(d->loop);
	now_ms = uv_now(d->loop);
	return d->deadline_ms > now_ms ? d->deadline_ms - now_ms : 0;
}

static void on_timer(uv_timer_t *timer);

/* Starts the handshake on the connection of @a, which is the only one from here on. */
static void shake_hands(struct attempt *a)
{
	struct dial *d = a->dial;
	int r;

	for (size_t i = 0; i < d->next; i++) {
		if (&d->attempts[i] == a)
			continue;
		stream_close(d->attempts[i].stream);
		d->attempts[i].stream = NULL;
	}
	d->handshaking = true;
	uv_timer_start(&d->timer, on_timer, left_ms(d), 0);
	r = stream_start_tls(a->stream, d->addresses->tls, on_handshake, a);
	if (r < 0)
		fail(d, r);
}

/* Sends the PROXY header, if any, on a new connection. Returns 0 or a negative errno. */
static int send_proxy_header(const struct attempt *a)
{
	const struct proxy_choice *choice = &a->dial->addresses->proxy;
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof(local);
	uint8_t header[PROXY_SEND_MAX];

	if (choice->version == 0)
		return 0;
	if (getsockname(stream_socket(a->stream), (struct sockaddr *)&local, &n) < 0)
		return UV_ENOTCONN; /* it was closed meanwhile */
	return stream_write(a->stream, header, proxy_send_make(choice, &local, a->peer, header));
}

static void launch(struct dial *d);

static void on_connected(void *data, int status)
{
	struct attempt *a = data;
	struct dial *d = a->dial;

	if (status == 0)
		status = send_proxy_header(a);
	if (status == 0) {
		d->connect_ns = uv_hrtime() - a->started_ns;
		if (d->addresses->tls)
			shake_hands(a);
		else
			succeed(a);
		return;
	}
	d->failure = failure_prefer(d->failure, status);
	d->pending--;
	stream_close(a->stream);
	a->stream = NULL;
	launch(d);
}

static void on_timer(uv_timer_t *timer)
{
	struct dial *d = timer->data;

	if (d->handshaking)
		fail(d, FAILURE_HANDSHAKE_TIMEOUT);
	else if (uv_now(d->loop) >= d->deadline_ms)
		fail(d, failure_prefer(d->failure, FAILURE_CONNECT_TIMEOUT));
	else
		launch(d);
}

static int start_next(struct dial *d)
{
	struct attempt *a = &d->attempts[d->next];

	a->dial = d;
	a->peer = &d->addresses->list[d->next++];
	a->started_ns = uv_hrtime();
	return stream_connect(d->loop, a->peer, on_connected, a, &a->stream);
}

/* Starts the next address, and sets the timer for the step after it. */
static void launch(struct dial *d)
{
	uint64_t wait_ms;
	bool started = false;

	while (!started && d->next < d->addresses->n) {
		int r = start_next(d);

		started = r == 0;
		if (r < 0)
			d->failure = failure_prefer(d->failure, r);
	}
	d->pending += started;
	if (d->pending == 0) {
		fail(d, d->failure);
		return;
	}
	wait_ms = left_ms(d);
	if (d->next < d->addresses->n && wait_ms > DIAL_STAGGER_MS)
		wait_ms = DIAL_STAGGER_MS;
	uv_timer_start(&d->timer, on_timer, wait_ms, 0);
}

int dial_start(uv_loop_t *loop, const struct addresses *addresses, uint64_t timeout_ms, dial_cb cb,
	       void *data, struct dial **ret_dial)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return UV_ENOMEM;
	d->loop = loop;
	d->addresses = addresses;
	d->cb = cb;
	d->data = data;
	uv_update_time(loop);
	d->deadline_ms = uv_now(loop) + timeout_ms;
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	uv_timer_start(&d->timer, on_timer, 0, 0);
	*ret_dial = d;
	return 0;
}
