#pragma once

/*
 * Listening sockets: one binding per bound address, with one SO_REUSEPORT socket per worker where
 * that makes sense, else one that the workers share. They belong to the server and outlive reloads:
 * closing a listening socket drops the connections in its queue.
 */

#include "ackd/address.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct binding {
	struct binding *next;
	char *listener;			    /* name of the listener that it serves */
	struct sockaddr_storage configured; /* what was asked for: the port may be 0 */
	struct sockaddr_storage bound;
	socklen_t length;
	bool passed;	 /* by socket activation: the service manager's, with its own backlog */
	char *stored_as; /* its name in the service manager's store, or NULL */
	dev_t device;	 /* of a UNIX socket's file, so that only our own is removed */
	ino_t inode;
	unsigned n_fds;
	int *fds;
};

/* How to bind, from the listener's settings and the daemon's. */
struct binding_options {
	unsigned n_sockets; /* SO_REUSEPORT sockets, if the address is TCP */
	int backlog;
	bool freebind;
	mode_t mode;
	uint64_t idle_timeout_ms; /* for TCP_USER_TIMEOUT */
};

/*
 * Binds and listens. Does not take over an address that anyone, another ackd too, listens on; a
 * UNIX socket's file that nobody listens on is replaced. Returns 0 and the caller's *@ret_binding,
 * or a negative errno.
 */
int binding_create(const char *listener, const struct sockaddr *address, socklen_t length,
		   const struct binding_options *options, struct binding **ret_binding);

/*
 * Makes a binding of a listening socket that was passed to us. @fd is the binding's from here on,
 * even when this fails. Returns 0, -EINVAL when @fd is not a listening stream socket, or another
 * negative errno.
 */
int binding_adopt(const char *listener, int fd, struct binding **ret_binding);

/*
 * Adds a listening socket that was kept in the store under @stored_as to the binding of its address
 * in the list *@bindings, which is made if there is none. @fd is the binding's from here on, even
 * when this fails. Returns 0, -EINVAL when @fd is not a listening stream socket, -ENOENT when it is
 * a UNIX socket whose file is gone, or another negative errno.
 */
int binding_readopt(const char *listener, const char *stored_as, int fd, struct binding **bindings);

/*
 * Puts changed options (backlog, mode, time-out) of a reload into effect: the mode of a UNIX
 * socket's file if that is still ours.
 */
void binding_configure(struct binding *binding, const struct binding_options *options);

/*
 * Sets TCP_USER_TIMEOUT of a TCP socket to the idle time-out; 0: never. Accepted connections
 * inherit it from their listening socket.
 */
void binding_set_timeout(int fd, uint64_t idle_timeout_ms);

/*
 * Closes the sockets, removes a UNIX socket's file if it is still ours and no store has the socket,
 * and frees. NULL is fine.
 */
void binding_destroy(struct binding *binding);
