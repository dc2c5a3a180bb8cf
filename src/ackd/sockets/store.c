#include "ackd/sockets/store.h"

#include "ackd/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define PREFIX "ackd-listen."

/* Descriptors that a hand-over needs in the store. */
#define RESERVED 1

bool store_is_socket(const struct systemd_fd *fd)
{
	return strncmp(fd->name, PREFIX, strlen(PREFIX)) == 0;
}

/* ---- names ---- */

/*
 * Returns the name for @endpoint in the store (free), or NULL when out of memory. The name is
 * PREFIX LISTENER. For a UNIX socket "/DEVICE-INODE" of its file (hexadecimal) follows, because the
 * socket itself does not provide it.
 */
static char *stored_name(const struct endpoint *endpoint)
{
	char *name;
	int r;

	if (endpoint->file.inode)
		r = asprintf(&name, PREFIX "%s/%jx-%jx", endpoint->listener,
			     (uintmax_t)endpoint->file.device, (uintmax_t)endpoint->file.inode);
	else
		r = asprintf(&name, PREFIX "%s", endpoint->listener);
	return r < 0 ? NULL : name;
}

/* Returns whether @endpoint is stored under the name of its listener. */
static bool is_named_right(const struct endpoint *endpoint)
{
	const char *name = endpoint->stored_as + strlen(PREFIX);
	size_t n = strlen(endpoint->listener);

	return strncmp(name, endpoint->listener, n) == 0 && (!name[n] || name[n] == '/');
}

/* Parses the rest of the name after the listener: empty or "/DEVICE-INODE". */
static bool parse_file(const char *text, struct file_id *ret_file)
{
	char *end;

	*ret_file = (struct file_id){0};
	if (*text == '\0')
		return true;
	ret_file->device = (dev_t)strtoumax(text + 1, &end, 16);
	if (*end != '-')
		return false;
	ret_file->inode = (ino_t)strtoumax(end + 1, &end, 16);
	return *end == '\0';
}

/*
 * Adds @fd to the endpoint that its name states, the inverse of stored_name(). Returns the same as
 * endpoint_restore().
 */
static int restore(const struct systemd_fd *fd, struct list *endpoints)
{
	char listener[TEMPLATE_LISTENER_MAX + 1];
	const char *name = fd->name + strlen(PREFIX);
	size_t n = strcspn(name, "/");
	struct file_id file;

	if (n >= sizeof(listener) || !parse_file(name + n, &file)) {
		close(fd->fd);
		return -EINVAL;
	}
	memcpy(listener, name, n);
	listener[n] = '\0';
	return endpoint_restore(listener, fd->name, file, fd->fd, endpoints);
}

/* ---- storing ---- */

/* Reports that a restart closes @endpoint. */
static void report_not_stored(const struct endpoint *endpoint, const char *why)
{
	struct log_fields fields = {.listener = endpoint->listener, .reason = why};

	log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, &fields,
		    "%s: a restart closes the listening sockets: %s", endpoint->listener, why);
}

/*
 * Removes everything named @name from the store, and stores those of @endpoints that had that name
 * again.
 */
static void forget_name(const char *name, struct list *endpoints)
{
	struct endpoint *e;

	systemd_store_remove(name);
	list_for_each (e, endpoints, node) {
		int r = 0;

		if (e->stored_as && strcmp(e->stored_as, name) == 0)
			r = systemd_store_add(name, e->fds, e->n_fds);
		if (r < 0) {
			free(e->stored_as);
			e->stored_as = NULL;
			report_not_stored(e, strerror(-r));
		}
	}
}

static void store_add(struct endpoint *endpoint, struct list *endpoints)
{
	char *name = stored_name(endpoint);
	int r = name ? systemd_store_add(name, endpoint->fds, endpoint->n_fds) : -ENOMEM;

	if (r == 0) {
		endpoint->stored_as = name;
		return;
	}
	if (name)
		forget_name(name, endpoints); /* some of them may have been stored */
	free(name);
	report_not_stored(endpoint, strerror(-r));
}

