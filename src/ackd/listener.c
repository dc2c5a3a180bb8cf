#include "ackd/listener.h"

#include "ackd/log.h"
#include "ackd/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * How many connections one callback accepts: a storm of connects must not starve the connections
 * that are there.
 */
#define ACCEPT_MAX 64

struct listener *listener_create(struct worker *worker, struct config *config,
				 const struct config_listener *settings, struct counters *counters)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return NULL;
	listener->worker = worker;
	listener->config = config_ref(config);
	listener->settings = settings;
	listener->counters = counters;
	listener->idle.timeout_ms = config->idle_timeout_ms;
	listener->references = 1;
	listener->next = worker->listeners;
	worker->listeners = listener;
	return listener;
}

void listener_ref(struct listener *listener)
{
	listener->references++;
}

void listener_unref(struct listener *listener)
{
	struct listener **link = &listener->worker->listeners;

	if (--listener->references > 0)
		return;
	while (*link != listener)
		link = &(*link)->next;
	*link = listener->next;
	config_unref(listener->config);
	free(listener);
}

static bool cidr_allows(const struct config_listener *settings, const struct sockaddr *peer)
{
	int allowed = cidr_list_match(&settings->allow, peer);
	int denied = cidr_list_match(&settings->deny, peer);

	if (allowed < 0 && denied < 0)
		return settings->allow.n == 0 && !settings->allow.has_unix;
	return allowed > denied;
}

static void listener_refuse(struct listener *listener, int fd, const struct address *address,
			    enum refusal refusal)
{
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = listener->settings->name,
		.peer = address_format(address, peer),
		.reason = refusal_name(refusal),
	};

	counter_add(&listener->counters->refused[refusal], 1);
	log_post(LOG_REFUSE, &fields, "%s: connection from %s refused: %s", fields.listener, peer,
		 fields.reason);
	if (refusal != REFUSAL_DENIED && refusal != REFUSAL_MEMORY &&
	    limits_refusal_begin(listener->worker->limits))
		conn_refuse(listener, fd, address);
	else
		close(fd);
}

static void listener_admit(struct listener *listener, int fd, const struct sockaddr *sa)
{
	struct address address = address_from_sockaddr(sa);

	if (!cidr_allows(listener->settings, sa)) {
		listener_refuse(listener, fd, &address, REFUSAL_DENIED);
		return;
	}
	switch (limits_admit(listener->worker->limits, &address)) {
	case LIMITS_ADMITTED:
		conn_open(listener, fd, &address);
		break;
	case LIMITS_TOO_MANY:
		listener_refuse(listener, fd, &address, REFUSAL_CONNECTIONS);
		break;
	case LIMITS_TOO_MANY_FROM_ADDRESS:
		listener_refuse(listener, fd, &address, REFUSAL_PER_ADDRESS);
		break;
	case LIMITS_NO_MEMORY:
		listener_refuse(listener, fd, &address, REFUSAL_MEMORY);
		break;
	}
}

/* Whether accept(2) says that this one connection is lost, rather than that none can be accepted.
 */
static bool accept_error_is_of_peer(int error)
{
	return error == ECONNABORTED || error == EPROTO || error == EINTR;
}

static void acceptor_pause(struct acceptor *acceptor, int error)
{
	struct worker *worker = acceptor->listener->worker;
	char words[128];
	struct log_fields fields = {
		.listener = acceptor->listener->settings->name,
		.reason = uv_strerror_r(uv_translate_sys_error(error), words, sizeof(words)),
	};

	counter_add(&acceptor->listener->counters->accept_errors, 1);
	log_post(LOG_ACCEPT_ERROR, &fields,
		 "%s: cannot accept a connection: %s; trying again in %d ms", fields.listener,
		 words, ACCEPT_PAUSE_MS);
	uv_poll_stop(&acceptor->poll);
	acceptor->paused = true;
	worker->accept_paused = true;
	worker->accept_resume_ms = uv_now(&worker->loop) + ACCEPT_PAUSE_MS;
	worker_wake_in(worker, ACCEPT_PAUSE_MS);
}

/* Accepts up to @max connections. Returns 0, or the errno of an error that would come again. */
static int acceptor_accept(struct acceptor *acceptor, unsigned max)
{
	struct sockaddr_storage peer;
	socklen_t length;
	int fd;

	while (max-- > 0) {
		length = sizeof(peer);
		peer.ss_family = AF_UNIX; /* an unnamed UNIX peer has no address at all */
		fd = accept4(acceptor->fd, (struct sockaddr *)&peer, &length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		acceptor->listener->worker->n_events++;
		if (fd >= 0) {
			listener_admit(acceptor->listener, fd, (const struct sockaddr *)&peer);
		} else if (errno == EAGAIN) {
			return 0;
		} else if (accept_error_is_of_peer(errno)) {
			counter_add(&acceptor->listener->counters->accept_errors, 1);
		} else {
			return errno;
		}
	}
	return 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct acceptor *acceptor = poll->data;
	int error = status < 0 ? -status : acceptor_accept(acceptor, ACCEPT_MAX);

	if (error)
		acceptor_pause(acceptor, error);
}

int acceptor_open(struct listener *listener, int fd, bool passed, struct acceptor **ret_acceptor)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
	int r;

	if (!acceptor)
		return UV_ENOMEM;
	r = uv_poll_init(&listener->worker->loop, &acceptor->poll, fd);
	if (r < 0) {
		free(acceptor);
		return r;
	}
	acceptor->poll.data = acceptor;
	acceptor->fd = fd;
	acceptor->passed = passed;
	acceptor->listener = listener;
	listener_ref(listener);
	acceptor_resume(acceptor);
	*ret_acceptor = acceptor;
	return 0;
}

void acceptor_move(struct acceptor *acceptor, struct listener *listener)
{
	listener_ref(listener);
	listener_unref(acceptor->listener);
	acceptor->listener = listener;
}

void acceptor_resume(struct acceptor *acceptor)
{
	acceptor->paused = false;
	uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void acceptor_close(struct acceptor *acceptor)
{
	/* who is in the queue has been told by the kernel that it is connected */
	if (!acceptor->passed)
		acceptor_accept(acceptor, (unsigned)acceptor->listener->settings->backlog);
	uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
	listener_unref(acceptor->listener);
	acceptor->listener = NULL;
}
