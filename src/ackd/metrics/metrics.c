/*
 * The normal sequence: a listening socket is readable -> accept -> libmicrohttpd reads the request
 * -> on_request() -> libmicrohttpd writes the response and closes.
 *
 * libmicrohttpd has neither a thread nor a listening socket here. It runs when its epoll
 * descriptor, polled by the main loop, has an event. ackd accepts itself, because libmicrohttpd
 * would keep the loop spinning when out of descriptors, and would not accept while all places are
 * taken.
 *
 * Each connection carries one request and has one deadline. If all places are taken, a new
 * connection replaces the oldest one. A client that sends its request without delay is thus served
 * regardless of how many others are silent or slow. An error ends only the connection in which it
 * occurs.
 */

#include "ackd/metrics/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* The time limit for request and response together. */
#define DEADLINE_MS 10000

/* libmicrohttpd's memory for the request line and the headers. */
#define REQUEST_MAX 8192

/* The most connections accepted before control returns to the loop. */
#define ACCEPT_BATCH 16

/* The pause after an accept error. */
#define ACCEPT_PAUSE_MS 100

/* A listening socket. */
struct endpoint {
	struct endpoint *next;
	struct metrics *metrics;
	int fd;
	uv_poll_t poll;
};

/* A place for one connection. */
struct place {
	uint64_t number; /* of the connection, in order of opening; 0: the place is free */
	int fd;		 /* libmicrohttpd's */
	uint64_t since_ms;
};

struct metrics {
	uv_loop_t *loop;
	struct MHD_Daemon *http;
	uv_poll_t poll; /* libmicrohttpd's epoll descriptor */
	uv_timer_t
		timer; /* the earliest of deadlines, libmicrohttpd's timeout and accept_again_ms */
	struct endpoint *endpoints;
	uint64_t accept_again_ms; /* end of the pause after an accept error; 0: not paused */
	struct place places[METRICS_CONNECTIONS_MAX];
	unsigned n_taken;
	uint64_t numbered; /* number of the latest connection */
	void (*look)(void *data, struct metrics_view *ret_view);
	void *data;
};