void store_take(struct systemd_fd *fds, size_t n, struct list *endpoints)
{
	for (size_t i = 0; i < n; i++) {
		int r = restore(&fds[i], endpoints);

		fds[i].fd = r; /* negative: unusable */
		if (r < 0)
			log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, NULL,
				    "a listening socket from the store (%s) is not usable: %s",
				    fds[i].name, uv_strerror(r));
	}
	for (size_t i = 0; i < n; i++) {
		if (fds[i].fd < 0)
			forget_name(fds[i].name, endpoints);
		free(fds[i].name);
	}
}

void store_forget(struct endpoint *endpoint, struct list *endpoints)
{
	char *name = endpoint->stored_as;

	if (!name)
		return;
	endpoint->stored_as = NULL;
	forget_name(name, endpoints);
	free(name);
}

void store_clear(struct list *endpoints)
{
	struct endpoint *e;

	list_for_each (e, endpoints, node) {
		if (e->stored_as)
			systemd_store_remove(e->stored_as);
		free(e->stored_as);
		e->stored_as = NULL;
	}
}

/* ---- room ---- */

static unsigned count_stored(const struct list *endpoints)
{
	const struct endpoint *e;
	unsigned n = 0;

	list_for_each (e, endpoints, node)
		n += e->stored_as ? e->n_fds : 0;
	return n;
}

unsigned store_share(const struct candidate *candidate, const struct list *endpoints,
		     unsigned n_handed, unsigned max)
{
	const struct config *config = candidate->config;
	unsigned n_tcp = 0, n_others = RESERVED;
	unsigned room = count_stored(endpoints) + n_handed, wanted;

	for (size_t i = 0; i < config->n_listeners; i++)
		if (!endpoint_find_passed(endpoints, config->listeners[i].name))
			*(config->listeners[i].path ? &n_others : &n_tcp) +=
				(unsigned)candidate->resolved[i].n;
	wanted = n_others + n_tcp * max;
	if (room < wanted && wanted > RESERVED)
		room += systemd_store_room(wanted - room, room);
	if (room == 0 || n_tcp == 0)
		return max;
	room = room > n_others + n_tcp ? (room - n_others) / n_tcp : 1;
	return room < max ? room : max;
}

/* Returns whether @endpoint belongs into the store and is not there. */
static bool is_lacking(const struct endpoint *endpoint)
{
	return endpoint->state == ENDPOINT_ACTIVE && !endpoint->passed && !endpoint->metrics &&
	       !endpoint->stored_as;
}

void store_sync(struct list *endpoints)
{
	unsigned n = 0, room;
	bool room_follows = false; /* when the retired endpoints are closed */
	struct endpoint *e;

	if (!systemd_has_store())
		return;
	list_for_each (e, endpoints, node) {
		if (e->state == ENDPOINT_RETIRED)
			room_follows = true;
		else if (e->stored_as && (e->metrics || !is_named_right(e)))
			store_forget(e, endpoints);
	}
	list_for_each (e, endpoints, node)
		n += is_lacking(e) ? e->n_fds : 0;
	if (n == 0)
		return;
	room = systemd_store_room(n + RESERVED, count_stored(endpoints));
	list_for_each (e, endpoints, node) {
		if (!is_lacking(e))
			continue;
		if (e->n_fds + RESERVED <= room) {
			room -= e->n_fds;
			store_add(e, endpoints);
		} else if (!room_follows) {
			report_not_stored(e, "the service manager's store has no room for them "
					     "(FileDescriptorStoreMax= of the unit)");
		}
	}
}

size_t store_lacks(const struct list *endpoints, int *fds)
{
	const struct endpoint *e;
	size_t n = 0;

	list_for_each (e, endpoints, node) {
		if (e->passed || e->stored_as || e->metrics)
			continue;
		for (unsigned i = 0; i < e->n_fds; i++, n++)
			if (fds)
				fds[n] = e->fds[i];
	}
	return n;
}
