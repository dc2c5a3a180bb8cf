/*
 * A look-up consists of a request in a libuv thread and a timer. The first of the two to end calls
 * the callback. A running request cannot be cancelled, so the memory is freed when both have ended.
 */

#include "ackc/net/dial.h"
#include "ackc/net/words.h"
#include "ackc/output/output.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

struct lookup {
	uv_getaddrinfo_t request;
	uv_timer_t timer;
	const struct target *target;
	uv_loop_t *loop;
	lookup_cb cb; /* NULL after it was called or cancelled */
	void *data;
	bool request_pending;
	bool timer_open;
};

static unsigned blocking_work;

void loop_work_begin(void)
{
	blocking_work++;
}

void loop_work_end(void)
{
	blocking_work--;
}

int loop_finish(uv_loop_t *loop, int status)
{
	status = output_end(status);
	if (blocking_work)
		_exit(status);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	return status;
}

static void release(struct lookup *l)
{
	if (!l->request_pending && !l->timer_open)
		free(l);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct lookup *l = handle->data;

	l->timer_open = false;
	release(l);
}

void lookup_cancel(struct lookup *l)
{
	if (!l)
		return;
	l->cb = NULL;
	if (l->request_pending)
		uv_cancel((uv_req_t *)&l->request);
	if (!uv_is_closing((uv_handle_t *)&l->timer))
		uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

static void finish(struct lookup *l, int status, const struct addresses *addresses)
{
	lookup_cb cb = l->cb;
	void *data = l->data;

	if (!cb)
		return;
	lookup_cancel(l);
	cb(data, status, addresses);
}

/* RFC 8305, section 4: alternate the families, starting with that of the first address. */
static void interleave(const struct addrinfo *info, struct addresses *ret)
{
	int first = info ? info->ai_family : AF_UNSPEC;
	const struct addrinfo *turn[2] = {info, info};

	ret->n = 0;
	for (int t = 0; (turn[0] || turn[1]) && ret->n < DIAL_ADDRESSES_MAX; t ^= 1) {
		while (turn[t] && (turn[t]->ai_family == first) != (t == 0))
			turn[t] = turn[t]->ai_next;
		if (!turn[t])
			continue;
		if (turn[t]->ai_addrlen <= sizeof(ret->list[0]))
			memcpy(&ret->list[ret->n++], turn[t]->ai_addr, turn[t]->ai_addrlen);
		turn[t] = turn[t]->ai_next;
	}
}

static void on_addresses(uv_getaddrinfo_t *request, int status, struct addrinfo *info)
{
	struct lookup *l = request->data;
	struct addresses addresses = {.proxy = l->target->proxy};

	loop_work_end();
	l->request_pending = false;
	interleave(info, &addresses);
	uv_freeaddrinfo(info);
	if (status == 0 && addresses.n == 0)
		status = UV_EAI_NONAME;
	finish(l, status, status == 0 ? &addresses : NULL);
	release(l);
}

static void on_timer(uv_timer_t *timer)
{
	struct lookup *l = timer->data;
	struct addresses addresses = {.n = 1, .proxy = l->target->proxy};
	struct sockaddr_un *un = (struct sockaddr_un *)&addresses.list[0];

	if (!l->target->path[0]) {
		finish(l, FAILURE_LOOKUP_TIMEOUT, NULL);
		return;
	}
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, l->target->path);
	finish(l, 0, &addresses);
}

static int request_start(struct lookup *l)
{
	struct addrinfo hints = {
		.ai_family = l->target->family,
		.ai_socktype = SOCK_STREAM,
	};
	char service[sizeof("65535")];
	int r;

	snprintf(service, sizeof(service), "%u", (unsigned)l->target->port);
	l->request.data = l;
	r = uv_getaddrinfo(l->loop, &l->request, on_addresses, l->target->host, service, &hints);
	/* libuv returns UV_EINVAL for a string that cannot be a name. */
	if (r == UV_EINVAL)
		return UV_EAI_NONAME;
	if (r < 0)
		return r;
	l->request_pending = true;
	loop_work_begin();
	return 0;
}

int lookup_start(uv_loop_t *loop, const struct target *t, uint64_t timeout_ms, lookup_cb cb,
		 void *data, struct lookup **ret_lookup)
{
	struct lookup *l = calloc(1, sizeof(*l));
	int r = 0;

	if (!l)
		return -ENOMEM;
	l->target = t;
	l->loop = loop;
	l->cb = cb;
	l->data = data;
	uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	l->timer_open = true;
	uv_update_time(loop);
	uv_timer_start(&l->timer, on_timer, t->path[0] ? 0 : timeout_ms, 0);
	if (!t->path[0])
		r = request_start(l);
	if (r < 0) {
		lookup_cancel(l);
		return r;
	}
	*ret_lookup = l;
	return 0;
}
