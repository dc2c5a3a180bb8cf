/*
 * Hands over from one process to the next, on top of handover/handover.c and sockets/store.c. The
 * workers hand over one after another, because there is one queue of descriptors. The listening
 * sockets are already in the store; clients that connect meanwhile wait there.
 */

#include "ackd/server/internal.h"

#include "ackd/sockets/store.h"
#include "base/plural.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns a description of @error, a negative errno. uv_strerror() does not support all values. */
static const char *error_text(int error)
{
	return strerror(-error);
}

/* ---- to the next process ---- */

/* Lists the listening sockets that are closed with this process. Returns 0 or -ENOMEM. */
static int list_closing(const struct server *server, struct handover *handover)
{
	size_t n = store_lacks(&server->sockets.endpoints, NULL);

	if (n == 0)
		return 0;
	handover->closing = calloc(n, sizeof(int));
	if (!handover->closing)
		return -ENOMEM;
	handover->n_closing = store_lacks(&server->sockets.endpoints, handover->closing);
	return 0;
}

/*
 * Stores the queue and begins the hand-over. Returns 0, or a negative errno with nothing changed.
 */
static int begin_handover(struct server *server)
{
	int writing, reading;
	int r = handover_queue(&writing, &reading);

	if (r < 0)
		return r;
	r = handover_store(writing, reading);
	if (r < 0) {
		close(writing);
		return r;
	}
	handover_init(&server->handover, writing, &server->limits, server->n_workers);
	r = list_closing(server, &server->handover);
	if (r < 0)
		handover_cancel(&server->handover);
	return r;
}

int server_hand_over(struct server *server)
{
	int r = begin_handover(server);

	if (r < 0) {
		log_post_at(LOG_LEVEL_WARNING, LOG_HANDOVER, NULL,
			    "draining connections instead of handing them over: %s",
			    r == -ENOSPC ? "the service manager's store has no room "
					   "(FileDescriptorStoreMax= of the unit)"
					 : error_text(r));
		return r;
	}
	states_move(server_states, &server->state, SERVER_HANDING_OVER);
	log_notify("STOPPING=1");
	server->handing_over = 0;
	worker_hand_over(&server->workers[0], &server->handover);
	return 0;
}

/* Writes the names of all counters to @out. Returns their length. */
static uint32_t counter_names(char out[COUNTER_COUNT * STATS_NAME_MAX])
{
	size_t length = 0;

	for (unsigned c = 0; c < COUNTER_COUNT; c++)
		length += strlen(stats_counter_name(c, out + length)) + 1;
	return (uint32_t)length;
}

/*
 * Adds the counters and completes the hand-over. Running out of room for counters is not an error.
 * Returns the result of handover_complete().
 */
static int complete_with_counters(struct handover *handover)
{
	char names[COUNTER_COUNT * STATS_NAME_MAX];
	const struct stats_entry *entry = NULL;

	handover_name_counters(handover, names, counter_names(names), COUNTER_COUNT);
	do { /* first the sum of dropped listeners, which has no name */
		struct stats stats = stats_read(entry);

		if (handover_add_counters(handover, entry ? stats_name(entry) : "", stats.values) <
		    0)
			break;
	} while ((entry = stats_next(entry)));
	return handover_complete(handover);
}

/* Completes the hand-over after all workers have handed over their connections. */
static void all_handed_over(struct server *server)
{
	struct handover *handover = &server->handover;
	int r = complete_with_counters(handover);

	if (r < 0)
		log_post_at(LOG_LEVEL_ERROR, LOG_HANDOVER, NULL,
			    "%" PRIu64 " connection%s lost: %s", handover->n_handed_over,
			    plural(handover->n_handed_over),
			    r == -EPIPE ? "the service manager has dropped the hand-over"
					: error_text(r));
	else
		log_post(LOG_HANDOVER, NULL, "handed over %" PRIu64 " connection%s",
			 handover->n_handed_over, plural(handover->n_handed_over));
	if (handover->n_lost > 0)
		log_post_at(LOG_LEVEL_ERROR, LOG_HANDOVER, NULL,
			    "%" PRIu64 " connection%s lost, because there was no room: %s",
			    handover->n_lost, plural(handover->n_lost),
			    handover->error == -ENOBUFS ? "limits.max_memory is too small"
							: error_text(handover->error));
	handover_finish(handover);
}

void server_hand_over_next(struct server *server)
{
	while (server->state == SERVER_HANDING_OVER && server->handing_over < server->n_workers &&
	       worker_is_in(&server->workers[server->handing_over], WORKER_LEAVES)) {
		if (++server->handing_over < server->n_workers)
			worker_hand_over(&server->workers[server->handing_over], &server->handover);
		else
			all_handed_over(server);
	}
}

/* ---- from the previous process ---- */

