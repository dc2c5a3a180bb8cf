#pragma once

/*
 * All listening sockets of the daemon, those of the metrics among them. A new configuration changes
 * them in one step, or not at all: socket_set_bind(), socket_set_listen(), and then either
 * socket_set_commit() or socket_set_rollback(). Main thread.
 */

#include "ackd/sockets/candidate.h"
#include "ackd/sockets/endpoint.h"
#include "ackd/systemd/systemd.h"

struct socket_set {
	struct list endpoints;
};

void socket_set_init(struct socket_set *set);

/* Asserts what holds for each endpoint. Called when sockets have been bound, and when a change is
 * committed. */
void socket_set_check_invariant(const struct socket_set *set);

/*
 * Begins a change. Gives each listener of @candidate, and the metrics, the existing sockets of its
 * addresses, and binds those that are missing. A new address may overlap that of an endpoint that
 * is no longer needed. If an address is a name, or stands for several, addresses that this host
 * does not have are skipped with a notice. At start, inherited endpoints that are not needed are
 * closed if no listener succeeds them or if they would prevent binding.
 *
 * @n_handed: descriptors of a hand-over in the store. @max_sockets: per TCP address of a listener.
 * May block at start. Errors are written to @errors as lines. Returns 0 with "next" of all
 * endpoints set, or a negative errno with nothing changed.
 */
int socket_set_bind(struct socket_set *set, const struct candidate *candidate, unsigned n_handed,
		    unsigned max_sockets, FILE *errors);

/*
 * Listens on the new sockets. @config is the candidate's. Returns 0, or a negative errno, which has
 * been logged.
 */
int socket_set_listen(struct socket_set *set, const struct config *config);

/*
 * Completes the change: applies the socket options of @config, logs endpoints that become active,
 * and retires those that are not needed.
 */
void socket_set_commit(struct socket_set *set, const struct config *config);

/* Undoes the change: closes the new sockets, which nobody may use any more. */
void socket_set_rollback(struct socket_set *set);

/*
 * Returns the index of the listener of @config that gets the connections still arriving on
 * @endpoint, which is not needed: the listener of the same name, otherwise one of the same port.
 * Returns the number of listeners if there is none.
 */
size_t socket_set_successor(const struct config *config, const struct endpoint *endpoint);

/* Returns whether any endpoint is retired. */
bool socket_set_has_retired(const struct socket_set *set);

/* Closes the retired endpoints, which nobody may use any more, also in the store. */
void socket_set_close_retired(struct socket_set *set);

/* Closes the sockets of all listeners, but not those of the metrics. */
void socket_set_close_listeners(struct socket_set *set);

/* Closes everything. */
void socket_set_finish(struct socket_set *set);

/*
 * Adds sockets of socket activation. Each belongs to the listener of @config of the same name.
 * Descriptors without a name, or with one that ends in ".socket", belong to the first listener
 * without a socket. Takes the @n descriptors @fds and their names, but not the array. Errors are
 * written to @errors as lines. Returns 0, -EINVAL when a descriptor matches no listener, or another
 * negative errno.
 */
int socket_set_adopt(struct socket_set *set, const struct config *config, struct systemd_fd *fds,
		     size_t n, FILE *errors);
