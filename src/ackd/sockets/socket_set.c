#include "ackd/sockets/socket_set.h"

#include "ackd/log/log.h"
#include "ackd/sockets/store.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/*
 * How many ports are tried when the kernel's choice is in use on another address of the listener.
 */
#define PORT_TRIES 16

/*
 * Backlog of the metrics sockets: few clients scrape, but a connection attempt that finds the queue
 * full is retried by the kernel only after a second. The kernel applies net.core.somaxconn.
 */
#define METRICS_BACKLOG 4096

/* The missing addresses of a change are being bound. */
struct binding {
	struct socket_set *set;
	const struct candidate *candidate;
	unsigned n_sockets; /* per TCP address of a listener */
	FILE *errors;
};

static bool is_metrics(const struct config *config, size_t user)
{
	return user == config->n_listeners;
}

void socket_set_check_invariant(const struct socket_set *set)
{
	const struct endpoint *e;

	list_for_each (e, &set->endpoints, node)
		endpoint_check_invariant(e);
}

/* ---- choosing existing sockets ---- */

static void use(struct endpoint *endpoint, size_t user, const struct sockaddr_storage *configured)
{
	endpoint->next.needed = true;
	endpoint->next.user = user;
	endpoint->next.configured = *configured;
}

/* Returns the endpoint that @user gets for @configured, or NULL. */
static struct endpoint *find_used(const struct socket_set *set, size_t user,
				  const struct sockaddr_storage *configured)
{
	struct endpoint *e;

	list_for_each (e, &set->endpoints, node)
		if (e->next.needed && e->next.user == user &&
		    memcmp(&e->next.configured, configured, sizeof(*configured)) == 0)
			return e;
	return NULL;
}

/* Gives @user the sockets that were passed for it. Returns whether there are any. */
static bool choose_passed(struct socket_set *set, const struct config *config, size_t user)
{
	struct endpoint *e;
	bool found = false;

	list_for_each (e, &set->endpoints, node) {
		if (is_metrics(config, user) || !e->passed ||
		    strcmp(e->listener, config->listeners[user].name) != 0)
			continue;
		use(e, user, &e->configured);
		found = true;
	}
	return found;
}

/*
 * Gives @user an existing endpoint for @configured: one of its own, or with @any that of another
 * listener or of the metrics.
 */
static void choose(struct socket_set *set, const struct candidate *candidate, size_t user,
		   const struct sockaddr_storage *configured, bool any)
{
	const char *name = config_user(candidate->config, user)->name;
	struct endpoint *e;

	list_for_each (e, &set->endpoints, node) {
		bool own = e->metrics == is_metrics(candidate->config, user) &&
			   strcmp(e->listener, name) == 0;

		if (!e->next.needed && (own || any) && endpoint_matches(e, configured, name)) {
			use(e, user, configured);
			return;
		}
	}
}

/* Gives all users their own endpoints first, and then those that have become free. */
static void choose_all(struct socket_set *set, const struct candidate *candidate)
{
	struct endpoint *e;

	list_for_each (e, &set->endpoints, node)
		e->next.needed = false;
	for (int any = 0; any < 2; any++)
		for (size_t user = 0; user <= candidate->config->n_listeners; user++) {
			const struct resolved *resolved = &candidate->resolved[user];

			if (choose_passed(set, candidate->config, user))
				continue;
			for (size_t a = 0; a < resolved->n; a++)
				if (!any || !find_used(set, user, &resolved->addresses[a]))
					choose(set, candidate, user, &resolved->addresses[a], any);
		}
}

size_t socket_set_successor(const struct config *config, const struct endpoint *endpoint)
{
	uint16_t port = sockaddr_port(&endpoint->bound);
	size_t i = config_find_listener(config, endpoint->listener);

	if (i < config->n_listeners || port == 0)
		return i;
	for (i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].port == port)
			break;
	return i;
}

/*
 * Closes inherited endpoints that are not needed, if they have no successor or if no other socket
 * can be bound beside them.
 */
static void drop_inherited(struct socket_set *set, const struct config *config)
{
	struct endpoint *e, *after;
	bool dropped = false;

	list_for_each_safe (e, after, &set->endpoints, node) {
		if (e->next.needed || !e->stored_as || e->state == ENDPOINT_ACTIVE ||
		    (socket_set_successor(config, e) < config->n_listeners && endpoint_is_own(e)))
			continue;
		store_forget(e, &set->endpoints);
		endpoint_destroy(e);
		dropped = true;
	}
	if (dropped) /* the manager closes its copies when it handles the removal */
		systemd_barrier();
}

