#pragma once

/*
 * Listening sockets in the service manager's store, from READY on: so that neither a restart nor a
 * crash closes them, and a client that connects meanwhile waits instead of being refused. Those
 * that were passed by socket activation are the service manager's own and are never stored.
 */

#include "ackd/sockets/binding.h"
#include "ackd/sockets/setup.h"

/* Whether @fd is a listening socket that an ackd has stored. */
bool store_is_socket(const struct systemd_fd *fd);

/*
 * Makes bindings of the @n stored sockets @fds, which are consumed. What is not usable is closed,
 * and leaves the store. Returns the list.
 */
struct binding *store_take(struct systemd_fd *fds, size_t n);

/*
 * At start: closes those of *@bindings that were stored and that @setup does not want, if no
 * listener succeeds them or they would be in its way. May block.
 */
void store_drop(struct binding **bindings, const struct setup *setup);

/*
 * Returns how many sockets each TCP address of @setup is to have, at most @max, so that those of
 * all listeners fit into the store beside what a hand-over needs; at least one. Without a store:
 * @max. The store has those of @bindings that are stored, and @n_handed other descriptors. May
 * block.
 */
unsigned store_share(const struct setup *setup, const struct binding *bindings, unsigned n_handed,
		     unsigned max);

/*
 * Puts those of @bindings into the store that are not there yet, as far as there is room, and
 * stores again what has the name of another listener. Reports what it could not store. @unwanted
 * are still in the store: while they are, running out of room is not reported. Does nothing without
 * a store. May block.
 */
void store_sync(struct binding *bindings, const struct binding *unwanted);

/*
 * Returns how many sockets of @bindings end with this process, because neither the store nor a
 * socket unit has them, and writes them to @fds unless that is NULL.
 */
size_t store_lacks(const struct binding *bindings, int *fds);

/* Takes @binding, which is about to be destroyed, out of the store. @others: what stays. */
void store_forget(struct binding *binding, struct binding *others);
