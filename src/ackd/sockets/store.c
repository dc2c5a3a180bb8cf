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

/*
 * Removes all descriptors named @name from the store, and marks those of @bindings as not stored.
 */
static void forget_name(const char *name, struct binding *bindings)
{
	systemd_store_remove(name);
	for (struct binding *b = bindings; b; b = b->next) {
		if (b->stored_as && strcmp(b->stored_as, name) == 0) {
			free(b->stored_as);
			b->stored_as = NULL;
		}
	}
}

/*
 * Returns the name for @binding in the store (free), or NULL when out of memory. The name is PREFIX
 * LISTENER. For a UNIX socket "/DEVICE-INODE" of its file (hexadecimal) follows, because the socket
 * itself does not provide it.
 */
static char *stored_name(const struct binding *binding)
{
	char *name;
	int r;

	if (binding->file.inode)
		r = asprintf(&name, PREFIX "%s/%jx-%jx", binding->listener,
			     (uintmax_t)binding->file.device, (uintmax_t)binding->file.inode);
	else
		r = asprintf(&name, PREFIX "%s", binding->listener);
	return r < 0 ? NULL : name;
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
 * Creates a binding of @fd from its name, the inverse of stored_name(). Returns the same as
 * binding_readopt().
 */
static int readopt(const struct systemd_fd *fd, struct binding **bindings)
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
	return binding_readopt(listener, fd->name, file, fd->fd, bindings);
}

struct binding *store_take(struct systemd_fd *fds, size_t n)
{
	struct binding *bindings = NULL;

	for (size_t i = 0; i < n; i++) {
		int r = readopt(&fds[i], &bindings);

		fds[i].fd = r; /* negative: unusable */
		if (r < 0)
			log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, NULL,
				    "a listening socket from the store (%s) is not usable: %s",
				    fds[i].name, uv_strerror(r));
	}
	for (size_t i = 0; i < n; i++) {
		if (fds[i].fd < 0)
			forget_name(fds[i].name, bindings);
		free(fds[i].name);
	}
	return bindings;
}

static bool is_wanted(const struct binding *binding, const struct setup *setup)
{
	for (size_t i = 0; i < setup->config->n_listeners; i++)
		for (size_t a = 0; a < setup->resolved[i].n; a++)
			if (setup_matches(binding, &setup->resolved[i].addresses[a],
					  setup->resolved[i].lengths[a],
					  setup->config->listeners[i].name))
				return true;
	return false;
}

void store_drop(struct binding **bindings, const struct setup *setup)
{
	struct binding **link = bindings;
	bool dropped = false;

	while (*link) {
		struct binding *b = *link;

		if (is_wanted(b, setup) ||
		    (setup_successor(setup, b) < setup->config->n_listeners && binding_is_own(b))) {
			link = &b->next;
			continue;
		}
		*link = b->next;
		store_forget(b, *bindings);
		binding_destroy(b);
		dropped = true;
	}
	if (dropped) /* the manager closes its copies when it handles the removal */
		systemd_barrier();
}

void store_forget(struct binding *binding, struct binding *others)
{
	char *name = binding->stored_as;

	if (!name)
		return;
	binding->stored_as = NULL;
	forget_name(name, others);
	free(name);
}

/* Returns whether the service manager has passed sockets for @listener. */
static bool is_passed(const struct binding *bindings, const char *listener)
{
	for (; bindings; bindings = bindings->next)
		if (bindings->passed && strcmp(bindings->listener, listener) == 0)
			return true;
	return false;
}

static unsigned count_stored(const struct binding *bindings)
{
	unsigned n = 0;

	for (; bindings; bindings = bindings->next)
		n += bindings->stored_as ? bindings->n_fds : 0;
	return n;
}

unsigned store_share(const struct setup *setup, const struct binding *bindings, unsigned n_handed,
		     unsigned max)
{
	unsigned n_tcp = 0, n_others = RESERVED;
	unsigned room = count_stored(bindings) + n_handed, wanted;

	for (size_t i = 0; i < setup->config->n_listeners; i++)
		if (!is_passed(bindings, setup->config->listeners[i].name))
			*(setup->config->listeners[i].path ? &n_others : &n_tcp) +=
				(unsigned)setup->resolved[i].n;
	wanted = n_others + n_tcp * max;
	if (room < wanted && wanted > RESERVED)
		room += systemd_store_room(wanted - room, room);
	if (room == 0 || n_tcp == 0)
		return max;
	room = room > n_others + n_tcp ? (room - n_others) / n_tcp : 1;
	return room < max ? room : max;
}

/* Returns whether @binding is stored under the name of its listener. */
static bool is_named_right(const struct binding *binding)
{
	const char *name = binding->stored_as + strlen(PREFIX);
	size_t n = strlen(binding->listener);

	return strncmp(name, binding->listener, n) == 0 && (!name[n] || name[n] == '/');
}

/* Reports that a restart closes @binding. */
static void report_not_stored(const struct binding *binding, const char *why)
{
	struct log_fields fields = {.listener = binding->listener, .reason = why};

	log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, &fields,
		    "%s: a restart closes the listening sockets: %s", binding->listener, why);
}

/* Stores @binding, one of @bindings. */
static void store_add(struct binding *binding, struct binding *bindings)
{
	char *name = stored_name(binding);
	int r = name ? systemd_store_add(name, binding->fds, binding->n_fds) : -ENOMEM;

	if (r == 0) {
		binding->stored_as = name;
		return;
	}
	if (name)
		forget_name(name, bindings); /* some of them may have been stored */
	free(name);
	report_not_stored(binding, strerror(-r));
}

void store_sync(struct binding *bindings, const struct binding *unwanted)
{
	unsigned n = 0, room;

	if (!systemd_has_store())
		return;
	for (struct binding *b = bindings; b; b = b->next)
		if (b->stored_as && !is_named_right(b))
			store_forget(b, bindings);
	for (struct binding *b = bindings; b; b = b->next)
		n += b->passed || b->stored_as ? 0 : b->n_fds;
	if (n == 0)
		return;
	room = systemd_store_room(n + RESERVED, count_stored(bindings) + count_stored(unwanted));
	for (struct binding *b = bindings; b; b = b->next) {
		if (b->passed || b->stored_as)
			continue;
		if (b->n_fds + RESERVED <= room) {
			room -= b->n_fds;
			store_add(b, bindings);
		} else if (!unwanted) {
			report_not_stored(b, "the service manager's store has no room for them "
					     "(FileDescriptorStoreMax= of the unit)");
		}
	}
}

size_t store_lacks(const struct binding *bindings, int *fds)
{
	size_t n = 0;

	for (; bindings; bindings = bindings->next)
		for (unsigned i = 0;
		     i < bindings->n_fds && !bindings->passed && !bindings->stored_as; i++, n++)
			if (fds)
				fds[n] = bindings->fds[i];
	return n;
}
