#pragma once

/*
 * Keeps listening sockets in the service manager's store from READY on. They survive a restart or a
 * crash, so a client that connects meanwhile waits instead of being refused. Sockets passed by
 * socket activation belong to the service manager and are never stored.
 */

#include "ackd/sockets/binding.h"
#include "ackd/sockets/setup.h"

/* Returns whether @fd is a listening socket stored by ackd. */
bool store_is_socket(const struct systemd_fd *fd);

/*
 * Creates bindings from the @n stored sockets @fds, which are consumed. Unusable sockets are closed
 * and removed from the store. Returns the list.
 */
struct binding *store_take(struct systemd_fd *fds, size_t n);

/*
 * At start, closes stored bindings in *@bindings that @setup does not need, if no listener succeeds
 * them or if they would prevent binding. May block.
 */
void store_drop(struct binding **bindings, const struct setup *setup);

/*
 * Returns how many sockets each TCP address of @setup gets: at least one, at most @max, so that the
 * sockets of all listeners fit into the store in addition to a hand-over. Returns @max without a
 * store. The store already contains the stored sockets of @bindings and @n_handed other
 * descriptors. May block.
 */
unsigned store_share(const struct setup *setup, const struct binding *bindings, unsigned n_handed,
		     unsigned max);

/*
 * Stores the bindings in @bindings that are not in the store yet, as far as there is room, and
 * renames those stored under the name of another listener. Reports the ones that it could not
 * store. Sockets in @unwanted still occupy the store; while there are any, lack of room is not
 * reported. Does nothing without a store. May block.
 */
void store_sync(struct binding *bindings, const struct binding *unwanted);

/*
 * Returns how many sockets of @bindings are closed with this process, because neither the store nor
 * a socket unit keeps them. Writes them to @fds unless that is NULL.
 */
size_t store_lacks(const struct binding *bindings, int *fds);

/*
 * Removes @binding, which is about to be destroyed, from the store. @others: the remaining
 * bindings.
 */
void store_forget(struct binding *binding, struct binding *others);
