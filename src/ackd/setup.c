#include "ackd/setup.h"

#include "ackd/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* How often another port is tried when the kernel's choice is taken on another address. */
#define PORT_TRIES 16

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
		const struct config_listener *l = &setup->config->listeners[i];
		const char *why;
		int resolved = resolve_listener(l, &setup->resolved[i], &why);

		if (resolved < 0) {
			fprintf(errors, "listener \"%s\": cannot resolve \"%s\": %s\n", l->name,
				l->address, why);
			r = resolved;
		}
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

/* ---- finding what is there ---- */

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

static bool bound_has(const struct bound *bound, const struct binding *binding)
{
	for (size_t i = 0; i < bound->n; i++)
		if (bound->items[i].binding == binding)
			return true;
	return false;
}

bool setup_matches(const struct binding *binding, const struct sockaddr_storage *address,
		   socklen_t length, const char *listener)
{
	struct sockaddr_storage configured = binding->configured;

	if (binding->passed || binding->length != length)
		return false;
	if (memcmp(&configured, address, length) == 0)
		return true;
	/* one from the store does not remember that its port was the kernel's choice */
	set_port(&configured, 0);
	return binding->stored_as && strcmp(binding->listener, listener) == 0 &&
	       memcmp(&configured, address, length) == 0;
}

/* The binding of @address: this listener's rather than one of a listener that has been renamed. */
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

static int bound_add(struct bound *bound, struct binding *binding, size_t listener, bool is_new)
{
	struct bound_listener *items =
		reallocarray(bound->items, bound->n + 1, sizeof(*bound->items));

	if (!items) {
		if (is_new)
			binding_destroy(binding);
		return -ENOMEM;
	}
	bound->items = items;
	bound->items[bound->n++] = (struct bound_listener){binding, listener, is_new};
	return 0;
}

void bound_finish(struct bound *bound, bool undo)
{
	for (size_t i = 0; i < bound->n; i++)
		if (undo && bound->items[i].is_new)
			binding_destroy(bound->items[i].binding);
	free(bound->items);
	*bound = (struct bound){0};
}

/* ---- binding ---- */

/* Whether @error says that this host does not have the address (rather than that it is taken). */
static bool is_lacking(int error)
{
	return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

static void explain(const struct setup *setup, const struct bound *bound, size_t listener,
		    const struct sockaddr_storage *address, int error, FILE *errors)
{
	const struct config_listener *l = &setup->config->listeners[listener];
	char text[ADDRESS_TEXT_MAX];

	fprintf(errors, "listener \"%s\": cannot listen on %s: %s", l->name,
		sockaddr_format((const struct sockaddr *)address, text), uv_strerror(error));
	for (size_t i = 0; i < bound->n; i++) {
		const struct binding *b = bound->items[i].binding;

		if (error == -EADDRINUSE && b->length == setup->resolved[listener].lengths[0] &&
		    memcmp(&b->bound, address, b->length) == 0) {
			fprintf(errors, " by listener \"%s\"", b->listener);
			break;
		}
	}
	if (error == -EEXIST)
		fputs(" and is not a socket", errors);
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

/*
 * Binds the addresses of listener @i. With port 0 all get the port that the kernel chose for the
 * first; -EAGAIN: it is taken on another one, try again.
 */
static int bind_listener(const struct setup *setup, size_t i, struct binding *current,
			 const struct binding_options *options, FILE *errors, struct bound *bound)
{
	const struct config_listener *l = &setup->config->listeners[i];
	const struct resolved *resolved = &setup->resolved[i];
	size_t before = bound->n;
	uint16_t port = l->port;
	int r = 0, last = -EADDRNOTAVAIL;

	for (size_t a = 0; a < resolved->n; a++) {
		const struct sockaddr_storage *wanted = &resolved->addresses[a];
		socklen_t length = resolved->lengths[a];
		struct binding *b = find_bound(current, bound, l->name, wanted, length);
		struct sockaddr_storage address = *wanted;
		bool is_new = !b;

		set_port(&address, port);
		if (is_new)
			r = binding_create(l->name, (struct sockaddr *)&address, length, options,
					   &b);
		if (r < 0 && resolved->lenient && is_lacking(r)) {
			notice_skipped(l->name, &address, r);
			last = r;
			r = 0;
			continue;
		}
		if (r == -EADDRINUSE && l->port == 0 && port != 0 && !l->path)
			return -EAGAIN;
		if (r < 0) {
			explain(setup, bound, i, &address, r, errors);
			return r;
		}
		b->configured = *wanted;
		port = l->path ? 0 : get_port(&b->bound);
		r = bound_add(bound, b, i, is_new);
		if (r < 0)
			return r;
	}
	if (bound->n > before)
		return 0;
	explain(setup, bound, i, &resolved->addresses[0], last, errors);
	return last;
}

/* Undoes what was bound after the first @n. */
static void bound_shrink(struct bound *bound, size_t n)
{
	while (bound->n > n) {
		bound->n--;
		if (bound->items[bound->n].is_new)
			binding_destroy(bound->items[bound->n].binding);
	}
}

/* Uses the sockets that were passed for listener @i. Returns how many, or a negative errno. */
static int use_passed(const struct setup *setup, size_t i, struct binding *current,
		      struct bound *bound)
{
	int n = 0;

	for (struct binding *b = current; b; b = b->next) {
		if (!b->passed || strcmp(b->listener, setup->config->listeners[i].name) != 0)
			continue;
		if (bound_add(bound, b, i, false) < 0)
			return -ENOMEM;
		n++;
	}
	return n;
}

static struct binding_options options_of(const struct setup *setup, size_t i, unsigned n_sockets)
{
	const struct config_listener *l = &setup->config->listeners[i];

	return (struct binding_options){
		.n_sockets = l->path ? 1 : n_sockets,
		.backlog = l->backlog,
		.freebind = l->freebind,
		.mode = l->mode,
		.idle_timeout_ms = setup->config->idle_timeout_ms,
	};
}

int setup_bind(const struct setup *setup, struct binding *current, unsigned n_sockets, FILE *errors,
	       struct bound *ret_bound)
{
	struct bound bound = {0};
	int r = 0;

	for (size_t i = 0; i < setup->config->n_listeners && r == 0; i++) {
		const struct binding_options options = options_of(setup, i, n_sockets);
		size_t before = bound.n;

		r = use_passed(setup, i, current, &bound);
		if (r != 0) {
			r = r < 0 ? r : 0;
			continue;
		}
		for (int tries = 0; tries < PORT_TRIES; tries++) {
			bound_shrink(&bound, before);
			r = bind_listener(setup, i, current, &options, errors, &bound);
			if (r != -EAGAIN)
				break;
		}
	}
	if (r < 0) {
		bound_finish(&bound, true);
		return r;
	}
	for (size_t i = 0; i < bound.n; i++) {
		const struct binding_options options =
			options_of(setup, bound.items[i].listener, n_sockets);

		binding_configure(bound.items[i].binding, &options);
	}
	*ret_bound = bound;
	return 0;
}