/* ---- responses ---- */

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
			       void *body, size_t length, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(length, body, mode);
	enum MHD_Result result = MHD_NO;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(body);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, "Content-Type", type) &&
	    MHD_add_response_header(response, "Connection", "close") &&
	    (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(response, "Allow", "GET, HEAD")))
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
				    const char *text)
{
	/* MHD_RESPMEM_PERSISTENT: libmicrohttpd does not modify the text */
	return respond(connection, status, "text/plain; charset=utf-8", (void *)(uintptr_t)text,
		       strlen(text), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result respond_metrics(struct MHD_Connection *connection,
				       const struct metrics_view *view)
{
	char *text;
	size_t length;

	if (metrics_text(view, &text, &length) < 0)
		return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
	return respond(connection, MHD_HTTP_OK, METRICS_CONTENT_TYPE, text, length,
		       MHD_RESPMEM_MUST_FREE);
}

/*
 * Returns the path of a request target. Proxies send the absolute form, which RFC 9112, 3.2.2
 * requires servers to accept.
 */
static const char *path_of(const char *target)
{
	size_t scheme_n = strncasecmp(target, "http://", 7) == 0    ? 7
			  : strncasecmp(target, "https://", 8) == 0 ? 8
								    : 0;
	const char *host = target + scheme_n;
	const char *path = strchr(host, '/');

	if (scheme_n == 0)
		return target;
	return path && path > host ? path : "";
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **request)
{
	struct metrics *metrics = data;
	const char *path = path_of(url);
	bool is_metrics = strcmp(path, "/metrics") == 0;
	struct metrics_view view;

	if (!is_metrics && strcmp(path, "/healthz") != 0)
		return respond_text(connection, MHD_HTTP_NOT_FOUND,
				    "There are /metrics and /healthz.\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "Only GET and HEAD.\n");
	metrics->look(metrics->data, &view);
	if (is_metrics)
		return respond_metrics(connection, &view);
	return view.accepting
		       ? respond_text(connection, MHD_HTTP_OK, "accepting\n")
		       : respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not accepting\n");
}

/* ---- connections ---- */

static void on_connection(void *data, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct metrics *metrics = data;
	struct place *place = *socket_context;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (place) {
			place->number = 0;
			metrics->n_taken--;
		}
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++) {
		place = &metrics->places[i];
		if (place->number > 0)
			continue;
		*place = (struct place){++metrics->numbered, info->connect_fd,
					uv_now(metrics->loop)};
		*socket_context = place;
		metrics->n_taken++;
		return;
	}
}

/* Makes libmicrohttpd see the end of input and close the connection. */
static void place_end(const struct place *place)
{
	shutdown(place->fd, SHUT_RDWR);
}

/*
 * Closes connections whose deadline has passed. Returns the milliseconds until the next deadline,
 * or UINT64_MAX.
 */
static uint64_t expire(struct metrics *metrics)
{
	uint64_t now_ms = uv_now(metrics->loop), next_ms = UINT64_MAX;

	for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++) {
		const struct place *place = &metrics->places[i];
		uint64_t age_ms = now_ms - place->since_ms;

		if (place->number == 0)
			continue;
		if (age_ms >= DEADLINE_MS)
			place_end(place);
		else if (DEADLINE_MS - age_ms < next_ms)
			next_ms = DEADLINE_MS - age_ms;
	}
	return next_ms;
}

/* Frees a place: closes the oldest connection unless another one has ended by itself. */
static void make_room(struct metrics *metrics)
{
	const struct place *oldest = NULL;

	MHD_run(metrics->http); /* first answers every request that has arrived */
	if (metrics->n_taken < METRICS_CONNECTIONS_MAX)
		return;
	for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		if (!oldest || metrics->places[i].number < oldest->number)
			oldest = &metrics->places[i];
	place_end(oldest);
	MHD_run(metrics->http);
}

/* ---- the loop ---- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_timer(uv_timer_t *timer);

static void accept_pause(struct metrics *metrics)
{
	metrics->accept_again_ms = uv_now(metrics->loop) + ACCEPT_PAUSE_MS;
	for (struct endpoint *e = metrics->endpoints; e; e = e->next)
		uv_poll_stop(&e->poll);
}

static void accept_resume(struct metrics *metrics)
{
	metrics->accept_again_ms = 0;
	for (struct endpoint *e = metrics->endpoints; e; e = e->next)
		uv_poll_start(&e->poll, UV_READABLE, on_acceptable);
}

/* Runs libmicrohttpd and schedules the next run. */
static void run(struct metrics *metrics)
{
	uint64_t next_ms, now_ms = uv_now(metrics->loop);
	MHD_UNSIGNED_LONG_LONG wanted_ms;

	next_ms = expire(metrics);
	MHD_run(metrics->http);
	if (MHD_get_timeout(metrics->http, &wanted_ms) && wanted_ms < next_ms)
		next_ms = wanted_ms;
	if (metrics->accept_again_ms > now_ms && metrics->accept_again_ms - now_ms < next_ms)
		next_ms = metrics->accept_again_ms - now_ms;
	else if (metrics->accept_again_ms > 0 && metrics->accept_again_ms <= now_ms)
		accept_resume(metrics);
	if (next_ms == UINT64_MAX)
		uv_timer_stop(&metrics->timer);
	else
		uv_timer_start(&metrics->timer, on_timer, next_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_http(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct endpoint *endpoint = poll->data;
	struct metrics *metrics = endpoint->metrics;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage address;
		socklen_t length = sizeof(address);
		int fd = accept4(endpoint->fd, (struct sockaddr *)&address, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				accept_pause(metrics);
			break;
		}
		if (metrics->n_taken == METRICS_CONNECTIONS_MAX)
			make_room(metrics);
		/* takes fd, even on failure */
		MHD_add_connection(metrics->http, fd, (struct sockaddr *)&address, length);
	}
	run(metrics);
}

/* ---- listening ---- */

/* Returns the link to the endpoint of @fd, or the one at the end of the list. */
static struct endpoint **find_endpoint(struct metrics *metrics, int fd)
{
	struct endpoint **link = &metrics->endpoints;

	while (*link && (*link)->fd != fd)
		link = &(*link)->next;
	return link;
}

int metrics_listen(struct metrics *metrics, int fd)
{
	struct endpoint *endpoint;
	int r;

	if (*find_endpoint(metrics, fd))
		return 0;
	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;
	endpoint->metrics = metrics;
	endpoint->fd = fd;
	r = uv_poll_init(metrics->loop, &endpoint->poll, fd);
	if (r < 0) {
		free(endpoint);
		return r;
	}
	endpoint->poll.data = endpoint;
	if (metrics->accept_again_ms == 0)
		uv_poll_start(&endpoint->poll, UV_READABLE, on_acceptable);
	endpoint->next = metrics->endpoints;
	metrics->endpoints = endpoint;
	return 0;
}

static void on_endpoint_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void metrics_unlisten(struct metrics *metrics, int fd)
{
	struct endpoint **link = find_endpoint(metrics, fd), *endpoint = *link;

	if (!endpoint)
		return;
	*link = endpoint->next;
	uv_close((uv_handle_t *)&endpoint->poll, on_endpoint_closed);
}

/* ---- life cycle ---- */

static struct MHD_Daemon *http_start(struct metrics *metrics)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request,
				metrics, MHD_OPTION_CONNECTION_LIMIT, METRICS_CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_NOTIFY_CONNECTION,
				on_connection, metrics, MHD_OPTION_END);
}

int metrics_create(uv_loop_t *loop, void (*look)(void *data, struct metrics_view *ret_view),
		   void *data, struct metrics **ret_metrics)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	const union MHD_DaemonInfo *info;
	int r = -ENOMEM;

	if (!metrics)
		return r;
	metrics->loop = loop;
	metrics->look = look;
	metrics->data = data;
	metrics->http = http_start(metrics);
	if (!metrics->http)
		goto fail;
	info = MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_EPOLL_FD);
	r = info ? uv_poll_init(loop, &metrics->poll, info->epoll_fd) : -ENOSYS;
	if (r < 0)
		goto fail;
	metrics->poll.data = metrics;
	uv_poll_start(&metrics->poll, UV_READABLE, on_http);
	uv_timer_init(loop, &metrics->timer);
	metrics->timer.data = metrics;
	*ret_metrics = metrics;
	return 0;

fail:
	if (metrics->http)
		MHD_stop_daemon(metrics->http);
	free(metrics);
	return r;
}

void metrics_destroy(struct metrics *metrics)
{
	if (!metrics)
		return;
	while (metrics->endpoints) {
		struct endpoint *next = metrics->endpoints->next;

		free(metrics->endpoints);
		metrics->endpoints = next;
	}
	MHD_stop_daemon(metrics->http);
	free(metrics);
}
