#include "ackd/store.h"

#include "ackd/log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define PREFIX "ackd-listen."

/* Room in the store that a hand-over needs. */
#define RESERVED 2

#define BARRIER_US (UINT64_C(5) * 1000 * 1000)

bool store_is_socket(const struct systemd_fd *fd)
{
	return strncmp(fd->name, PREFIX, strlen(PREFIX)) == 0;
}

/* Removes from the store all that have the @name: what stays of @bindings is to be stored again. */
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
 * Returns the name for @binding in the store, allocated: PREFIX LISTENER, for a UNIX socket with
 * "/DEVICE-INODE" of its file (hexadecimal), which the socket itself does not tell. NULL: out of
 * memory.
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

/* The opposite of stored_name(): makes a binding of @fd. Returns as binding_readopt() does. */
static int readopt(const struct systemd_fd *fd, struct binding **bindings)
{
	char listener[TEMPLATE_LISTENER_MAX + 1];
	const char *name = fd->name + strlen(PREFIX);
	size_t n = strcspn(name, "/");
	uintmax_t device = 0, inode = 0;

	if (n >= sizeof(listener) ||
	    (name[n] && sscanf(name + n, "/%jx-%jx", &device, &inode) != 2)) {
		close(fd->fd);
		return -EINVAL;
	}
	memcpy(listener, name, n);
	listener[n] = '\0';
	return binding_readopt(listener, fd->name, (struct file_id){(dev_t)device, (ino_t)inode},
			       fd->fd, bindings);
}

struct binding *store_take(struct systemd_fd *fds, size_t n)
{
	struct binding *bindings = NULL;

	for (size_t i = 0; i < n; i++) {
		int r = readopt(&fds[i], &bindings);

		fds[i].fd = r; /* negative: of no use */
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
	if (dropped) /* the manager has them, too, until it has handled this */
		systemd_barrier(BARRIER_US);
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

unsigned store_share(const struct setup *setup, unsigned max)
{
	unsigned room = systemd_store_max();
	unsigned n_tcp = 0, n_others = RESERVED;

	for (size_t i = 0; i < setup->config->n_listeners; i++)
		*(setup->config->listeners[i].path ? &n_others : &n_tcp) +=
			(unsigned)setup->resolved[i].n;
	if (room == 0 || n_tcp == 0)
		return max;
	room = room > n_others + n_tcp ? (room - n_others) / n_tcp : 1;
	return room < max ? room : max;
}

/* Whether @binding is in the store under the name of its listener. */
static bool is_named_right(const struct binding *binding)
{
	const char *name = binding->stored_as + strlen(PREFIX);
	size_t n = strlen(binding->listener);

	return strncmp(name, binding->listener, n) == 0 && (!name[n] || name[n] == '/');
}

static void store_add(struct binding *binding)
{
	char *name = stored_name(binding);

	if (name && systemd_store_add(name, binding->fds, binding->n_fds) == 0)
		binding->stored_as = name;
	else
		free(name);
}

void store_sync(struct binding *bindings, const struct binding *unwanted)
{
	unsigned max = systemd_store_max();
	unsigned n = RESERVED;

	if (max == 0)
		return;
	for (const struct binding *b = unwanted; b; b = b->next)
		n += b->stored_as ? b->n_fds : 0;
	for (struct binding *b = bindings; b; b = b->next)
		if (b->stored_as && !is_named_right(b))
			store_forget(b, bindings);
	for (struct binding *b = bindings; b; b = b->next) {
		if (b->passed)
			continue;
		n += b->n_fds;
		if (n > max && unwanted)
			return;
		if (n > max) {
			log_post_at(LOG_LEVEL_NOTICE, LOG_LISTEN, NULL,
				    "%s: not all listening sockets fit into the service manager's "
				    "store (FileDescriptorStoreMax=%u): a restart closes this one",
				    b->listener, max);
			return;
		}
		if (!b->stored_as)
			store_add(b);
	}
}
