#include "ackd/worker/acceptor.h"

#include "ackd/conn/conn.h"
#include "ackd/conn/reactor.h"
#include "ackd/log/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The most connections that one callback accepts, so that many new connections cannot starve the
 * existing ones.
 */
#define ACCEPT_MAX 64

static void listener_take(struct listener *listener, int fd, const struct sockaddr *peer)
{
	struct address address = address_from_sockaddr(peer);
	enum refusal refusal;

	if (listener_is_proxied(listener)) {
		conn_open_proxied(listener, fd, &address);
		return;
	}
	refusal = listener_admit(listener, &address, false);
	if (refusal == REFUSAL_NONE)
		conn_open(listener, fd, &address);
	else if (refusal_is_told(refusal) && limits_refusal_begin(listener->reactor->limits))
		conn_refuse(listener, fd, &address);
	else
		close(fd);
}

/* Returns whether accept(2) failed only for this connection, so that others can be accepted. */
static bool accept_error_is_of_peer(int error)
{
	return error == ECONNABORTED || error == EPROTO || error == EINTR;
}

static void acceptor_pause(struct acceptor *acceptor, int error)
{
	struct reactor *reactor = acceptor->listener->reactor;
	char words[128];
	struct log_fields fields = {
		.listener = acceptor->listener->settings->name,
		.reason = uv_strerror_r(uv_translate_sys_error(error), words, sizeof(words)),
	};

	counter_add(acceptor->listener->counters, COUNTER_ACCEPT_ERRORS, 1);
	if (log_admit(LOG_ACCEPT_ERROR))
		log_post(LOG_ACCEPT_ERROR, &fields,
			 "%s: cannot accept a connection: %s; trying again in %d ms",
			 fields.listener, words, ACCEPT_PAUSE_MS);
	uv_poll_stop(&acceptor->poll);
	acceptor->resume_ms = uv_now(&reactor->loop) + ACCEPT_PAUSE_MS;
	reactor_wake_in(reactor, ACCEPT_PAUSE_MS);
}

/*
 * Accepts up to @max connections. Returns 0, or the errno of an error that would repeat: a system
 * error, or one that affected each of @max peers.
 */
static int acceptor_accept(struct acceptor *acceptor, unsigned max)
{
	struct sockaddr_storage peer;
	socklen_t length;
	int fd, error = 0;
	bool taken = false;

	while (max-- > 0) {
		length = sizeof(peer);
		peer.ss_family =
			AF_UNIX; /* accept4() returns no address for an unnamed UNIX peer */
		fd = accept4(acceptor->fd, (struct sockaddr *)&peer, &length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		acceptor->listener->reactor->n_events++;
		if (fd >= 0) {
			listener_take(acceptor->listener, fd, (const struct sockaddr *)&peer);
			taken = true;
		} else if (errno == EAGAIN) {
			return 0;
		} else if (accept_error_is_of_peer(errno)) {
			error = errno;
			counter_add(acceptor->listener->counters, COUNTER_ACCEPT_ERRORS, 1);
		} else {
			return errno;
		}
	}
	return taken ? 0 : error;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct acceptor *acceptor = poll->data;
	int error = status < 0 ? -status : acceptor_accept(acceptor, ACCEPT_MAX);

	if (error)
		acceptor_pause(acceptor, error);
}

int acceptor_open(struct acceptor *acceptor, uv_loop_t *loop, int fd, bool passed)
{
	int r = uv_poll_init(loop, &acceptor->poll, fd);

	if (r < 0)
		return r;
	acceptor->poll.data = acceptor;
	acceptor->fd = fd;
	acceptor->passed = passed;
	return 0;
}

static void acceptor_resume(struct acceptor *acceptor)
{
	acceptor->resume_ms = 0;
	uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

void acceptor_serve(struct acceptor *acceptor, struct listener *listener)
{
	struct listener *before = acceptor->listener;

	listener_ref(listener);
	acceptor->listener = listener;
	if (before)
		listener_unref(before);
	else
		acceptor_resume(acceptor);
}

uint64_t acceptor_expire(struct acceptor *acceptor, uint64_t now_ms)
{
	if (acceptor->resume_ms == 0)
		return UINT64_MAX;
	if (now_ms < acceptor->resume_ms)
		return acceptor->resume_ms - now_ms;
	acceptor_resume(acceptor);
	return UINT64_MAX;
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void acceptor_close(struct acceptor *acceptor)
{
	/* queued clients already consider themselves connected; the kernel queues backlog + 1 */
	if (acceptor->listener && !acceptor->passed)
		acceptor_accept(acceptor, (unsigned)acceptor->listener->settings->backlog + 1);
	uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
	if (acceptor->listener)
		listener_unref(acceptor->listener);
	acceptor->listener = NULL;
}
