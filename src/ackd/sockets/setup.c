#include "ackd/sockets/setup.h"

#include "ackd/log/log.h"

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

/* Resolves the addresses of one listener. Errors are written to @errors as lines. */
static int resolve(const struct config_listener *listener, struct resolved *ret_resolved,
		   FILE *errors)
{
	const char *why;
	int r = resolve_listener(listener, ret_resolved, &why);

	if (r < 0)
		fprintf(errors, "listener \"%s\": cannot resolve \"%s\": %s\n", listener->name,
			listener->address, why);
	return r;
}

int setup_prepare(const char *path, int port, FILE *errors, struct setup **ret_setup)
{
	struct setup *setup = calloc(1, sizeof(*setup));
	int r;

	if (!setup)
		return -ENOMEM;
	r = config_load(path, port, errors, &setup->config);
	if (r < 0)
		goto fail;
	setup->resolved = calloc(setup->config->n_listeners, sizeof(*setup->resolved));
	if (!setup->resolved) {
		r = -ENOMEM;
		goto fail;
	}
	for (size_t i = 0; i < setup->config->n_listeners; i++) {
		int resolved = resolve(&setup->config->listeners[i], &setup->resolved[i], errors);

		r = resolved < 0 ? resolved : r;
	}
	if (setup->config->metrics_address) {
		static char name[] = "metrics";
		int resolved;

		setup->metrics = (struct config_listener){
			.name = name,
			.address = setup->config->metrics_address,
			.port = setup->config->metrics_port,
		};
		resolved = resolve(&setup->metrics, &setup->metrics_resolved, errors);
		r = resolved < 0 ? resolved : r;
	}
	if (r < 0)
		goto fail;
	*ret_setup = setup;
	return 0;

fail:
	setup_destroy(setup);
	return r;
}

void setup_destroy(struct setup *setup)
{
	if (!setup)
		return;
	config_unref(setup->config);
	free(setup->resolved);
	free(setup);
}

/* ---- finding existing sockets ---- */

static uint16_t get_port(const struct sockaddr_storage *address)
{
	return address_from_sockaddr((const struct sockaddr *)address).port;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)address)->sin_port = htons(port);
	else if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

bool setup_matches(const struct binding *binding, const struct sockaddr_storage *address,
		   socklen_t length, const char *listener)
{
	struct sockaddr_storage configured = binding->configured;

	if (binding->passed || binding->retired || binding->length != length)
		return false;
	if (memcmp(&configured, address, length) == 0)
		return true;
	/* a binding from the store does not record that the kernel chose its port */
	set_port(&configured, 0);
	return binding->stored_as && strcmp(binding->listener, listener) == 0 &&
	       memcmp(&configured, address, length) == 0;
}

/*
 * Returns the binding of @address, preferably this listener's, otherwise that of a renamed
 * listener.
 */
static struct binding *find_bound(struct binding *current, const struct bound *bound,
				  const char *listener, const struct sockaddr_storage *address,
				  socklen_t length)
{
	struct binding *found = NULL;

	for (struct binding *b = current; b; b = b->next) {
		if (!setup_matches(b, address, length, listener) || bound_has(bound, b))
			continue;
		if (strcmp(b->listener, listener) == 0)
			return b;
		found = b;
	}
	return found;
}

/* Returns whether @binding belongs to @listener, at one of its addresses. */
static bool listener_wants(const struct config_listener *listener, const struct resolved *resolved,
			   const struct binding *binding)
{
	for (size_t a = 0; a < resolved->n; a++)
		if (setup_matches(binding, &resolved->addresses[a], resolved->lengths[a],
				  listener->name))
			return true;
	return false;
}

/* Returns whether @setup still needs @binding, which belongs to a listener. */
static bool listeners_want(const struct setup *setup, const struct binding *binding)
{
	for (size_t i = 0; i < setup->config->n_listeners; i++)
		if (binding->passed
			    ? strcmp(binding->listener, setup->config->listeners[i].name) == 0
			    : listener_wants(&setup->config->listeners[i], &setup->resolved[i],
					     binding))
			return true;
	return false;
}

size_t setup_successor(const struct setup *setup, const struct binding *binding)
{
	const struct config *config = setup->config;
	uint16_t port = get_port(&binding->bound);
	size_t i = 0;

	while (i < config->n_listeners && strcmp(config->listeners[i].name, binding->listener) != 0)
		i++;
	if (i < config->n_listeners || port == 0)
		return i;
	for (i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].port == port)
			break;
	return i;
}

/* ---- binding ---- */

/* The existing sockets when a listener is bound. */
struct existing {
	const struct setup *setup;
	const struct bindings *current;
	const struct bound *bound; /* sockets of other listeners of the setup; NULL: none */
};

/* Returns the first of @bound whose address overlaps @address, or NULL. */
static const struct binding *find_overlap(const struct bound *bound,
					  const struct sockaddr_storage *address, socklen_t length)
{
	for (size_t i = 0; bound && i < bound->n; i++)
		if (binding_overlaps(bound->items[i].binding, address, length))
			return bound->items[i].binding;
	return NULL;
}

