#include "ackd/sockets/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Keepalive detects the dead peer of an idle connection after idle + n * interval: in less than
 * five minutes. This applies without an idle timeout; otherwise TCP_USER_TIMEOUT replaces the
 * number of probes.
 */
#define KEEPALIVE_IDLE_S 120
#define KEEPALIVE_INTERVAL_S 30
#define KEEPALIVE_PROBES 5

/* The index of an interface that does not exist. */
#define NO_INTERFACE INT_MAX

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static bool is_tcp(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET || address->ss_family == AF_INET6;
}

void binding_set_timeout(int fd, uint64_t idle_timeout_ms)
{
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
		idle_timeout_ms < INT_MAX ? (int)idle_timeout_ms : 0);
}

/*
 * Sets options that accepted connections inherit from the listening socket in Linux, which saves
 * system calls per connection. TCP_USER_TIMEOUT also ends a connection whose peer keeps its window
 * at zero, so it must not be shorter than the idle timeout.
 */
static void set_inherited(int fd, const struct binding_options *options)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	binding_set_timeout(fd, options->idle_timeout_ms);
}

static int socket_prepare(int fd, int family, const struct binding_options *options)
{
	int r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (r == 0 && family == AF_INET6)
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (r == 0 && options->freebind)
		r = family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
				       : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	return r;
}

/*
 * Binds one socket. The first socket of an address is bound without SO_REUSEPORT, so an address
 * that is in use, even by another ackd of the same user, is an error. The others can join it,
 * because it has SO_REUSEADDR and does not listen yet.
 */
static int socket_bind(const struct sockaddr *address, socklen_t length, bool first,
		       const struct binding_options *options)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = socket_prepare(fd, address->sa_family, options);
	if (r == 0 && (!first || options->shared))
		r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	/* EINVAL: multicast, or link-local without a zone; not an address of this host either */
	if (r == 0 && bind(fd, address, length) < 0)
		r = errno == EINVAL ? -EADDRNOTAVAIL : -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int bind_tcp(struct binding *binding, const struct binding_options *options)
{
	socklen_t length = binding->length;
	int fd = socket_bind((struct sockaddr *)&binding->configured, length, true, options);

	if (fd < 0)
		return fd;
	binding->fds[binding->n_fds++] = fd;
	if (getsockname(fd, (struct sockaddr *)&binding->bound, &length) < 0)
		return -errno;
	while (binding->n_fds < options->n_sockets) {
		fd = socket_bind((struct sockaddr *)&binding->bound, length, false, options);
		if (fd < 0)
			return fd;
		binding->fds[binding->n_fds++] = fd;
	}
	return 0;
}

/* Removes the file of a UNIX socket on which no process listens any more. */
static int unlink_stale(const struct sockaddr_un *un, socklen_t length)
{
	struct stat st;
	int fd, r = -EADDRINUSE;

	if (lstat(un->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)un, length) < 0 && errno == ECONNREFUSED)
		r = unlink(un->sun_path) < 0 && errno != ENOENT ? -errno : 0;
	close(fd);
	return r;
}

/* Creates the file with the mode @mode from the beginning, regardless of the umask. */
static int bind_with_mode(int fd, const struct sockaddr_un *un, socklen_t length, mode_t mode)
{
	mode_t before;
	int r;

	if (fchmod(fd, mode) < 0)
		return -errno;
	before = umask(0);
	r = bind(fd, (const struct sockaddr *)un, length) < 0 ? -errno : 0;
	umask(before);
	return r;
}

static int bind_unix(struct binding *binding, const struct binding_options *options)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&binding->configured;
	struct stat st;
	int r = unlink_stale(un, binding->length);
	int fd;

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	binding->fds[binding->n_fds++] = fd;
	r = bind_with_mode(fd, un, binding->length, options->mode);
	if (r < 0)
		return r;
	binding->bound = binding->configured;
	if (lstat(un->sun_path, &st) < 0)
		return -errno;
	binding->file = (struct file_id){st.st_dev, st.st_ino};
	return 0;
}

