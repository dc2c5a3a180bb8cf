#include "ackd/sockets/endpoint.h"

#include "base/array.h"
#include "base/sock.h"
#include "base/states.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Keepalive detects the dead peer of an idle connection after keepalive + n * interval: by default
 * in less than five minutes. This applies without an idle timeout; otherwise TCP_USER_TIMEOUT
 * replaces the number of probes.
 */
#define KEEPALIVE_INTERVAL_S 30
#define KEEPALIVE_PROBES 5

static const struct state_row states[] = {
	[ENDPOINT_NEW] = {"new", STATES_BIT(ENDPOINT_ACTIVE)},
	[ENDPOINT_INHERITED] = {"inherited",
				STATES_BIT(ENDPOINT_ACTIVE) | STATES_BIT(ENDPOINT_RETIRED)},
	[ENDPOINT_ACTIVE] = {"active", STATES_BIT(ENDPOINT_ACTIVE) | STATES_BIT(ENDPOINT_RETIRED)},
	[ENDPOINT_RETIRED] = {"retired", STATES_BIT(ENDPOINT_RETIRED)},
};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static bool is_tcp(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET || address->ss_family == AF_INET6;
}

static bool is_abstract(const struct sockaddr_storage *address)
{
	return sockaddr_is_abstract((const struct sockaddr *)address);
}

/* Returns the path of the UNIX socket at @address, which is not abstract. */
static const char *path_of(const struct sockaddr_storage *address)
{
	return ((const struct sockaddr_un *)address)->sun_path;
}

void endpoint_set_timeouts(int fd, uint64_t idle_timeout_ms, unsigned keepalive_s)
{
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive_s > 0);
	if (keepalive_s > 0)
		sock_set_keepalive_idle(fd, keepalive_s);
	sock_set_user_timeout(fd, idle_timeout_ms);
}

/*
 * Sets options that accepted connections inherit from the listening socket, which saves system
 * calls per connection. TCP_USER_TIMEOUT also ends a connection whose peer keeps its window at
 * zero, so it must not be shorter than the idle timeout.
 */
static void set_inherited(int fd, const struct endpoint_options *options)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	endpoint_set_timeouts(fd, options->idle_timeout_ms, options->keepalive_s);
}

static int socket_prepare(int fd, int family, const struct endpoint_options *options)
{
	int r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (r == 0 && family == AF_INET6)
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (r == 0 && options->freebind)
		r = sock_freebind(fd, family);
	return r;
}

/*
 * Binds one socket. The first socket of an address is bound without SO_REUSEPORT, so an address
 * that is in use, even by another ackd of the same user, is an error. The others can join it,
 * because it has SO_REUSEADDR and does not listen yet.
 */
static int socket_bind(const struct sockaddr *address, socklen_t length, bool first,
		       const struct endpoint_options *options)
{
	int fd = sock_open(address->sa_family);
	int r;

	if (fd < 0)
		return fd;
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

static int bind_tcp(struct endpoint *endpoint, const struct endpoint_options *options)
{
	socklen_t length = endpoint->length;
	int fd = socket_bind((struct sockaddr *)&endpoint->configured, length, true, options);

	if (fd < 0)
		return fd;
	endpoint->fds[endpoint->n_fds++] = fd;
	if (getsockname(fd, (struct sockaddr *)&endpoint->bound, &length) < 0)
		return -errno;
	while (endpoint->n_fds < options->n_sockets) {
		fd = socket_bind((struct sockaddr *)&endpoint->bound, length, false, options);
		if (fd < 0)
			return fd;
		endpoint->fds[endpoint->n_fds++] = fd;
	}
	return 0;
}

/*
 * Returns -EADDRINUSE if a process has the UNIX socket at @un, 0 if none has it any more, or
 * another negative errno. A datagram socket cannot connect to a stream socket, so the process
 * notices nothing. A stream socket would be refused by a process that does not listen yet, and on
 * BSD also by one whose queue is full.
 */
static int probe(const struct sockaddr_un *un, socklen_t length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)un, length) < 0 && errno == ECONNREFUSED
		    ? 0
		    : -EADDRINUSE;
	close(fd);
	return r;
}