/* ---- messages ---- */

/*
 * Returns whether @error means that this host does not have the address, rather than that it is in
 * use.
 */
static bool is_absent(int error)
{
	return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

/* Writes advice after an address could not be bound. */
static void advise(const struct binding *binding, size_t user,
		   const struct sockaddr_storage *address, int error)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const char *directory = getenv("RUNTIME_DIRECTORY");
	FILE *errors = binding->errors;

	if (error == -EADDRNOTAVAIL && address->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) && in6->sin6_scope_id == 0)
		fputs("; a link-local address needs its zone, as in fe80::1%eth0", errors);
	else if (error == -EADDRNOTAVAIL && !is_metrics(binding->candidate->config, user) &&
		 !config_user(binding->candidate->config, user)->freebind)
		fputs("; freebind = true listens on an address that the host does not have yet",
		      errors);
	else if (error == -ENOPROTOOPT)
		fputs("; this system does not support freebind", errors);
	else if (error == -EACCES && address->ss_family != AF_UNIX)
		fputs("; a port below 1024 needs CAP_NET_BIND_SERVICE, or a socket unit: see \"A "
		      "port below 1024\" in ackd(8)",
		      errors);
	else if (address->ss_family == AF_UNIX && directory &&
		 (error == -EROFS || error == -EACCES || error == -EPERM || error == -ENOENT))
		fprintf(errors,
			"; the service can create sockets in %s, and a socket unit can anywhere: "
			"see \"A UNIX socket that every user reaches\" in ackd(8)",
			directory);
}

/* Reports that @user cannot listen on @address. @by: our own conflicting endpoint, or NULL. */
static void explain(const struct binding *binding, size_t user,
		    const struct sockaddr_storage *address, int error, const struct endpoint *by)
{
	char text[ADDRESS_TEXT_MAX];
	FILE *errors = binding->errors;

	fprintf(errors, "listener \"%s\": cannot listen on %s: %s",
		config_user(binding->candidate->config, user)->name,
		sockaddr_format((const struct sockaddr *)address, text), uv_strerror(error));
	if (by)
		fprintf(errors, " by listener \"%s\" on %s", by->listener,
			sockaddr_format((const struct sockaddr *)&by->bound, text));
	if (error == -EEXIST)
		fputs(" and is not a socket", errors);
	advise(binding, user, address, error);
	fputc('\n', errors);
}

static void notice_skipped(const char *listener, const struct sockaddr_storage *address, int error)
{
	char text[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = listener,
		.address = sockaddr_format((const struct sockaddr *)address, text),
		.reason = uv_strerror(error),
	};

	log_post_at(LOG_LEVEL_NOTICE, LOG_LISTEN, &fields, "%s: not listening on %s: %s", listener,
		    text, fields.reason);
}

static void warn_private(const struct config_listener *listener)
{
	const struct log_fields fields = {
		.listener = listener->name,
		.address = listener->path,
	};

	log_post_at(LOG_LEVEL_WARNING, LOG_LISTEN, &fields,
		    "%s: unix:%s cannot be reached from outside of the service, which has a "
		    "directory of its own there (PrivateTmp= of the unit); use a path in %s",
		    listener->name, listener->path,
		    getenv("RUNTIME_DIRECTORY") ? getenv("RUNTIME_DIRECTORY") : "/run");
}

static void notice_left_out(const struct config_listener *listener, const struct resolved *resolved)
{
	const struct log_fields fields = {
		.listener = listener->name,
		.address = listener->address,
	};

	log_post_at(LOG_LEVEL_NOTICE, LOG_LISTEN, &fields,
		    "%s: \"%s\" has %zu addresses; listening on the first %d, %zu left out",
		    listener->name, listener->address, resolved->n + resolved->n_left_out,
		    RESOLVED_MAX, resolved->n_left_out);
}

static void log_listening(const struct endpoint *endpoint)
{
	char text[ADDRESS_TEXT_MAX];
	struct log_fields fields = {
		.listener = endpoint->listener,
		.address = sockaddr_format((const struct sockaddr *)&endpoint->bound, text),
	};

	log_post(LOG_LISTEN, &fields, "%s: listening on %s", endpoint->listener, text);
}