static struct binding *binding_new(const char *listener, unsigned n_fds)
{
	struct binding *binding = calloc(1, sizeof(*binding));

	if (!binding)
		return NULL;
	binding->listener = strdup(listener);
	binding->fds = calloc(n_fds, sizeof(int));
	if (!binding->listener || !binding->fds) {
		binding_destroy(binding);
		return NULL;
	}
	return binding;
}

int binding_create(const char *listener, const struct sockaddr *address, socklen_t length,
		   const struct binding_options *options, struct binding **ret_binding)
{
	struct binding *binding = binding_new(listener, options->n_sockets);
	int r;

	if (!binding)
		return -ENOMEM;
	memcpy(&binding->configured, address, length);
	binding->length = length;
	r = address->sa_family == AF_UNIX ? bind_unix(binding, options)
					  : bind_tcp(binding, options);
	if (r < 0) {
		binding_destroy(binding);
		return r;
	}
	*ret_binding = binding;
	return 0;
}

int binding_listen(struct binding *binding, const struct binding_options *options)
{
	bool tcp = is_tcp(&binding->bound);

	/*
	 * The first socket listens before it has SO_REUSEPORT. Thus only one of two processes that
	 * have bound the same address at the same time, with SO_REUSEADDR, succeeds.
	 */
	for (unsigned i = 0; i < binding->n_fds; i++) {
		if (tcp)
			set_inherited(binding->fds[i], options);
		if (listen(binding->fds[i], options->backlog) < 0 ||
		    (tcp && set_int(binding->fds[i], SOL_SOCKET, SO_REUSEPORT, 1) < 0))
			return -errno;
	}
	return 0;
}

static int adopt_check(int fd, struct binding *binding)
{
	int type = 0, accepts = 0;
	socklen_t size = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return errno == ENOTSOCK ? -EINVAL : -errno;
	size = sizeof(accepts);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0)
		return -errno;
	if (type != SOCK_STREAM || !accepts)
		return -EINVAL;
	binding->length = sizeof(binding->bound);
	if (getsockname(fd, (struct sockaddr *)&binding->bound, &binding->length) < 0)
		return -errno;
	if (!is_tcp(&binding->bound) && binding->bound.ss_family != AF_UNIX)
		return -EINVAL;
	binding->configured = binding->bound;
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? -errno : 0;
}

int binding_adopt(const char *listener, int fd, struct binding **ret_binding)
{
	struct binding *binding = binding_new(listener, 1);
	int r;

	if (!binding) {
		close(fd);
		return -ENOMEM;
	}
	binding->passed = true;
	binding->fds[binding->n_fds++] = fd;
	r = adopt_check(fd, binding);
	if (r < 0) {
		binding_destroy(binding);
		return r;
	}
	*ret_binding = binding;
	return 0;
}

/* Moves the only socket of @one to @binding. */
static int binding_merge(struct binding *binding, struct binding *one)
{
	int *fds = reallocarray(binding->fds, binding->n_fds + 1, sizeof(int));

	if (!fds)
		return -ENOMEM;
	binding->fds = fds;
	binding->fds[binding->n_fds++] = one->fds[0];
	one->n_fds = 0;
	return 0;
}

/* Returns whether @fd was retired by binding_retire(), possibly in a previous process. */
static bool is_retired(int fd)
{
	int index = 0;
	socklen_t size = sizeof(index);

	return getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &size) == 0 &&
	       index == NO_INTERFACE;
}

/* Returns whether a socket is at @path, and is @file unless that is unknown. */
static bool has_file(const char *path, struct file_id file)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       (!file.inode || (st.st_dev == file.device && st.st_ino == file.inode));
}

int binding_readopt(const char *listener, const char *stored_as, struct file_id file, int fd,
		    struct binding **bindings)
{
	const struct sockaddr_un *un;
	struct binding *one, *b;
	int r = binding_adopt(listener, fd, &one);