/* Removes the file of a UNIX socket that no process has any more. */
static int unlink_stale(const struct sockaddr_un *un, socklen_t length)
{
	struct stat st;
	int r;

	if (lstat(un->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	r = probe(un, length);
	return r == 0 && unlink(un->sun_path) < 0 && errno != ENOENT ? -errno : r;
}

/*
 * Creates the file with the mode @mode from the beginning. Linux takes it from the socket, also
 * where a default ACL of the directory replaces the umask. Other systems reject fchmod() of a
 * socket.
 */
static int bind_with_mode(int fd, const struct sockaddr_un *un, socklen_t length, mode_t mode)
{
	mode_t before = umask(~mode & 0777);
	int r = fchmod(fd, mode) < 0 && errno != EINVAL ? -errno : 0;

	if (r == 0 && bind(fd, (const struct sockaddr *)un, length) < 0)
		r = -errno;
	umask(before);
	return r;
}

static int bind_unix(struct endpoint *endpoint, const struct endpoint_options *options)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&endpoint->configured;
	bool named_by_file = !is_abstract(&endpoint->configured);
	struct stat st;
	int r = named_by_file ? unlink_stale(un, endpoint->length) : 0;
	int fd;

	if (r < 0)
		return r;
	fd = sock_open(AF_UNIX);
	if (fd < 0)
		return fd;
	endpoint->fds[endpoint->n_fds++] = fd;
	r = bind_with_mode(fd, un, endpoint->length, options->mode);
	if (r < 0)
		return r;
	endpoint->bound = endpoint->configured;
	if (!named_by_file)
		return 0;
	if (lstat(un->sun_path, &st) < 0)
		return -errno;
	endpoint->file = (struct file_id){st.st_dev, st.st_ino};
	return 0;
}

static struct endpoint *endpoint_new(const char *listener, unsigned n_fds,
				     enum endpoint_state state)
{
	struct endpoint *endpoint = calloc(1, sizeof(*endpoint));

	if (!endpoint)
		return NULL;
	list_init(&endpoint->node);
	endpoint->state = (uint8_t)state;
	endpoint->listener = strdup(listener);
	endpoint->fds = calloc(n_fds, sizeof(int));
	if (!endpoint->listener || !endpoint->fds) {
		endpoint_destroy(endpoint);
		return NULL;
	}
	return endpoint;
}

int endpoint_create(const char *listener, const struct sockaddr *address, socklen_t length,
		    const struct endpoint_options *options, struct endpoint **ret_endpoint)
{
	struct endpoint *endpoint = endpoint_new(listener, options->n_sockets, ENDPOINT_NEW);
	int r;

	if (!endpoint)
		return -ENOMEM;
	memcpy(&endpoint->configured, address, length);
	endpoint->length = length;
	r = address->sa_family == AF_UNIX ? bind_unix(endpoint, options)
					  : bind_tcp(endpoint, options);
	if (r < 0) {
		endpoint_destroy(endpoint);
		return r;
	}
	*ret_endpoint = endpoint;
	return 0;
}

static int adopt_check(int fd, struct endpoint *endpoint)
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
	endpoint->length = sizeof(endpoint->bound);
	if (getsockname(fd, (struct sockaddr *)&endpoint->bound, &endpoint->length) < 0)
		return -errno;
	if (!is_tcp(&endpoint->bound) && endpoint->bound.ss_family != AF_UNIX)
		return -EINVAL;
	endpoint->configured = endpoint->bound;
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? -errno : 0;
}

/* Creates an endpoint from the listening socket @fd, which it takes even on failure. */
static int endpoint_inherit(const char *listener, int fd, struct endpoint **ret_endpoint)
{
	struct endpoint *endpoint = endpoint_new(listener, 1, ENDPOINT_INHERITED);
	int r;

	if (!endpoint) {
		close(fd);
		return -ENOMEM;
	}
	endpoint->fds[endpoint->n_fds++] = fd;
	r = adopt_check(fd, endpoint);
	if (r < 0) {
		endpoint_destroy(endpoint);
		return r;
	}
	*ret_endpoint = endpoint;
	return 0;
}