/*
 * Checks @address for conflicts. Returns our own binding that conflicts and is kept, or NULL
 * without a conflict. If it returns NULL, *@ret_shared is whether @address overlaps a binding that
 * is no longer needed.
 */
static const struct binding *check_overlap(const struct existing *existing,
					   const struct bound *bound,
					   const struct sockaddr_storage *address, socklen_t length,
					   bool *ret_shared)
{
	const struct setup *setup = existing->setup;
	const struct binding *b = find_overlap(bound, address, length);
	bool shared = false;

	if (!b)
		b = find_overlap(existing->bound, address, length);
	if (b)
		return b;
	for (b = existing->current->listeners; b; b = b->next) {
		if (!binding_overlaps(b, address, length))
			continue;
		if (b->passed || listeners_want(setup, b))
			return b;
		shared = true;
	}
	for (b = existing->current->metrics; b; b = b->next) {
		if (!binding_overlaps(b, address, length))
			continue;
		if (listener_wants(&setup->metrics, &setup->metrics_resolved, b))
			return b;
		shared = true;
	}
	*ret_shared = shared;
	return NULL;
}

/* A listener and how to bind it. */
struct wanted {
	const struct config_listener *listener;
	const struct resolved *resolved;
	size_t index;		    /* in the configuration */
	struct binding *candidates; /* list of bindings that may be reused */
	const struct existing *existing;
	struct binding_options options;
};

/*
 * Returns whether @error means that this host does not have the address, rather than that it is in
 * use.
 */
static bool is_lacking(int error)
{
	return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

/* Writes advice after an address of a listener could not be bound. */
static void advise(const struct wanted *wanted, const struct sockaddr_storage *address, int error,
		   FILE *errors)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const char *directory = getenv("RUNTIME_DIRECTORY");
	bool metrics = wanted->listener == &wanted->existing->setup->metrics;

	if (error == -EADDRNOTAVAIL && address->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) && in6->sin6_scope_id == 0)
		fputs("; a link-local address needs its zone, as in fe80::1%eth0", errors);
	else if (error == -EADDRNOTAVAIL && !wanted->listener->freebind && !metrics)
		fputs("; freebind = true listens on an address that the host does not have yet",
		      errors);
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

