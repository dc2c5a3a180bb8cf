/*
 * A look-up consists of a request in a libuv thread and a timer. The first of the two to end calls
 * the callback. A running request cannot be cancelled.
 */

#include "ackc/net/lookup.h"

#include "ackc/output/failure.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

void lookup_cancel(struct lookup *l)
{
	l->cb = NULL;
	if (l->blocking)
		uv_cancel((uv_req_t *)&l->request);
	if (!uv_is_closing((uv_handle_t *)&l->timer))
		uv_close((uv_handle_t *)&l->timer, NULL);
}

static void finish(struct lookup *l, int status)
{
	lookup_cb cb = l->cb;

	lookup_cancel(l);
	if (cb)
		cb(l->data, status);
}

/* RFC 8305, section 4: alternate the families, starting with that of the first address. */
static void interleave(const struct addrinfo *info, struct addresses *ret)
{
	int first = info ? info->ai_family : AF_UNSPEC;
	const struct addrinfo *turn[2] = {info, info};

	ret->n = 0;
	for (int t = 0; (turn[0] || turn[1]) && ret->n < ADDRESSES_MAX; t ^= 1) {
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

	l->blocking = false;
	if (status == UV_ENOENT) /* of Windows, for a name that has only other addresses */
		status = UV_EAI_NODATA;
	interleave(info, &l->addresses);
	uv_freeaddrinfo(info);
	finish(l, status == 0 && l->addresses.n == 0 ? UV_EAI_NONAME : status);
}

static void on_timer(uv_timer_t *timer)
{
	struct lookup *l = timer->data;

	finish(l, l->failure);
}

static int start_request(struct lookup *l)
{
	struct addrinfo hints = {
		.ai_family = l->target->family,
		.ai_socktype = SOCK_STREAM,
	};
	char service[sizeof("65535")];
	int r;

	snprintf(service, sizeof(service), "%u", (unsigned)l->target->port);
	l->request.data = l;
	r = uv_getaddrinfo(l->timer.loop, &l->request, on_addresses, l->target->host, service,
			   &hints);
	/* libuv returns UV_EINVAL for a string that cannot be a name. */
	return r == UV_EINVAL ? UV_EAI_NONAME : r;
}

void lookup_start(struct lookup *l, uv_loop_t *loop, const struct target *t, uint64_t timeout_ms,
		  lookup_cb cb, void *data)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&l->addresses.list[0];
	int r = 0;

	l->target = t;
	l->addresses.proxy = t->proxy;
	l->addresses.tls = t->tls_client;
	l->cb = cb;
	l->data = data;
	uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	if (t->path[0]) {
		sockaddr_set_path(un, t->path);
		l->addresses.n = 1;
	} else {
		r = start_request(l);
		l->blocking = r == 0;
		l->failure = r < 0 ? r : FAILURE_LOOKUP_TIMEOUT;
	}
	uv_update_time(loop);
	uv_timer_start(&l->timer, on_timer, l->blocking ? timeout_ms : 0, 0);
}

void peer_text(const struct sockaddr_storage *a, char ret_text[PEER_TEXT_MAX])
{
	char text[ADDRESS_TEXT_MAX];

	printable_escape(ret_text, PEER_TEXT_MAX,
			 sockaddr_format((const struct sockaddr *)a, text));
}
