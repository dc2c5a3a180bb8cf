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

void listener_begin(struct listener *listener, struct worker *worker, struct config *config,
		    const struct config_listener *settings, struct counters *counters)
{
	listener->worker = worker;
	listener->config = config_ref(config);
	listener->settings = settings;
	listener->counters = counters;
	counters_use(counters, 1);
	listener->idle.timeout_ms = config->idle_timeout_ms;
	listener->references = 1;
	listener->next = worker->listeners;
	worker->listeners = listener;
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
	counters_use(listener->counters, -1);
	config_unref(listener->config);
	free(listener);
}

static bool is_allowed(const struct config_listener *settings, const struct address *address)
{
	struct sockaddr_storage peer;
	int allowed, denied;

	address_to_sockaddr(address, &peer);
	allowed = cidr_list_match(&settings->allow, (struct sockaddr *)&peer);
	denied = cidr_list_match(&settings->deny, (struct sockaddr *)&peer);
	if (allowed < 0 && denied < 0)
		return settings->allow.n == 0;
	return allowed > denied;
}

void listener_count_refusal(struct listener *listener, const struct address *address,
			    enum refusal refusal, const char *reason)
{
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields;

	counter_add(listener->counters, COUNTER_REFUSED + refusal, 1);
	if (!log_admit(LOG_REFUSE))
		return;
	fields = (struct log_fields){
		.listener = listener->settings->name,
		.peer = address_format(address, peer),
		.reason = reason ? reason : refusal_name(refusal),
	};
	log_post(LOG_REFUSE, &fields, "%s: connection from %s refused: %s", fields.listener, peer,
		 fields.reason);
}

bool refusal_is_told(enum refusal refusal)
{
	return refusal == REFUSAL_CONNECTIONS || refusal == REFUSAL_PER_ADDRESS;
}

enum refusal listener_admit(struct listener *listener, const struct address *address, bool placed)
{
	struct limits *limits = listener->worker->limits;
	static const enum refusal refusals[] = {
		[LIMITS_ADMITTED] = REFUSAL_NONE,
		[LIMITS_TOO_MANY] = REFUSAL_CONNECTIONS,
		[LIMITS_TOO_MANY_FROM_ADDRESS] = REFUSAL_PER_ADDRESS,
		[LIMITS_NO_MEMORY] = REFUSAL_MEMORY,
	};
	enum refusal refusal = REFUSAL_DENIED;

	if (is_allowed(listener->settings, address))
		refusal = refusals[placed ? limits_pass_on(limits, address)
					  : limits_admit(limits, address)];
	if (refusal != REFUSAL_NONE)
		listener_count_refusal(listener, address, refusal, NULL);
	return refusal;
}

struct conn *listener_take_proxy(struct listener *listener, int fd, const struct address *address)
{
	struct sockaddr_storage peer;

	address_to_sockaddr(address, &peer);
	if (cidr_list_match(&listener->settings->proxies, (struct sockaddr *)&peer) >= 0)
		return conn_open_proxied(listener, fd, address);
	listener_count_refusal(listener, address, REFUSAL_DENIED, NULL);
	close(fd);
	return NULL;
}

bool listener_is_proxied(const struct listener *listener)
{
	const struct cidr_list *proxies = &listener->settings->proxies;

	return proxies->n > 0 || proxies->has_unix;
}

static void listener_take(struct listener *listener, int fd, const struct sockaddr *peer)
{
	struct address address = address_from_sockaddr(peer);
	enum refusal refusal;

	if (listener_is_proxied(listener)) {
		listener_take_proxy(listener, fd, &address);
		return;
	}
	refusal = listener_admit(listener, &address, false);
	if (refusal == REFUSAL_NONE)
		conn_open(listener, fd, &address);
	else if (refusal_is_told(refusal) && limits_refusal_begin(listener->worker->limits))
		conn_refuse(listener, fd, &address);
	else
		close(fd);
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

	counter_add(acceptor->listener->counters, COUNTER_ACCEPT_ERRORS, 1);
	if (log_admit(LOG_ACCEPT_ERROR))
		log_post(LOG_ACCEPT_ERROR, &fields,
			 "%s: cannot accept a connection: %s; trying again in %d ms",
			 fields.listener, words, ACCEPT_PAUSE_MS);
	uv_poll_stop(&acceptor->poll);
	acceptor->paused = true;
	worker->accept_paused = true;
	worker->accept_resume_ms = uv_now(&worker->loop) + ACCEPT_PAUSE_MS;
	worker_wake_in(worker, ACCEPT_PAUSE_MS);
}

/*
 * Accepts up to @max connections. Returns 0, or the errno of an error that would come again: one of
 * the system, or one that all of @max peers have had.
 */
static int acceptor_accept(struct acceptor *acceptor, unsigned max)
{
	struct sockaddr_storage peer;
	socklen_t length;
	int fd, error = 0;
	bool taken = false;

	while (max-- > 0) {
		length = sizeof(peer);
		peer.ss_family = AF_UNIX; /* an unnamed UNIX peer has no address at all */
		fd = accept4(acceptor->fd, (struct sockaddr *)&peer, &length,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		acceptor->listener->worker->n_events++;
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
	if (acceptor->listener && !acceptor->passed)
		acceptor_accept(acceptor, (unsigned)acceptor->listener->settings->backlog);
	uv_close((uv_handle_t *)&acceptor->poll, on_poll_closed);
	if (acceptor->listener)
		listener_unref(acceptor->listener);
	acceptor->listener = NULL;
}