/* ---- binding ---- */

static struct endpoint_options options_of(const struct config *config, size_t user,
					  unsigned n_sockets)
{
	const struct config_listener *l = config_user(config, user);

	if (is_metrics(config, user))
		return (struct endpoint_options){.n_sockets = 1, .backlog = METRICS_BACKLOG};
	return (struct endpoint_options){
		.n_sockets = l->path ? 1 : n_sockets,
		.backlog = l->backlog,
		.freebind = l->freebind,
		.mode = l->mode,
		.idle_timeout_ms = config->idle_timeout_ms,
		.keepalive_s = l->keepalive_s,
	};
}

/*
 * Returns the endpoint that conflicts with @address and remains, or NULL. *@ret_shared is whether
 * @address overlaps an endpoint that is no longer needed.
 */
static struct endpoint *find_conflict(const struct socket_set *set,
				      const struct sockaddr_storage *address, bool *ret_shared)
{
	struct endpoint *e;

	*ret_shared = false;
	list_for_each (e, &set->endpoints, node) {
		if (!endpoint_overlaps(e, address))
			continue;
		if (e->passed || e->next.needed)
			return e;
		*ret_shared = true;
	}
	return NULL;
}

/*
 * Binds @address for @user, as the first of its addresses with port 0 decides the port. Returns 0
 * and *@ret_endpoint, or a negative errno and *@ret_by: our own conflicting endpoint, or NULL.
 */
static int bind_address(const struct binding *binding, size_t user,
			const struct sockaddr_storage *address, socklen_t length,
			struct endpoint **ret_endpoint, struct endpoint **ret_by)
{
	struct endpoint_options options =
		options_of(binding->candidate->config, user, binding->n_sockets);
	int r;

	*ret_by = find_conflict(binding->set, address, &options.shared);
	if (*ret_by)
		return -EADDRINUSE;
	r = endpoint_create(config_user(binding->candidate->config, user)->name,
			    (const struct sockaddr *)address, length, &options, ret_endpoint);
	if (r == 0)
		list_append(&binding->set->endpoints, &(*ret_endpoint)->node);
	return r;
}

/*
 * Binds the missing addresses of @user. With port 0 all get the port that the kernel chose for the
 * first. Unless this is the @last_try, returns -EAGAIN without an error line if that port is in use
 * on another address.
 */
static int bind_user(const struct binding *binding, size_t user, bool last_try)
{
	const struct config_listener *l = config_user(binding->candidate->config, user);
	const struct resolved *resolved = &binding->candidate->resolved[user];
	uint16_t port = l->port;
	int last = 0;
	size_t n = 0;

	for (size_t a = 0; a < resolved->n; a++) {
		struct sockaddr_storage address = resolved->addresses[a];
		struct endpoint *e = find_used(binding->set, user, &address), *by = NULL;
		int r = 0;

		sockaddr_set_port(&address, port);
		if (!e) {
			r = bind_address(binding, user, &address, resolved->lengths[a], &e, &by);
			if (r == 0)
				use(e, user, &resolved->addresses[a]);
		}
		if (r < 0 && resolved->lenient && is_absent(r)) {
			notice_skipped(l->name, &address, r);
			last = r;
			continue;
		}
		if (r == -EADDRINUSE && l->port == 0 && port != 0 && !last_try)
			return -EAGAIN;
		if (r < 0) {
			explain(binding, user, &address, r, by);
			return r;
		}
		port = sockaddr_port(&e->bound);
		n++;
	}
	if (n > 0 && resolved->n_left_out > 0)
		notice_left_out(l, resolved);
	if (n > 0 && l->path && systemd_is_private(l->path))
		warn_private(l);
	if (n == 0 && resolved->n > 0)
		explain(binding, user, &resolved->addresses[0], last, NULL);
	return n > 0 ? 0 : last;
}

/* Closes the new endpoints of @user. */
static void unbind_user(struct socket_set *set, size_t user)
{
	struct endpoint *e, *after;

	list_for_each_safe (e, after, &set->endpoints, node)
		if (e->state == ENDPOINT_NEW && e->next.user == user)
			endpoint_destroy(e);
}

