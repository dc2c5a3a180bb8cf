#pragma once

/*
 * Keeps listening sockets in the service manager's store from READY on. They survive a restart or a
 * crash, so a client that connects meanwhile waits instead of being refused. Sockets passed by
 * socket activation belong to the service manager and are never stored, nor are those of the
 * metrics.
 *
 * The endpoints are all those of the server. Without a store these functions do nothing.
 */

#include "ackd/sockets/candidate.h"
#include "ackd/sockets/endpoint.h"
#include "ackd/systemd/systemd.h"

/* Returns whether @fd is a listening socket stored by ackd. */
bool store_is_socket(const struct systemd_fd *fd);

/*
 * Adds the @n stored sockets @fds to @endpoints. Takes the descriptors and their names, but not the
 * array. Unusable sockets are closed and removed from the store.
 */
void store_take(struct systemd_fd *fds, size_t n, struct list *endpoints);

/*
 * Returns how many sockets each TCP address of @candidate gets: at least one, at most @max, so that
 * the sockets of all listeners fit into the store in addition to a hand-over. Returns @max without
 * a store. The store already contains the stored sockets of @endpoints and @n_handed other
 * descriptors. May block.
 */
unsigned store_share(const struct candidate *candidate, const struct list *endpoints,
		     unsigned n_handed, unsigned max);

/*
 * Stores the active endpoints that are not in the store yet, as far as there is room, and renames
 * those stored under the name of another listener. Reports the ones that it could not store. While
 * retired endpoints occupy the store, lack of room is not reported. May block.
 */
void store_sync(struct list *endpoints);

/*
 * Returns how many sockets of listeners are closed with this process, because neither the store nor
 * a socket unit keeps them. Writes them to @fds unless that is NULL.
 */
size_t store_lacks(const struct list *endpoints, int *fds);

/* Removes @endpoint from the store. Others of the same name stay there. */
void store_forget(struct endpoint *endpoint, struct list *endpoints);

/* Removes all @endpoints from the store. */
void store_clear(struct list *endpoints);