int endpoint_adopt(const char *listener, int fd, struct list *endpoints,
		   struct endpoint **ret_endpoint)
{
	int r = endpoint_inherit(listener, fd, ret_endpoint);

	if (r < 0)
		return r;
	(*ret_endpoint)->passed = true;
	list_append(endpoints, &(*ret_endpoint)->node);
	return 0;
}

struct endpoint *endpoint_find_passed(const struct list *endpoints, const char *listener)
{
	struct endpoint *e;

	list_for_each (e, endpoints, node)
		if (e->passed && strcmp(e->listener, listener) == 0)
			return e;
	return NULL;
}

/* Moves the only socket of @one to @endpoint. */
static int endpoint_merge(struct endpoint *endpoint, struct endpoint *one)
{
	int *fds = array_resize(endpoint->fds, endpoint->n_fds + 1, sizeof(int));

	if (!fds)
		return -ENOMEM;
	endpoint->fds = fds;
	endpoint->fds[endpoint->n_fds++] = one->fds[0];
	one->n_fds = 0;
	return 0;
}

/* Returns whether a socket is at @path, and is @file unless that is unknown. */
static bool has_file(const char *path, struct file_id file)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       (!file.inode || (st.st_dev == file.device && st.st_ino == file.inode));
}

/* Returns the endpoint of @one's listener and address in @endpoints, or NULL. */
static struct endpoint *find_same(const struct list *endpoints, const struct endpoint *one)
{
	struct endpoint *e;

	list_for_each (e, endpoints, node)
		if (e->length == one->length && e->state == one->state &&
		    strcmp(e->listener, one->listener) == 0 &&
		    memcmp(&e->bound, &one->bound, one->length) == 0)
			return e;
	return NULL;
}

int endpoint_restore(const char *listener, const char *stored_as, struct file_id file, int fd,
		     struct list *endpoints)
{
	struct endpoint *one, *same;
	int r = endpoint_inherit(listener, fd, &one);

	if (r < 0)
		return r;
	if (is_tcp(&one->bound)) {
		if (sock_is_retired(fd))
			states_move(states, &one->state, ENDPOINT_RETIRED);
		/* sockets stored by an older ackd may lack it */
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	} else if (!is_abstract(&one->bound) && !has_file(path_of(&one->bound), file)) {
		endpoint_destroy(one);
		return -ENOENT;
	}
	same = find_same(endpoints, one);
	if (same) {
		r = endpoint_merge(same, one);
		endpoint_destroy(one);
		return r;
	}
	one->file = file;
	one->stored_as = strdup(stored_as);
	if (!one->stored_as) {
		one->file.inode = 0; /* keeps the file */
		endpoint_destroy(one);
		return -ENOMEM;
	}
	list_append(endpoints, &one->node);
	return 0;
}

/* Returns the path of a UNIX socket if its file is still ackd's, otherwise NULL. */
static const char *own_file(const struct endpoint *endpoint)
{
	if (is_tcp(&endpoint->bound) || !endpoint->file.inode ||
	    !has_file(path_of(&endpoint->bound), endpoint->file))
		return NULL;
	return path_of(&endpoint->bound);
}

int endpoint_listen(struct endpoint *endpoint, const struct endpoint_options *options)
{
	const char *path = own_file(endpoint);
	bool tcp = is_tcp(&endpoint->bound);

	if (path)
		sock_set_file_mode(path, endpoint->file.device, endpoint->file.inode,
				   options->mode);
	/*
	 * The first socket listens before it has SO_REUSEPORT. Thus only one of two processes that
	 * have bound the same address at the same time, with SO_REUSEADDR, succeeds.
	 */
	for (unsigned i = 0; i < endpoint->n_fds; i++) {
		if (tcp)
			set_inherited(endpoint->fds[i], options);
		if (endpoint->passed)
			continue;
		if (listen(endpoint->fds[i], (int)options->backlog) < 0 ||
		    (tcp && set_int(endpoint->fds[i], SOL_SOCKET, SO_REUSEPORT, 1) < 0))
			return -errno;
	}
	return 0;
}

