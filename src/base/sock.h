#pragma once

/*
 * Calls for stream sockets that differ between systems. meson.build selects sock_linux.c, or
 * sock_posix.c together with the options of one system: sock_freebsd.c, sock_darwin.c or
 * sock_none.c. Any thread. Functions that return nothing ignore errors: the socket works without
 * the option.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/*
 * Opens a non-blocking stream socket of @family, which is closed on exec. Returns the descriptor or
 * a negative errno.
 */
int sock_open(int family);

/*
 * Accepts a connection from the listening socket @fd, as accept(2). The new socket is non-blocking
 * and closed on exec. Returns the descriptor or a negative errno.
 */
int sock_accept(int fd, struct sockaddr *ret_peer, socklen_t *length);

/*
 * Permits @fd, of @family, to bind to an address that the host does not have. Returns 0 or a
 * negative errno: -ENOPROTOOPT if the system cannot do that.
 */
int sock_freebind(int fd, int family);

/*
 * Returns whether the kernel spreads new connections over several listening sockets of one address
 * that have SO_REUSEPORT. Otherwise one of them would get all connections.
 */
bool sock_spreads(void);

/* Returns whether UNIX sockets can have abstract names. */
bool sock_has_abstract_names(void);

/*
 * Stops new connections to the listening TCP socket @fd, and completes the handshakes that have
 * begun. Cannot be undone. Without support by the kernel nothing happens, and the socket gets
 * connections until it is closed.
 */
void sock_retire(int fd);

/* Returns whether sock_retire() has stopped connections to @fd, possibly in another process. */
bool sock_is_retired(int fd);

/*
 * Begins keepalive probes of the TCP socket @fd, or of connections accepted from it, after @idle_s
 * seconds without data.
 */
void sock_set_keepalive_idle(int fd, unsigned idle_s);

/*
 * Limits how long data on the TCP socket @fd, or on connections accepted from it, may stay
 * unacknowledged; 0: as long as the system's default.
 */
void sock_set_user_timeout(int fd, uint64_t timeout_ms);

/*
 * Gives @fd, accepted from @listening, the settings of the two functions above if this system does
 * not do that. For sock_accept() of sock_posix.c.
 */
void sock_inherit(int fd, int listening);

/* Makes the kernel acknowledge what has arrived on the TCP socket @fd immediately. */
void sock_acknowledge(int fd);

/*
 * Returns how many bytes written to @fd the kernel holds: those that the peer's kernel has not
 * acknowledged, or that the reader of a UNIX socket has not read. Returns -1 if that is unknown. On
 * some systems the reader's side holds the bytes of a UNIX socket, and the result is 0.
 */
int sock_unsent(int fd);

/*
 * Changes the mode of the UNIX socket's file at @path to @mode if it is the file @inode of @device.
 * Another file that replaces it meanwhile is not changed, as far as the system permits that.
 */
void sock_set_file_mode(const char *path, dev_t device, ino_t inode, mode_t mode);