/* @by: our own conflicting binding, or NULL. */
static void explain(const struct wanted *wanted, const struct sockaddr_storage *address, int error,
		    const struct binding *by, FILE *errors)
{
	char text[ADDRESS_TEXT_MAX];

	fprintf(errors, "listener \"%s\": cannot listen on %s: %s", wanted->listener->name,
		sockaddr_format((const struct sockaddr *)address, text), uv_strerror(error));
	if (by)
		fprintf(errors, " by listener \"%s\" on %s", by->listener,
			sockaddr_format((const struct sockaddr *)&by->bound, text));
	if (error == -EEXIST)
		fputs(" and is not a socket", errors);
	advise(wanted, address, error, errors);
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

/*
 * Binds one address. Returns 0 and *@ret_binding, or a negative errno; *@ret_by is our own
 * conflicting binding, or NULL.
 */
static int bind_address(const struct wanted *wanted, const struct bound *bound,
			const struct sockaddr_storage *address, socklen_t length,
			struct binding **ret_binding, const struct binding **ret_by)
{
	struct binding_options options = wanted->options;

	*ret_by = check_overlap(wanted->existing, bound, address, length, &options.shared);
	if (*ret_by)
		return -EADDRINUSE;
	return binding_create(wanted->listener->name, (const struct sockaddr *)address, length,
			      &options, ret_binding);
}

/*
 * Binds the addresses of one listener. With port 0 all get the port that the kernel chose for the
 * first. Returns -EAGAIN if that port is in use on another address, so that the caller tries again.
 */
static int bind_listener(const struct wanted *wanted, FILE *errors, struct bound *bound)
{
	const struct config_listener *l = wanted->listener;
	const struct resolved *resolved = wanted->resolved;
	size_t before = bound->n;
	uint16_t port = l->port;
	int r = 0, last = -EADDRNOTAVAIL;

	for (size_t a = 0; a < resolved->n; a++) {
		const struct sockaddr_storage *asked = &resolved->addresses[a];
		socklen_t length = resolved->lengths[a];
		struct binding *b = find_bound(wanted->candidates, bound, l->name, asked, length);
		const struct binding *by = NULL;
		struct sockaddr_storage address = *asked;
		bool is_new = !b;

		set_port(&address, port);
		if (is_new)
			r = bind_address(wanted, bound, &address, length, &b, &by);
		if (r < 0 && resolved->lenient && is_lacking(r)) {
			notice_skipped(l->name, &address, r);
			last = r;
			r = 0;
			continue;
		}
		if (r == -EADDRINUSE && l->port == 0 && port != 0 && !l->path)
			return -EAGAIN;
		if (r < 0) {
			explain(wanted, &address, r, by, errors);
			return r;
		}
		port = l->path ? 0 : get_port(&b->bound);
		r = bound_add(bound, &(struct bound_listener){b, *asked, wanted->index, is_new});
		if (r < 0)
			return r;
	}
	if (bound->n > before && resolved->n_left_out > 0)
		notice_left_out(l, resolved);
	if (bound->n > before && l->path && systemd_is_private(l->path))
		warn_private(l);
	if (bound->n > before)
		return 0;
	explain(wanted, &resolved->addresses[0], last, NULL, errors);
	return last;
}

/* Returns @r. On success gives @bound to the caller, otherwise undoes it. */
static int bound_return(struct bound *bound, int r, struct bound *ret_bound)
{
	if (r < 0) {
		bound_shrink(bound, 0);
		bound_release(bound);
	} else {
		*ret_bound = *bound;
	}
	return r;
}

/* Binds a listener, using the same port on all its addresses. */
static int bind_with_one_port(const struct wanted *wanted, FILE *errors, struct bound *bound)
{
	size_t before = bound->n;
	int r = -EAGAIN;

	for (int tries = 0; tries < PORT_TRIES && r == -EAGAIN; tries++) {
		bound_shrink(bound, before);
		r = bind_listener(wanted, errors, bound);
	}
	return r;
}

/* Uses the sockets that were passed for listener @i. Returns their number, or a negative errno. */
static int use_passed(const struct setup *setup, size_t i, struct binding *current,
		      struct bound *bound)
{
	int n = 0;

	for (struct binding *b = current; b; b = b->next) {
		if (!b->passed || strcmp(b->listener, setup->config->listeners[i].name) != 0)
			continue;
		if (bound_add(bound, &(struct bound_listener){b, b->configured, i, false}) < 0)
			return -ENOMEM;
		n++;
	}
	return n;
}

static struct binding_options options_of(const struct config *config, size_t i, unsigned n_sockets)
{
	const struct config_listener *l = &config->listeners[i];

	return (struct binding_options){
		.n_sockets = l->path ? 1 : n_sockets,
		.backlog = l->backlog,
		.freebind = l->freebind,
		.mode = l->mode,
		.idle_timeout_ms = config->idle_timeout_ms,
	};
}

int setup_bind(const struct setup *setup, const struct bindings *current, unsigned n_sockets,
	       FILE *errors, struct bound *ret_bound)
{
	const struct existing existing = {.setup = setup, .current = current};
	struct bound bound = {0};
	int r = 0;

	for (size_t i = 0; i < setup->config->n_listeners && r == 0; i++) {
		const struct wanted wanted = {
			.listener = &setup->config->listeners[i],
			.resolved = &setup->resolved[i],
			.index = i,
			.candidates = current->listeners,
			.existing = &existing,
			.options = options_of(setup->config, i, n_sockets),
		};

		r = use_passed(setup, i, current->listeners, &bound);
		if (r != 0) {
			r = r < 0 ? r : 0;
			continue;
		}
		r = bind_with_one_port(&wanted, errors, &bound);
	}
	return bound_return(&bound, r, ret_bound);
}

int bound_listen(const struct bound *bound, const struct config *config)
{
	for (size_t i = 0; i < bound->n; i++) {
		const struct bound_listener *item = &bound->items[i];
		const struct binding_options options =
			options_of(config, item->listener, item->binding->n_fds);
		int r = item->is_new ? binding_listen(item->binding, &options) : 0;
		char text[ADDRESS_TEXT_MAX];

		if (r == 0)
			continue;
		sockaddr_format((const struct sockaddr *)&item->binding->bound, text);
		log_post_at(LOG_LEVEL_ERROR, LOG_LISTEN, NULL,
			    "listener \"%s\": cannot listen on %s: %s", item->binding->listener,
			    text, uv_strerror(r));
		return r;
	}
	return 0;
}

void bound_configure(const struct bound *bound, const struct config *config)
{
	for (size_t i = 0; i < bound->n; i++) {
		const struct bound_listener *item = &bound->items[i];
		const struct binding_options options =
			options_of(config, item->listener, item->binding->n_fds);

		binding_configure(item->binding, &options);
	}
}

int setup_bind_metrics(const struct setup *setup, const struct bindings *current,
		       const struct bound *listeners, FILE *errors, struct bound *ret_bound)
{
	const struct existing existing = {.setup = setup, .current = current, .bound = listeners};
	const struct wanted wanted = {
		.listener = &setup->metrics,
		.resolved = &setup->metrics_resolved,
		.candidates = current->metrics,
		.existing = &existing,
		.options = {.n_sockets = 1, .backlog = METRICS_BACKLOG},
	};
	struct bound bound = {0};
	int r = 0;

	if (setup->metrics.address)
		r = bind_with_one_port(&wanted, errors, &bound);
	for (size_t i = 0; i < bound.n && r == 0; i++)
		if (bound.items[i].is_new)
			r = binding_listen(bound.items[i].binding, &wanted.options);
	return bound_return(&bound, r, ret_bound);
}
