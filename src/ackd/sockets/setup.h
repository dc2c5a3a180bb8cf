#pragma once

/*
 * From a configuration to listening sockets, in two steps, so that a reload changes nothing until
 * everything has worked: setup_prepare() may block in name look-ups and touches nothing;
 * setup_bind() makes the missing sockets and keeps those that are there.
 */

#include "ackd/sockets/bound.h"
#include "ackd/sockets/resolve.h"
#include "ackd/systemd/systemd.h"

#include <stdio.h>

struct setup {
	struct config *config;
	struct resolved *resolved;	/* one per listener */
	struct config_listener metrics; /* where metrics are served; its address is the config's */
	struct resolved metrics_resolved; /* none without metrics */
};

/*
 * Reads the configuration (see config_load()) and resolves its addresses. Every error is a line to
 * @errors. Returns 0 and the caller's *@ret_setup, -EINVAL for an error in the configuration,
 * -EADDRNOTAVAIL when an address could not be resolved, or another negative errno.
 */
int setup_prepare(const char *path, int port, FILE *errors, struct setup **ret_setup);

/* Accepts NULL. */
void setup_destroy(struct setup *setup);

/* The daemon's bindings: lists. */
struct bindings {
	struct binding *listeners;
	struct binding *metrics;
};

/*
 * Finds or binds the sockets of the listeners of @setup: those of @current that it still wants are
 * used again. An address may overlap that of one which it does not want. Addresses that this host
 * lacks are skipped, with a notice, where the setup is lenient. @n_sockets: per address. Errors are
 * lines to @errors. Returns 0 and the caller's @ret_bound, where bound_listen() must follow, or a
 * negative errno and everything as before.
 */
int setup_bind(const struct setup *setup, const struct bindings *current, unsigned n_sockets,
	       FILE *errors, struct bound *ret_bound);

/*
 * The same for the metrics of @setup, one socket per address, which listen when this returns.
 * @listeners are the sockets that setup_bind() has found or bound. Without metrics @ret_bound is
 * empty.
 */
int setup_bind_metrics(const struct setup *setup, const struct bindings *current,
		       const struct bound *listeners, FILE *errors, struct bound *ret_bound);

/*
 * Returns the index in the configuration of the listener that takes what still arrives on @binding,
 * which @setup does not want: that of the same name, else one of the same port; the number of
 * listeners if there is none.
 */
size_t setup_successor(const struct setup *setup, const struct binding *binding);

/*
 * Whether @binding is one of @listener at @address: with port 0 any port will do, so that a restart
 * keeps the one that the kernel chose.
 */
bool setup_matches(const struct binding *binding, const struct sockaddr_storage *address,
		   socklen_t length, const char *listener);

/* Listens on the new sockets of @bound. Returns 0 or a negative errno, which has been logged. */
int bound_listen(const struct bound *bound, const struct config *config);

/* Puts what @config says of the sockets of @bound (backlog, mode, time-out) into effect. */
void bound_configure(const struct bound *bound, const struct config *config);

/*
 * Makes bindings of the descriptors that the service manager passed, each for the listener of
 * @config that it belongs to: the one of the same name; without a name, or with one that ends in
 * ".socket", the first that has none. Consumes @fds. Errors are lines to @errors. Returns 0 and a
 * list (NULL: none) that is the caller's, -EINVAL when one fits no listener, or another errno.
 */
int setup_adopt(const struct config *config, struct systemd_fd *fds, size_t n, FILE *errors,
		struct binding **ret_bindings);
