#include "ackd/worker/acceptor.h"

#include "ackd/conn/conn.h"
#include "ackd/conn/reactor.h"
#include "ackd/log/log.h"
#include "base/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/*
 * The most connections that one callback accepts, so that many new connections cannot starve the
 * existing ones.
 */
#define ACCEPT_MAX 64

/* Returns whether accept(2) failed only for this connection, so that others can be accepted. */
static bool accept_error_is_of_peer(int error)
{
	return error == -ECONNABORTED || error == -EPROTO || error == -EINTR;
}

/*
 * Accepts up to @max connections. Returns 0, or the negative errno of an error that would repeat: a
 * system error, or one that affected each of @max peers.
 */
static int acceptor_accept(struct acceptor *acceptor, unsigned max)
{
	struct sockaddr_storage peer;
	struct address address;
	socklen_t length;
	int fd, error = 0;
	bool taken = false;

	while (max-- > 0) {
		length = sizeof(peer);
		/* accept() may return no address for an unnamed UNIX peer */
		peer.ss_family = AF_UNIX;
		fd = sock_accept(acceptor->fd, (struct sockaddr *)&peer, &length);
		acceptor->listener->reactor->n_events++;
		if (fd >= 0) {
			address = address_from_sockaddr((const struct sockaddr *)&peer);
			conn_accept(acceptor->listener, fd, &address);
			taken = true;
		} else if (fd == -EAGAIN) {
			return 0;
		} else if (accept_error_is_of_peer(fd)) {
			error = fd;
			counter_add(acceptor->listener->counters, COUNTER_ACCEPT_ERRORS, 1);
		} else {
			return fd;
		}
	}
	return taken ? 0 : error;
}

/* ---- states ---- */

const struct state_row acceptor_states[] = {
	[ACCEPTOR_UNOPENED] = {"unopened",
			       STATES_BIT(ACCEPTOR_ACCEPTING) | STATES_BIT(ACCEPTOR_CLOSED)},
	[ACCEPTOR_ACCEPTING] = {"accepting",
				STATES_BIT(ACCEPTOR_PAUSED) | STATES_BIT(ACCEPTOR_CLOSED)},
	[ACCEPTOR_PAUSED] = {"paused",
			     STATES_BIT(ACCEPTOR_ACCEPTING) | STATES_BIT(ACCEPTOR_CLOSED)},
	[ACCEPTOR_CLOSED] = {"closed", 0},
};

void acceptor_check_invariant(const struct acceptor *acceptor)
{
	const uv_handle_t *handle = (const uv_handle_t *)&acceptor->poll;

	assert(acceptor->listener);
	assert(!acceptor->kept);
	assert(acceptor->state != ACCEPTOR_CLOSED); /* nothing refers to a closed one */
	if (acceptor->state == ACCEPTOR_UNOPENED)
		assert(acceptor->resume_ms > 0);
	else
		assert(uv_is_active(handle) == (acceptor->state == ACCEPTOR_ACCEPTING));
}

/* Reports the libuv error @error, and has acceptor_expire() try again after a pause. */
static void pause_after(struct acceptor *acceptor, const char *what, int error)
{
	struct reactor *reactor = acceptor->listener->reactor;
	char words[128];
	struct log_fields fields = {
		.listener = acceptor->listener->settings->name,
		.reason = uv_strerror_r(error, words, sizeof(words)),
	};

	counter_add(acceptor->listener->counters, COUNTER_ACCEPT_ERRORS, 1);
	if (log_admit(LOG_ACCEPT_ERROR))
		log_post(LOG_ACCEPT_ERROR, &fields, "%s: %s: %s; retrying in %d ms",
			 fields.listener, what, words, ACCEPTOR_PAUSE_MS);
	acceptor->resume_ms = uv_now(&reactor->loop) + ACCEPTOR_PAUSE_MS;
	reactor_wake_in(reactor, ACCEPTOR_PAUSE_MS);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct acceptor *acceptor = poll->data;
	int error = status < 0 ? status : acceptor_accept(acceptor, ACCEPT_MAX);

	if (error == 0)
		return;
	states_move(acceptor_states, &acceptor->state, ACCEPTOR_PAUSED);
	uv_poll_stop(poll);
	pause_after(acceptor, "cannot accept a connection", error);
}

/* Leaves the state unopened or paused, unless the loop refuses the descriptor. */
static void acceptor_resume(struct acceptor *acceptor)
{
	int r = 0;

	if (acceptor->state == ACCEPTOR_UNOPENED)
		r = uv_poll_init(&acceptor->listener->reactor->loop, &acceptor->poll, acceptor->fd);
	if (r < 0) {
		pause_after(acceptor, "cannot poll a listening socket", r);
		return;
	}
	states_move(acceptor_states, &acceptor->state, ACCEPTOR_ACCEPTING);
	acceptor->poll.data = acceptor;
	uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

void acceptor_open(struct acceptor *acceptor, struct listener *listener, int fd, bool passed)
{
	listener_ref(listener);
	acceptor->listener = listener;
	acceptor->fd = fd;
	acceptor->passed = passed;
	acceptor_resume(acceptor);
}

void acceptor_serve(struct acceptor *acceptor, struct listener *listener)
{
	listener_ref(listener);
	listener_unref(acceptor->listener);
	acceptor->listener = listener;
}

uint64_t acceptor_expire(struct acceptor *acceptor, uint64_t now_ms)
{
	if (acceptor->state == ACCEPTOR_ACCEPTING)
		return UINT64_MAX;
	if (now_ms < acceptor->resume_ms)
		return acceptor->resume_ms - now_ms;
	acceptor_resume(acceptor);
	return acceptor->state == ACCEPTOR_ACCEPTING ? UINT64_MAX : ACCEPTOR_PAUSE_MS;
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void acceptor_close(struct acceptor *acceptor)
{
	bool is_open = acceptor->state != ACCEPTOR_UNOPENED;

	list_remove(&acceptor->node);
	/* queued clients already consider themselves connected; the kernel queues backlog + 1 */
	if (!acceptor->passed)
		acceptor_accept(acceptor, acceptor->listener->settings->backlog + 1);
	states_move(acceptor_states, &acceptor->state, ACCEPTOR_CLOSED);
	listener_unref(acceptor->listener);
	acceptor->listener = NULL;
	if (is_open)
		uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
	else
		free(acceptor);
}