int socket_set_bind(struct socket_set *set, const struct candidate *candidate, unsigned n_handed,
		    unsigned max_sockets, FILE *errors)
{
	const struct config *config = candidate->config;
	struct binding binding = {.set = set, .candidate = candidate, .errors = errors};
	int r = 0;

	choose_all(set, candidate);
	drop_inherited(set, config);
	binding.n_sockets = store_share(candidate, &set->endpoints, n_handed, max_sockets);
	for (size_t user = 0; user <= config->n_listeners && r == 0; user++) {
		if (!is_metrics(config, user) &&
		    endpoint_find_passed(&set->endpoints, config->listeners[user].name))
			continue;
		r = bind_user(&binding, user, false);
		for (int tries = 1; tries < PORT_TRIES && r == -EAGAIN; tries++) {
			unbind_user(set, user);
			r = bind_user(&binding, user, tries == PORT_TRIES - 1);
		}
	}
	if (r < 0)
		socket_set_rollback(set);
	socket_set_check_invariant(set);
	return r;
}

int socket_set_listen(struct socket_set *set, const struct config *config)
{
	char text[ADDRESS_TEXT_MAX];
	struct endpoint *e;

	list_for_each (e, &set->endpoints, node) {
		struct endpoint_options options;
		int r;

		if (e->state != ENDPOINT_NEW)
			continue;
		options = options_of(config, e->next.user, e->n_fds);
		r = endpoint_listen(e, &options);
		if (r == 0)
			continue;
		log_post_at(LOG_LEVEL_ERROR, LOG_LISTEN, NULL,
			    "listener \"%s\": cannot listen on %s: %s", e->listener,
			    sockaddr_format((const struct sockaddr *)&e->bound, text),
			    uv_strerror(r));
		return r;
	}
	return 0;
}

/* ---- the result of a change ---- */

static void rename_endpoint(struct endpoint *endpoint, const char *name)
{
	char *copy;

	if (strcmp(endpoint->listener, name) == 0)
		return;
	copy = strdup(name);
	if (!copy)
		return; /* harmless: only the choice between equal addresses in the next reload
			   depends on it */
	free(endpoint->listener);
	endpoint->listener = copy;
}

static void commit(struct endpoint *endpoint, const struct config *config)
{
	size_t user = endpoint->next.user;
	const struct endpoint_options options = options_of(config, user, endpoint->n_fds);
	bool was_active = endpoint->state == ENDPOINT_ACTIVE;

	endpoint->next.needed = false;
	endpoint->configured = endpoint->next.configured;
	endpoint->metrics = is_metrics(config, user);
	if (endpoint->state != ENDPOINT_NEW) /* which listens already */
		endpoint_listen(endpoint, &options);
	endpoint_activate(endpoint);
	rename_endpoint(endpoint, config_user(config, user)->name);
	if (!was_active)
		log_listening(endpoint);
}

void socket_set_commit(struct socket_set *set, const struct config *config)
{
	struct endpoint *e;

	list_for_each (e, &set->endpoints, node) {
		if (e->next.needed)
			commit(e, config);
		else
			endpoint_retire(e);
	}
	socket_set_check_invariant(set);
}

void socket_set_rollback(struct socket_set *set)
{
	struct endpoint *e, *after;

	list_for_each_safe (e, after, &set->endpoints, node) {
		e->next.needed = false;
		if (e->state == ENDPOINT_NEW)
			endpoint_destroy(e);
	}
}

/* ---- the life of the set ---- */

void socket_set_init(struct socket_set *set)
{
	list_init(&set->endpoints);
}

bool socket_set_has_retired(const struct socket_set *set)
{
	const struct endpoint *e;

	list_for_each (e, &set->endpoints, node)
		if (e->state == ENDPOINT_RETIRED)
			return true;
	return false;
}

void socket_set_close_retired(struct socket_set *set)
{
	struct endpoint *e, *after;

	list_for_each_safe (e, after, &set->endpoints, node) {
		if (e->state != ENDPOINT_RETIRED)
			continue;
		store_forget(e, &set->endpoints);
		endpoint_destroy(e);
	}
}

void socket_set_close_listeners(struct socket_set *set)
{
	struct endpoint *e, *after;

	list_for_each_safe (e, after, &set->endpoints, node)
		if (!e->metrics)
			endpoint_destroy(e);
}

void socket_set_finish(struct socket_set *set)
{
	struct endpoint *e, *after;

	list_for_each_safe (e, after, &set->endpoints, node)
		endpoint_destroy(e);
}
