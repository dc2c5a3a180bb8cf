#pragma once

/*
 * Listening sockets in the service manager's store, from READY on: so that neither a restart nor a
 * crash closes them, and a client that connects meanwhile waits instead of being refused. Those
 * that were passed by socket activation are the service manager's own and are never stored.
 */

#include "ackd/binding.h"
#include "ackd/setup.h"

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
 * all listeners fit into the store; at least one. Without a store: @max.
 */
unsigned store_share(const struct setup *setup, unsigned max);

/*
 * Puts what is not there yet of @bindings into the store, and takes out what is there under another
 * name than its listener's. @unwanted are still in the store: while they are, running out of room
 * is not reported. Does nothing without a store. May block.
 */
void store_sync(struct binding *bindings, const struct binding *unwanted);

/* Takes @binding, which is about to be destroyed, out of the store. @others: what stays. */
void store_forget(struct binding *binding, struct binding *others);
