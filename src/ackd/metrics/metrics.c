/*
 * The normal sequence: a listening socket is readable -> accept -> libmicrohttpd reads the request
 * -> on_request() -> libmicrohttpd writes the response and closes.
 *
 * libmicrohttpd has neither a thread nor a listening socket here. It runs when its epoll
 * descriptor, polled by the main loop, has an event. With an internal thread it would be less code,
 * but worse for clients and no simpler in all:
 *
 * - at its connection limit it stops accepting, so that silent clients keep out a health check;
 * - its timeout ends only inactivity, so a client that sends a byte now and then stays;
 * - it takes one listening socket for each thread, and spins when out of descriptors;
 * - the counters and the state of the server would need a lock.
 *
 * Each connection carries one request and has one deadline. If all places are taken, a new
 * connection replaces the oldest one. A client that sends its request without delay is thus served
 * regardless of how many others are silent or slow. An error ends only the connection in which it
 * occurs.
 */

#include "ackd/metrics/metrics.h"

#include "base/list.h"
#include "base/sock.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* The time limit for request and response together. */
#define DEADLINE_MS 10000

/*
 * Newer versions begin a connection only in the next MHD_run(), unless a single thread is promised.
 * It must have its place, and its deadline, as soon as it is accepted.
 */
#if MHD_VERSION >= 0x00097707
#define HTTP_FLAGS (MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_NO_THREAD_SAFETY)
#else
#define HTTP_FLAGS (MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET)
#endif

/* libmicrohttpd's memory for the request line and the headers. */
#define REQUEST_MAX 8192

/* The most connections accepted before control returns to the loop. */
#define ACCEPT_BATCH 16

/* The pause after an accept error. */
#define METRICS_PAUSE_MS 100

struct listening_socket {
	struct list node;
	struct metrics *metrics;
	int fd;
	uv_poll_t poll;
};

/* A place for one connection. */
struct place {
	struct list node; /* in the list of taken places, or in none */
	int fd;		  /* libmicrohttpd's */
	uint64_t since_ms;
};