	if (r < 0)
		return r;
	one->passed = false;
	one->retired = is_tcp(&one->bound) && is_retired(fd);
	if (is_tcp(&one->bound)) /* sockets stored by an older ackd may lack it */
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	un = (const struct sockaddr_un *)&one->bound;
	if (un->sun_family == AF_UNIX) {
		if (!has_file(un->sun_path, file)) {
			binding_destroy(one);
			return -ENOENT;
		}
		one->file = file;
	}
	for (b = *bindings; b; b = b->next)
		if (b->length == one->length && b->retired == one->retired &&
		    strcmp(b->listener, listener) == 0 &&
		    memcmp(&b->bound, &one->bound, one->length) == 0)
			break;
	if (b) {
		r = binding_merge(b, one);
		one->file.inode = 0; /* keeps the file */
		binding_destroy(one);
		return r;
	}
	one->stored_as = strdup(stored_as);
	if (!one->stored_as) {
		binding_destroy(one);
		return -ENOMEM;
	}
	one->next = *bindings;
	*bindings = one;
	return 0;
}

/* Returns the path of a UNIX socket if its file is still ackd's, otherwise NULL. */
static const char *own_file(const struct binding *binding)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&binding->bound;

	if (un->sun_family != AF_UNIX || !binding->file.inode ||
	    !has_file(un->sun_path, binding->file))
		return NULL;
	return un->sun_path;
}

/*
 * Changes the mode of @path if it is @file. Another file that replaces it meanwhile is not changed.
 */
static void set_mode(const char *path, struct file_id file, mode_t mode)
{
	char link[sizeof("/proc/self/fd/") + 10];
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == 0 && st.st_dev == file.device && st.st_ino == file.inode &&
	    (st.st_mode & 07777) != mode)
		chmod(link, mode);
	close(fd);
}

void binding_retire(struct binding *binding)
{
	const char *path = own_file(binding);

	binding->retired = true;
	if (path)
		unlink(path);
	/*
	 * A listening socket that is bound to another interface than the one on which a SYN arrives
	 * does not match it. A handshake that has begun is found by its own addresses and ports,
	 * and keeps the interface that the socket had when the SYN arrived. A socket filter that
	 * drops SYNs would instead delay clients by a second, until they send the SYN again.
	 */
	for (unsigned i = 0; is_tcp(&binding->bound) && i < binding->n_fds; i++)
		set_int(binding->fds[i], SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE);
}

bool binding_is_own(const struct binding *binding)
{
	struct stat st;

	for (unsigned i = 0; i < binding->n_fds; i++)
		if (fstat(binding->fds[i], &st) < 0 || st.st_uid != geteuid())
			return false;
	return true;
}

static bool is_wildcard(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET)
		return ((const struct sockaddr_in *)address)->sin_addr.s_addr == INADDR_ANY;
	return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr,
				  &((const struct sockaddr_in6 *)b)->sin6_addr);
}

bool binding_overlaps(const struct binding *binding, const struct sockaddr_storage *address,
		      socklen_t length)
{
	const struct sockaddr_storage *bound = &binding->bound;

	if (bound->ss_family != address->ss_family)
		return false;
	if (!is_tcp(bound))
		return binding->length == length && memcmp(bound, address, length) == 0;
	/* the port has the same offset in both families */
	return ((const struct sockaddr_in *)bound)->sin_port ==
		       ((const struct sockaddr_in *)address)->sin_port &&
	       (is_wildcard(bound) || is_wildcard(address) || same_host(bound, address));
}

void binding_configure(struct binding *binding, const struct binding_options *options)
{
	const char *path = own_file(binding);

	for (unsigned i = 0; i < binding->n_fds; i++) {
		if (is_tcp(&binding->bound))
			set_inherited(binding->fds[i], options);
		if (!binding->passed)
			listen(binding->fds[i], options->backlog);
	}
	if (path)
		set_mode(path, binding->file, options->mode);
}

void binding_destroy(struct binding *binding)
{
	const char *path;

	if (!binding)
		return;
	path = own_file(binding);
	/* the next process uses the file of a stored socket */
	if (path && !binding->stored_as)
		unlink(path);
	for (unsigned i = 0; i < binding->n_fds; i++)
		close(binding->fds[i]);
	free(binding->fds);
	free(binding->stored_as);
	free(binding->listener);
	free(binding);
}
