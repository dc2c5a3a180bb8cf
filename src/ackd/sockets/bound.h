#pragma once

/*
 * The sockets of a configuration that is about to come into effect, new ones and some that are
 * there: made by setup_bind(), and then either the daemon's or undone.
 */

#include "ackd/sockets/binding.h"

/* What a struct binding serves in the configuration that is about to come into effect. */
struct bound_listener {
	struct binding *binding;
	struct sockaddr_storage configured; /* what that asks for: the port may be 0 */
	size_t listener;		    /* index in the configuration */
	bool is_new;
};

/* The sockets of a configuration. */
struct bound {
	struct bound_listener *items;
	size_t n;
};

/* Whether @binding is one of @bound. */
bool bound_has(const struct bound *bound, const struct binding *binding);

/*
 * Adds @added. Returns 0, or -ENOMEM, and then its binding is destroyed if it is new.
 */
int bound_add(struct bound *bound, const struct bound_listener *added);

/* Takes out what was added after the first @n; new bindings are destroyed. */
void bound_shrink(struct bound *bound, size_t n);

/* Releases the list. */
void bound_release(struct bound *bound);

/*
 * Makes the list *@bindings that of @bound, in its order; those that were in it and are not in
 * @bound come to the end of the list *@unwanted. Releases @bound.
 */
void bound_take(struct bound *bound, struct binding **bindings, struct binding **unwanted);

/* The opposite: the new bindings come to the list *@unwanted. Releases @bound. */
void bound_undo(struct bound *bound, struct binding **unwanted);