void endpoint_check_invariant(const struct endpoint *endpoint)
{
	assert(endpoint->n_fds > 0);
	assert(!endpoint->passed || !endpoint->stored_as);
	if (endpoint->state == ENDPOINT_NEW)
		assert(endpoint->next.needed && !endpoint->passed && !endpoint->stored_as);
	if (endpoint->state == ENDPOINT_RETIRED)
		assert(!endpoint->next.needed);
}

void endpoint_activate(struct endpoint *endpoint)
{
	states_move(states, &endpoint->state, ENDPOINT_ACTIVE);
}

void endpoint_retire(struct endpoint *endpoint)
{
	const char *path = own_file(endpoint);

	states_move(states, &endpoint->state, ENDPOINT_RETIRED);
	if (endpoint->passed)
		return;
	if (path)
		unlink(path);
	for (unsigned i = 0; is_tcp(&endpoint->bound) && i < endpoint->n_fds; i++)
		sock_retire(endpoint->fds[i]);
}

bool endpoint_is_own(const struct endpoint *endpoint)
{
	struct stat st;

	for (unsigned i = 0; i < endpoint->n_fds; i++)
		if (fstat(endpoint->fds[i], &st) < 0 || st.st_uid != geteuid())
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

/*
 * Returns whether both paths lead to the same name in the same directory, however they are spelled.
 */
static bool same_path(const char *a, const char *b)
{
	const char *ends[] = {strrchr(a, '/'), strrchr(b, '/')};
	struct stat directories[2];

	if (strcmp(a, b) == 0)
		return true;
	if (!ends[0] || !ends[1] || strcmp(ends[0], ends[1]) != 0)
		return false;
	for (int i = 0; i < 2; i++) {
		const char *path = i == 0 ? a : b;
		char directory[sizeof(struct sockaddr_un)];

		snprintf(directory, sizeof(directory), "%.*s", (int)(ends[i] - path + 1), path);
		if (stat(directory, &directories[i]) < 0)
			return false;
	}
	return directories[0].st_dev == directories[1].st_dev &&
	       directories[0].st_ino == directories[1].st_ino;
}

static bool same_socket(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (is_abstract(a) || is_abstract(b))
		return memcmp(a, b, sizeof(struct sockaddr_un)) == 0;
	return same_path(path_of(a), path_of(b));
}

bool endpoint_overlaps(const struct endpoint *endpoint, const struct sockaddr_storage *address)
{
	const struct sockaddr_storage *bound = &endpoint->bound;

	if (bound->ss_family != address->ss_family)
		return false;
	if (!is_tcp(bound))
		return same_socket(bound, address);
	return sockaddr_port(bound) == sockaddr_port(address) &&
	       (is_wildcard(bound) || is_wildcard(address) || same_host(bound, address));
}

bool endpoint_matches(const struct endpoint *endpoint, const struct sockaddr_storage *address,
		      const char *listener)
{
	struct sockaddr_storage any_port;

	if (endpoint->passed || endpoint->state == ENDPOINT_RETIRED ||
	    endpoint->bound.ss_family != address->ss_family)
		return false;
	if (!is_tcp(address))
		return same_socket(&endpoint->configured, address);
	if (memcmp(&endpoint->configured, address, endpoint->length) == 0)
		return true;
	/* an endpoint from the store does not record that the kernel chose its port */
	if (!endpoint->stored_as || strcmp(endpoint->listener, listener) != 0)
		return false;
	any_port = endpoint->configured;
	sockaddr_set_port(&any_port, 0);
	return memcmp(&any_port, address, endpoint->length) == 0;
}

void endpoint_destroy(struct endpoint *endpoint)
{
	const char *path;

	if (!endpoint)
		return;
	list_remove(&endpoint->node);
	path = own_file(endpoint);
	/* the next process uses the file of a stored socket */
	if (path && !endpoint->stored_as)
		unlink(path);
	for (unsigned i = 0; i < endpoint->n_fds; i++)
		close(endpoint->fds[i]);
	free(endpoint->fds);
	free(endpoint->stored_as);
	free(endpoint->listener);
	free(endpoint);
}