struct metrics {
	uv_loop_t *loop;
	struct MHD_Daemon *http;
	uv_poll_t poll;		/* libmicrohttpd's epoll descriptor */
	uv_timer_t timer;	/* the earlier of the first deadline and libmicrohttpd's timeout */
	uv_timer_t pause_timer; /* active during the pause after an accept error */
	struct list sockets;
	struct list taken; /* places in order of opening */
	struct place places[METRICS_CONNECTIONS_MAX];
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
	/* libmicrohttpd does not modify the text, and copies it */
	return respond(connection, status, "text/plain; charset=utf-8", (void *)(uintptr_t)text,
		       strlen(text), MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result respond_metrics(struct MHD_Connection *connection, struct metrics_view *view)
{
	char *text;
	size_t length;

	view->process = process_usage();
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
	char text[32];

	if (!is_metrics && strcmp(path, "/healthz") != 0)
		return respond_text(connection, MHD_HTTP_NOT_FOUND,
				    "Not found. The paths are /metrics and /healthz.\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				    "The methods are GET and HEAD.\n");
	metrics->look(metrics->data, &view);
	if (is_metrics)
		return respond_metrics(connection, &view);
	snprintf(text, sizeof(text), "%s\n", view.not_ready ? view.not_ready : "accepting");
	return respond_text(connection, view.not_ready ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK,
			    text);
}

/* ---- connections ---- */

static struct place *find_free_place(struct metrics *metrics)
{
	struct place *place = metrics->places;

	for (; place < metrics->places + METRICS_CONNECTIONS_MAX; place++)
		if (list_is_empty(&place->node))
			return place;
	return NULL;
}

static void on_connection(void *data, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct metrics *metrics = data;
	struct place *place = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		place = find_free_place(metrics);
		if (!place) /* make_room() could not end any: this one has no deadline */
			return;
		place->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
				    ->connect_fd;
		place->since_ms = uv_now(metrics->loop);
		list_append(&metrics->taken, &place->node);
		*socket_context = place;
	} else if (place) {
		list_remove(&place->node);
	}
}

/* Makes libmicrohttpd see the end of input and close the connection. */
static void place_end(const struct place *place)
{
	shutdown(place->fd, SHUT_RDWR);
}

/*
 * Ends connections whose deadline has passed. Returns the milliseconds until the next deadline, or
 * UINT64_MAX.
 */
static uint64_t expire(struct metrics *metrics)
{
	struct place *place;

	list_for_each (place, &metrics->taken, node) {
		uint64_t age_ms = uv_now(metrics->loop) - place->since_ms;

		if (age_ms < DEADLINE_MS)
			return DEADLINE_MS - age_ms;
		place_end(place);
	}
	return UINT64_MAX;
}

/*
 * Leaves a free place: closes the oldest connection if all are taken and none ends by itself when
 * every request that has arrived is answered.
 */
static void make_room(struct metrics *metrics)
{
	for (int i = 0; i < 2 && !find_free_place(metrics); i++) {
		if (i > 0)
			place_end(list_entry(metrics->taken.next, struct place, node));
		MHD_run(metrics->http);
	}
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

/* Runs libmicrohttpd and schedules the next run. */
static void run(struct metrics *metrics)
{
	uint64_t next_ms = expire(metrics);
	MHD_UNSIGNED_LONG_LONG wanted_ms;

	MHD_run(metrics->http);
	if (MHD_get_timeout(metrics->http, &wanted_ms) && wanted_ms < next_ms)
		next_ms = wanted_ms;
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

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_end(uv_timer_t *timer)
{
	struct metrics *metrics = timer->data;
	struct listening_socket *s;

	list_for_each (s, &metrics->sockets, node)
		uv_poll_start(&s->poll, UV_READABLE, on_acceptable);
}

static void pause_accepting(struct metrics *metrics)
{
	struct listening_socket *s;

	list_for_each (s, &metrics->sockets, node)
		uv_poll_stop(&s->poll);
	uv_timer_start(&metrics->pause_timer, on_pause_end, METRICS_PAUSE_MS, 0);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listening_socket *s = poll->data;
	struct metrics *metrics = s->metrics;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage address;
		socklen_t length = sizeof(address);
		int fd = sock_accept(s->fd, (struct sockaddr *)&address, &length);

		if (fd < 0) {
			if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
				pause_accepting(metrics);
			break;
		}
		make_room(metrics);
		/* takes fd, even on failure */
		MHD_add_connection(metrics->http, fd, (struct sockaddr *)&address, length);
	}
	run(metrics);
}

/* ---- listening ---- */

static struct listening_socket *find_socket(struct metrics *metrics, int fd)
{
	struct listening_socket *s;

	list_for_each (s, &metrics->sockets, node)
		if (s->fd == fd)
			return s;
	return NULL;
}

int metrics_listen(struct metrics *metrics, int fd)
{
	struct listening_socket *s;
	int r;

	if (find_socket(metrics, fd))
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = uv_poll_init(metrics->loop, &s->poll, fd);
	if (r < 0) {
		free(s);
		return r;
	}
	s->metrics = metrics;
	s->fd = fd;
	s->poll.data = s;
	list_append(&metrics->sockets, &s->node);
	if (!uv_is_active((uv_handle_t *)&metrics->pause_timer))
		uv_poll_start(&s->poll, UV_READABLE, on_acceptable);
	return 0;
}

static void on_socket_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void metrics_unlisten(struct metrics *metrics, int fd)
{
	struct listening_socket *s = find_socket(metrics, fd);

	if (!s)
		return;
	list_remove(&s->node);
	uv_close((uv_handle_t *)&s->poll, on_socket_closed);
}

/* ---- life cycle ---- */

static struct MHD_Daemon *http_start(struct metrics *metrics)
{
	return MHD_start_daemon(HTTP_FLAGS, 0, NULL, NULL, on_request, metrics,
				MHD_OPTION_CONNECTION_LIMIT, METRICS_CONNECTIONS_MAX,
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
	list_init(&metrics->sockets);
	list_init(&metrics->taken);
	for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		list_init(&metrics->places[i].node);
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
	uv_timer_init(loop, &metrics->pause_timer);
	metrics->pause_timer.data = metrics;
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
	struct listening_socket *s, *after;

	if (!metrics)
		return;
	list_for_each_safe (s, after, &metrics->sockets, node)
		free(s);
	MHD_stop_daemon(metrics->http);
	free(metrics);
}
