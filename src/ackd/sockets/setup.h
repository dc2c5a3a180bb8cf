#pragma once

/*
 * Creates listening sockets from a configuration in two steps, so that a reload changes nothing
 * until both have succeeded. setup_prepare() may block in name look-ups and changes nothing.
 * setup_bind() creates the missing sockets and keeps existing ones.
 */

#include "ackd/sockets/bound.h"
#include "ackd/sockets/resolve.h"
#include "ackd/systemd/systemd.h"

#include <stdio.h>

struct setup {
	struct config *config;
	struct resolved *resolved; /* one per listener */
	struct config_listener
		metrics; /* pseudo-listener for metrics; the configuration owns its address */
	struct resolved metrics_resolved; /* empty without metrics */
};

/*
 * Reads the configuration (see config_load()) and resolves its addresses. Errors are written to
 * @errors as lines. Returns 0 and gives *@ret_setup to the caller, -EINVAL for an error in the
 * configuration, -EADDRNOTAVAIL when an address could not be resolved, or another negative errno.
 */
int setup_prepare(const char *path, int port, FILE *errors, struct setup **ret_setup);

/* Accepts NULL. */
void setup_destroy(struct setup *setup);

/* Lists of the daemon's bindings. */
struct bindings {
	struct binding *listeners;
	struct binding *metrics;
};

/*
 * Finds or binds the sockets of the listeners of @setup. Bindings in @current that it still needs
 * are reused. A new address may overlap that of a binding that it no longer needs. If the setup is
 * lenient, addresses that this host does not have are skipped with a notice. @n_sockets: per TCP
 * address. Errors are written to @errors as lines. Returns 0 and gives @ret_bound to the caller,
 * who must call bound_listen(), or a negative errno with nothing changed.
 */
int setup_bind(const struct setup *setup, const struct bindings *current, unsigned n_sockets,
	       FILE *errors, struct bound *ret_bound);

/*
 * Like setup_bind(), for the metrics of @setup, with one socket per address. The sockets listen
 * when this returns. @listeners is the result of setup_bind(). Without metrics @ret_bound is empty.
 */
int setup_bind_metrics(const struct setup *setup, const struct bindings *current,
		       const struct bound *listeners, FILE *errors, struct bound *ret_bound);

/*
 * Returns the index of the listener that gets the connections still arriving on @binding, which
 * @setup does not need: the listener of the same name, otherwise one of the same port. Returns the
 * number of listeners if there is none.
 */
size_t setup_successor(const struct setup *setup, const struct binding *binding);

/*
 * Returns whether @binding is one of @listener at @address. Port 0 matches any port, so a restart
 * keeps the port that the kernel chose.
 */
bool setup_matches(const struct binding *binding, const struct sockaddr_storage *address,
		   socklen_t length, const char *listener);

/* Listens on the new sockets of @bound. Returns 0 or a negative errno, which has been logged. */
int bound_listen(const struct bound *bound, const struct config *config);

/* Applies the socket options of @config (backlog, mode, timeout) to @bound. */
void bound_configure(const struct bound *bound, const struct config *config);

/*
 * Creates bindings from the descriptors that the service manager passed. Each belongs to the
 * listener of @config of the same name. Descriptors without a name, or with one that ends in
 * ".socket", belong to the first listener without a socket. Consumes @fds. Errors are written to
 * @errors as lines. Returns 0 and gives the list *@ret_bindings (NULL: none) to the caller, -EINVAL
 * when a descriptor matches no listener, or another negative errno.
 */
int setup_adopt(const struct config *config, struct systemd_fd *fds, size_t n, FILE *errors,
		struct binding **ret_bindings);
