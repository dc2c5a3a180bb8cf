#pragma once

/*
 * Listening sockets: one binding per bound address. A TCP address has one SO_REUSEPORT socket per
 * worker if possible; otherwise workers share sockets. Bindings belong to the server and outlive
 * reloads.
 *
 * Closing a listening socket resets the connections in its accept queue and those whose handshake
 * is under way. A binding that is no longer needed is therefore retired first: it gets no new
 * connections, but completes the handshakes that have begun. It is closed BINDING_RETIRED_MS later.
 */

#include "base/address.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The identity of a file, independent of its name. */
struct file_id {
	dev_t device;
	ino_t inode; /* 0: unknown */
};

struct binding {
	struct binding *next;
	char *listener;			    /* name of its listener */
	struct sockaddr_storage configured; /* the requested address: the port may be 0 */
	struct sockaddr_storage bound;
	socklen_t length;
	bool passed;	 /* passed by socket activation; the service manager keeps it and sets its
			    backlog */
	bool retired;	 /* gets no new connections and cannot be reused */
	char *stored_as; /* its name in the service manager's store, or NULL */
	struct file_id file; /* file of a UNIX socket: only ackd's own file is changed or removed */
	unsigned n_fds;
	int *fds;
};

/* Options from the settings of the listener and the daemon. */
struct binding_options {
	unsigned n_sockets; /* number of SO_REUSEPORT sockets if the address is TCP */
	int backlog;
	bool freebind;
	bool shared; /* the address overlaps that of a binding that is about to be retired */
	mode_t mode;
	uint64_t idle_timeout_ms; /* for TCP_USER_TIMEOUT */
};

/*
 * How long a retired binding stays open. A lost SYN-ACK is sent again after one second, which
 * leaves time for the client's answer.
 */
#define BINDING_RETIRED_MS 2000

/*
 * Binds without listening; binding_listen() must follow. Fails if any other socket, including
 * another ackd's, listens on the address. A UNIX socket's file on which no process listens is
 * replaced. With @options->shared the address may overlap that of listening sockets of the same
 * user that have SO_REUSEPORT. Returns 0 and gives *@ret_binding to the caller, or a negative
 * errno.
 */
int binding_create(const char *listener, const struct sockaddr *address, socklen_t length,
		   const struct binding_options *options, struct binding **ret_binding);

/*
 * Begins to listen on a binding from binding_create(). Returns 0, or a negative errno, after which
 * @binding can only be destroyed.
 */
int binding_listen(struct binding *binding, const struct binding_options *options);

/*
 * Stops new connections to @binding, which must not be passed: removes its sockets from the
 * kernel's look-up of listening sockets, or removes a UNIX socket's file if it is still ackd's. New
 * connections go to other sockets or are refused. Handshakes under way are completed, and the
 * accept queue is kept. This cannot be undone. Before Linux 5.7 a TCP socket gets connections until
 * it is closed.
 */
void binding_retire(struct binding *binding);

/*
 * Returns whether the kernel permits binding to an address that overlaps that of @binding. Its
 * sockets must belong to the present user. Sockets from the store may belong to another user after
 * a change of User=.
 */
bool binding_is_own(const struct binding *binding);

/*
 * Returns whether sockets at the address of @binding and at @address conflict: they have the same
 * UNIX path, or the same TCP family and port and either the same address or a wildcard.
 */
bool binding_overlaps(const struct binding *binding, const struct sockaddr_storage *address,
		      socklen_t length);

/*
 * Creates a binding from a passed listening socket. Takes @fd, even on failure. Returns 0, -EINVAL
 * when @fd is not a listening stream socket, or another negative errno.
 */
int binding_adopt(const char *listener, int fd, struct binding **ret_binding);

/*
 * Adds a listening socket from the store, named @stored_as there, to the binding of its address in
 * the list *@bindings, creating it if necessary. @file identifies the file of a UNIX socket; an
 * unknown file is neither changed nor removed. Takes @fd, even on failure. Returns 0, -EINVAL when
 * @fd is not a listening stream socket, -ENOENT when the file of a UNIX socket is no longer at its
 * path, or another negative errno.
 */
int binding_readopt(const char *listener, const char *stored_as, struct file_id file, int fd,
		    struct binding **bindings);

/*
 * Applies changed options (backlog, mode, timeout) after a reload. The mode of a UNIX socket's file
 * is changed only if it is still ackd's.
 */
void binding_configure(struct binding *binding, const struct binding_options *options);

/*
 * Sets TCP_USER_TIMEOUT of a TCP socket to the idle timeout; 0: never. Accepted connections inherit
 * it from their listening socket.
 */
void binding_set_timeout(int fd, uint64_t idle_timeout_ms);

/*
 * Closes the sockets and frees. Removes a UNIX socket's file if it is still ackd's and the socket
 * is not in the store. Accepts NULL.
 */
void binding_destroy(struct binding *binding);