/* Returns whether @fd is a connected stream socket. */
static bool is_connection(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	int type = 0;
	socklen_t size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

struct failure server_take_passed(struct server *server, FILE *errors)
{
	int n = systemd_listen_fds(&server->passed);

	if (n < 0) {
		fprintf(errors, "cannot take the descriptors of the service manager%s: %s\n",
			n == -ENOMEM ? "" : " ($LISTEN_FDS, $LISTEN_FDNAMES)", uv_strerror(n));
		return (struct failure){FAILURE_OS, n};
	}
	server->n_passed = (size_t)n;
	for (size_t i = 0; i < server->n_passed; i++) {
		const struct systemd_fd *fd = &server->passed[i];

		if (takeover_is_part(fd) || store_is_socket(fd) || !is_connection(fd->fd))
			continue;
		fputs("the service manager passed a connection instead of a listening socket; set "
		      "Accept=no in the socket unit: ackd accepts connections itself\n",
		      errors);
		return (struct failure){FAILURE_CONFIG, -EINVAL};
	}
	return (struct failure){FAILURE_NONE, 0};
}

void server_close_passed(struct server *server)
{
	systemd_fds_finish(server->passed, server->n_passed);
	free(server->passed);
	systemd_fds_finish(server->handed, server->n_handed);
	free(server->handed);
}

int server_adopt(struct server *server, FILE *errors)
{
	struct systemd_fd *fds = server->passed, *handed, *stored;
	size_t n = server->n_passed, n_stored = 0, n_others = 0;
	int r;

	if (n == 0)
		return 0;
	handed = calloc(2 * n, sizeof(*fds));
	if (!handed)
		return -ENOMEM;
	stored = handed + n;
	for (size_t i = 0; i < n; i++) {
		if (takeover_is_part(&fds[i]))
			handed[server->n_handed++] = fds[i];
		else if (store_is_socket(&fds[i]))
			stored[n_stored++] = fds[i];
		else
			fds[n_others++] = fds[i];
	}
	server->passed = NULL;
	server->n_passed = 0;
	server->handed = handed;
	store_take(stored, n_stored, &server->sockets.endpoints);
	r = socket_set_adopt(&server->sockets, server->config, fds, n_others, errors);
	free(fds);
	return r;
}

static const char *state_error_text(int error)
{
	return error == -EBADMSG  ? "their state is damaged"
	       : error == -EPROTO ? "their state is of another version"
				  : error_text(error);
}

/* Reports the unusable parts of @takeover, and closes the connections without a descriptor. */
static void report_losses(struct takeover *takeover, uint64_t room)
{
	struct takeover_connection connection;

	if (takeover->n_lost > 0)
		log_post_at(LOG_LEVEL_ERROR, LOG_RESTORE, NULL,
			    "%" PRIu64 " handed-over connection%s lost: %s", takeover->n_lost,
			    plural(takeover->n_lost), state_error_text(takeover->error));
	if (takeover->state == TAKEOVER_CUT)
		log_post_at(LOG_LEVEL_ERROR, LOG_RESTORE, NULL,
			    "the end of the state that was handed over is missing: connections may "
			    "be lost, and counters start at zero");
	if (takeover->n_without_fd > 0)
		log_post_at(LOG_LEVEL_ERROR, LOG_RESTORE, NULL,
			    "%zu of %zu connection%s closed: the descriptor limit (LimitNOFILE=, "
			    "ulimit -n) has room for %" PRIu64,
			    takeover->n_without_fd, takeover->n, plural(takeover->n), room);
	while (takeover_drop(takeover, &connection)) {
		struct state_connection state = state_read(connection.connection);

		server_count_lost(&state, "the descriptor limit leaves no room for it");
		takeover_release(&connection);
	}
}

/*
 * Removes the hand-over from the store, and waits until the service manager has done so, however
 * long it takes: a state that crashes the process would otherwise return on every start. A signal
 * ends the wait, because it also ends the daemon. Returns 0 or a negative errno.
 */
static int withdraw(struct server *server)
{
	int r = takeover_withdraw();

	while (r == -ETIMEDOUT) {
		uv_run(&server->loop, UV_RUN_NOWAIT);
		if (server->end_signal || server->state != SERVER_STARTING)
			return 0;
		log_post_at(LOG_LEVEL_WARNING, LOG_RESTORE, NULL,
			    "waiting for the service manager, which does not answer");
		r = systemd_barrier();
	}
	/*
	 * Linux lets a user without privileges pass no more descriptors while as many as its limit
	 * are queued, as after this limit was lowered. The wait would pass one. Without it, the
	 * service manager still reads the removal before it sees this process end.
	 */
	return r == -ETOOMANYREFS ? 0 : r;
}

/* Counters that only the other version has are dropped, and those it does not have begin at 0. */
static void restore_counters(struct takeover *takeover)
{
	struct state_counters counters;
	int64_t places[COUNTER_COUNT];
	char name[STATS_NAME_MAX];

	for (unsigned c = 0; c < COUNTER_COUNT; c++)
		places[c] = state_find_counter(&takeover->counters, stats_counter_name(c, name));
	while (state_next_counters(&takeover->counters, &counters)) {
		struct stats stats;

		for (unsigned c = 0; c < COUNTER_COUNT; c++)
			stats.values[c] = state_counter(&counters, places[c]);
		if (stats_carry(counters.listener, &stats) < 0)
			return; /* the others are dropped when memory runs out */
	}
}

void server_take_over(struct server *server)
{
	struct takeover *takeover = &server->takeover;
	uint64_t room = server_descriptor_room(server);
	size_t n;
	int r;

	if (server->n_handed == 0)
		return;
	r = withdraw(server);
	r = takeover_init(server->handed, server->n_handed, r, room, takeover);
	server->n_handed = 0;
	if (r < 0) {
		log_post_at(LOG_LEVEL_ERROR, LOG_RESTORE, NULL,
			    "the connections that were handed over are lost: %s",
			    state_error_text(r));
		return;
	}
	atomic_store(&server->limits.numbered, takeover->numbered);
	restore_counters(takeover);
	n = takeover->n - takeover->n_without_fd;
	log_post(LOG_RESTORE, NULL, "taking over %zu connection%s", n, plural(n));
	report_losses(takeover, room);
}
