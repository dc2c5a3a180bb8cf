/* Socket activation: assigns passed sockets to listeners. */

#include "ackd/log/log.h"
#include "ackd/sockets/socket_set.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

/* The most listener names that an error shows, to fit a log line. */
#define NAMES_SHOWN_MAX 4

static bool is_named(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && strcmp(name, "unknown") != 0 &&
	       !(n >= 7 && strcmp(name + n - 7, ".socket") == 0);
}

/*
 * Returns the name of the listener for the sockets named @name. All sockets of one name belong to
 * the same listener.
 */
static const char *listener_for(const struct config *config, const char *name,
				const struct list *endpoints)
{
	size_t named = config_find_listener(config, name);

	if (named < config->n_listeners)
		return config->listeners[named].name;
	for (size_t i = 0; !is_named(name) && i < config->n_listeners; i++)
		if (!endpoint_find_passed(endpoints, config->listeners[i].name))
			return config->listeners[i].name;
	return NULL;
}

static void notice_passed(const struct config *config, const struct endpoint *endpoint)
{
	const struct config_listener *l =
		config_user(config, config_find_listener(config, endpoint->listener));
	char configured[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = endpoint->listener,
		.address = sockaddr_format((const struct sockaddr *)&endpoint->bound, text),
	};

	if (l->path)
		snprintf(configured, sizeof(configured), "unix:%.100s", l->path);
	else
		snprintf(configured, sizeof(configured), "%.100s port %u", l->address, l->port);
	log_post_at(LOG_LEVEL_NOTICE, LOG_LISTEN, &fields,
		    "%s: the service manager's socket %s replaces the configured %s",
		    endpoint->listener, text, configured);
}

static int adopt_named(const struct config *config, struct systemd_fd *fds, size_t n,
		       const char *listener, const char *name, FILE *errors, struct list *endpoints)
{
	for (size_t i = 0; i < n; i++) {
		struct endpoint *endpoint;
		int r;

		if (fds[i].fd < 0 || strcmp(fds[i].name, name) != 0)
			continue;
		r = endpoint_adopt(listener, fds[i].fd, endpoints, &endpoint);
		fds[i].fd = -1;
		if (r < 0) {
			fprintf(errors, "the service manager passed a socket named \"%s\": %s\n",
				name,
				r == -EINVAL ? "it is not a listening TCP or UNIX stream socket; "
					       "set ListenStream= in its socket unit"
					     : uv_strerror(r));
			return r;
		}
		notice_passed(config, endpoint);
	}
	return 0;
}

/* Reports that the socket named @name belongs to no listener, and how to assign it to one. */
static void report_unassigned(const struct config *config, const char *name, FILE *errors)
{
	fprintf(errors,
		"the service manager passed a socket named \"%s\", but %s; set "
		"FileDescriptorName= in its socket unit to the name of a listener:",
		name, is_named(name) ? "no listener has that name" : "every listener has a socket");
	for (size_t i = 0; i < config->n_listeners && i < NAMES_SHOWN_MAX; i++)
		fprintf(errors, "%s \"%s\"", i > 0 ? "," : "", config->listeners[i].name);
	fputs(config->n_listeners > NAMES_SHOWN_MAX ? ", ...\n" : "\n", errors);
}

int socket_set_adopt(struct socket_set *set, const struct config *config, struct systemd_fd *fds,
		     size_t n, FILE *errors)
{
	int r = 0;

	/* first the sockets that name their listener, then the others */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n && r == 0; i++) {
			const char *listener;

			if (fds[i].fd < 0 || (pass == 0 && !is_named(fds[i].name)))
				continue;
			listener = listener_for(config, fds[i].name, &set->endpoints);
			if (listener) {
				r = adopt_named(config, fds, n, listener, fds[i].name, errors,
						&set->endpoints);
			} else {
				report_unassigned(config, fds[i].name, errors);
				r = -EINVAL;
			}
		}
	}
	systemd_fds_finish(fds, n);
	return r;
}
