#pragma once

/*
 * The sockets of a configuration that is about to take effect, both new and existing ones.
 * setup_bind() creates the list, which then either becomes the daemon's or is undone.
 */

#include "ackd/sockets/binding.h"

/* The use of a binding in that configuration. */
struct bound_listener {
	struct binding *binding;
	struct sockaddr_storage configured; /* the requested address: the port may be 0 */
	size_t listener;		    /* index in the configuration */
	bool is_new;
};

/* The sockets of a configuration. */
struct bound {
	struct bound_listener *items;
	size_t n;
};

/* Returns whether @bound contains @binding. */
bool bound_has(const struct bound *bound, const struct binding *binding);

/* Adds @added. Returns 0, or -ENOMEM after destroying its binding if it is new. */
int bound_add(struct bound *bound, const struct bound_listener *added);

/* Removes the elements after the first @n; new bindings are destroyed. */
void bound_shrink(struct bound *bound, size_t n);

/* Releases the list. */
void bound_release(struct bound *bound);

/*
 * Replaces the list *@bindings by the bindings of @bound, in its order. Bindings that are not in
 * @bound are appended to the list *@unwanted. Releases @bound.
 */
void bound_take(struct bound *bound, struct binding **bindings, struct binding **unwanted);

/* Undoes the change instead: moves new bindings to the list *@unwanted. Releases @bound. */
void bound_undo(struct bound *bound, struct binding **unwanted);
