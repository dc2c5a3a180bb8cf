/* Checks settings that depend on each other: within each listener first, then across listeners. */

#include "ackd/config/loader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct setting_source *source_of(const struct listener_sources *sources,
					      const char *name)
{
	return &sources->settings[setting_find(SCOPE_LISTENER, name)];
}

/*
 * Returns the place where the setting of listener @i was set, or the beginning of the listener if
 * it was not set.
 */
static struct config_place place_of(struct config_loader *loader, size_t i, const char *name)
{
	const struct listener_sources *sources = &loader->listeners[i];
	const struct setting_source *source = source_of(sources, name);
	struct config_place place = {
		.errors = &loader->errors,
		.file = source->file,
		.line = source->line,
		.order = source->order,
		.group = source->level == SOURCE_TOP ? "" : sources->group,
		.setting = name,
	};

	if (place.file == NULL) {
		place.file = sources->file != NULL ? sources->file : loader->config->path;
		place.line = sources->line;
		place.order = sources->order;
	}
	return place;
}

/* Writes the place of the setting @name of listener @i, for a message about a conflict with it. */
static const char *other_text(struct config_loader *loader, size_t i, const char *name,
			      char out[QUOTE_MAX])
{
	struct config_place place = place_of(loader, i, name);

	if (place.line > 0)
		snprintf(out, QUOTE_MAX, "%.100s:%u", place.file, place.line);
	else
		snprintf(out, QUOTE_MAX, "the default");
	return out;
}

static void clear_string(char **string)
{
	free(*string);
	*string = NULL;
}

/*
 * Decides between path and address: the last one set takes precedence. Both at the same level are
 * an error.
 */
static void check_socket(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	const struct listener_sources *sources = &loader->listeners[i];
	enum source_level path = source_of(sources, "path")->level;
	enum source_level address = source_of(sources, "address")->level;
	enum source_level port = source_of(sources, "port")->level;
	enum source_level last = address > port ? address : port;
	enum source_level own = loader->config->listed ? SOURCE_LISTENER : SOURCE_TOP;
	struct config_place place = place_of(loader, i, "path");

	if (path != SOURCE_DEFAULT && path == last)
		config_error(&place,
			     "found together with %s; allowed: a path, or an address and "
			     "a port",
			     address == last				? "address"
			     : source_of(sources, "port")->file != NULL ? "port"
									: "-p");
	if (l->path != NULL && path < last)
		clear_string(&l->path);
	if (l->path != NULL) {
		clear_string(&l->address);
		l->port = 0;
		place = place_of(loader, i, "freebind");
		if (l->freebind && source_of(sources, "freebind")->level >= path)
			config_error(&place, "found together with path; allowed: with an address");
		l->freebind = false;
	} else if (source_of(sources, "mode")->level == own && !source_of(sources, "mode")->bad &&
		   !source_of(sources, "path")->bad) {
		place = place_of(loader, i, "mode");
		config_error(&place, "found without path; allowed: with a path");
	}
}

static int template_error(const struct config_place *place, const struct template_error *error)
{
	char quoted[QUOTE_MAX];
	/* the text between the quotes */
	const char *name = config_quote(error->name, quoted) + 1;
	int n = (int)strlen(name) - 1;

	switch (error->fault) {
	case TEMPLATE_NO_MEMORY:
		return -ENOMEM;
	case TEMPLATE_UNKNOWN_VARIABLE:
		config_error(place,
			     "found ${%.*s}, which does not exist; allowed: ${peer}, ${host}, "
			     "${listener}, ${connection}, ${proxy_id}, ${authority}%s",
			     n, name,
			     strcmp(place->setting, "greeting") == 0
				     ? ""
				     : ", ${message}, ${bytes}, ${characters}");
		break;
	case TEMPLATE_VARIABLE_NOT_HERE:
		config_error(place,
			     "found ${%.*s}, which has no meaning before there is a message; "
			     "allowed: ${peer}, ${host}, ${listener}, ${connection}, ${proxy_id}, "
			     "${authority}",
			     n, name);
		break;
	case TEMPLATE_BAD_DOLLAR:
		config_error(place,
			     "found a $ that begins no ${name}, at byte %zu; "
			     "allowed: ${name}, or $$ for a dollar",
			     error->offset + 1);
		break;
	case TEMPLATE_NOT_ENCODABLE:
		config_error(place,
			     "found U+%04" PRIX32 ", which encoding.reply_charset lacks; "
			     "allowed: its characters",
			     error->code_point);
		break;
	case TEMPLATE_TOO_LONG:
		config_error(place, "can expand to %zu bytes; allowed: %d", error->length,
			     TEMPLATE_EXPANDED_MAX);
		break;
	case TEMPLATE_NOT_UTF_8:
	case TEMPLATE_OK:
		config_error(place, "found ill-formed UTF-8 at byte %zu; allowed: UTF-8",
			     error->offset + 1);
		break;
	}
	return 0;
}

static int check_template(struct config_loader *loader, size_t i, const char *name,
			  const char *source, unsigned variables, struct template **ret_template)
{
	const struct policy *policy = &loader->config->listeners[i].policy;
	const struct listener_sources *sources = &loader->listeners[i];
	struct config_place place = place_of(loader, i, name);
	struct template_error error;
	enum template_fault fault;

	if (source_of(sources, name)->bad || source_of(sources, "encoding.reply_charset")->bad)
		return 0;
	fault = template_compile(source, policy->transcoder.charset, variables, ret_template,
				 &error);
	return fault == TEMPLATE_OK ? 0 : template_error(&place, &error);
}

static int check_listener(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	const struct setting_source *name = source_of(&loader->listeners[i], "name");
	struct config_place place = place_of(loader, i, "name");
	int r;

	if (loader->config->listed && name->level == SOURCE_TOP)
		config_error(&place, "found at top level, with listeners; "
				     "allowed: in each of the listeners");
	else if (loader->config->listed && name->level == SOURCE_DEFAULT && !name->bad)
		config_error(&place, "found none; allowed: one, for each of the listeners");
	check_socket(loader, i);
	cidr_list_sort(&l->allow);
	cidr_list_sort(&l->deny);
	cidr_list_sort(&l->proxies);
	r = check_template(loader, i, "greeting", l->greeting, TEMPLATE_IN_GREETING,
			   &l->policy.greeting);
	if (r == 0)
		r = check_template(loader, i, "ack_prefix", l->ack_prefix, TEMPLATE_IN_REPLY,
				   &l->policy.ack_prefix);
	if (r == 0)
		r = check_template(loader, i, "ack_suffix", l->ack_suffix, TEMPLATE_IN_REPLY,
				   &l->policy.ack_suffix);
	l->policy.max_line_bytes = loader->config->max_line_bytes;
	l->policy.listener = l->name;
	l->policy.host = loader->config->host;
	return r;
}

/* An address in one address family. */
struct known_part {
	enum { PART_NONE, PART_ONE, PART_ANY } kind; /* ANY: 0.0.0.0 or :: */
	struct in6_addr bits;			     /* IPv4: the first four bytes */
};

/* The part of an address that is known without a name look-up. */
struct known_address {
	bool is_known; /* otherwise it is a name */
	struct known_part v4, v6;
};

static struct known_part know_part(int family, const char *text)
{
	struct known_part part = {.kind = PART_NONE};

	if (inet_pton(family, text, &part.bits) == 1)
		part.kind = memcmp(&part.bits, &in6addr_any, sizeof(part.bits)) == 0 ? PART_ANY
										     : PART_ONE;
	return part;
}

static struct known_address know_address(const char *text)
{
	bool all = strcmp(text, "*") == 0, localhost = strcasecmp(text, "localhost") == 0;
	struct known_address known = {
		.v4 = know_part(AF_INET, all	     ? "0.0.0.0"
					 : localhost ? "127.0.0.1"
						     : text),
		.v6 = know_part(AF_INET6, all	      ? "::"
					  : localhost ? "::1"
						      : text),
	};
	char v4[INET_ADDRSTRLEN];

	if (known.v6.kind == PART_ONE && IN6_IS_ADDR_V4MAPPED(&known.v6.bits)) {
		inet_ntop(AF_INET, &known.v6.bits.s6_addr[12], v4, sizeof(v4));
		known.v4 = know_part(AF_INET, v4);
		known.v6.kind = PART_NONE;
	}
	known.is_known = known.v4.kind != PART_NONE || known.v6.kind != PART_NONE;
	return known;
}

static bool parts_overlap(const struct known_part *a, const struct known_part *b)
{
	if (a->kind == PART_NONE || b->kind == PART_NONE)
		return false;
	return a->kind == PART_ANY || b->kind == PART_ANY ||
	       memcmp(&a->bits, &b->bits, sizeof(a->bits)) == 0;
}

/* Returns whether sockets at these addresses and the same port certainly conflict. */
static bool addresses_overlap(const char *a, const char *b)
{
	struct known_address known_a = know_address(a), known_b = know_address(b);

	if (strcmp(a, "*") == 0 || strcmp(b, "*") == 0)
		return true;
	if (!known_a.is_known && !known_b.is_known)
		return strcasecmp(a, b) == 0;
	return parts_overlap(&known_a.v4, &known_b.v4) || parts_overlap(&known_a.v6, &known_b.v6);
}

/* Returns whether listener @i has a fixed port, with valid address and port settings. */
static bool has_fixed_port(const struct config_loader *loader, size_t i)
{
	const struct listener_sources *sources = &loader->listeners[i];

	return loader->config->listeners[i].address != NULL &&
	       loader->config->listeners[i].port != 0 && !source_of(sources, "port")->bad &&
	       !source_of(sources, "address")->bad;
}

/* Reports settings of listener @i that conflict with the earlier listener @j. */
static void check_pair(struct config_loader *loader, size_t i, size_t j)
{
	const struct config_listener *a = &loader->config->listeners[j];
	const struct config_listener *b = &loader->config->listeners[i];
	const struct listener_sources *of_a = &loader->listeners[j], *of_b = &loader->listeners[i];
	struct config_place place;
	char other[QUOTE_MAX];

	if (source_of(of_a, "name")->level == SOURCE_LISTENER && !source_of(of_a, "name")->bad &&
	    source_of(of_b, "name")->level == SOURCE_LISTENER && !source_of(of_b, "name")->bad &&
	    strcmp(a->name, b->name) == 0) {
		place = place_of(loader, i, "name");
		config_error(&place, "found \"%s\" again, after %s; allowed: a name of its own",
			     b->name, other_text(loader, j, "name", other));
	}
	if (a->path != NULL && b->path != NULL && strcmp(a->path, b->path) == 0) {
		place = place_of(loader, i, "path");
		config_error(&place,
			     "found that of listener %zu (%s) again; "
			     "allowed: a path of its own",
			     j, other_text(loader, j, "path", other));
	}
	if (has_fixed_port(loader, i) && has_fixed_port(loader, j) && a->port == b->port &&
	    addresses_overlap(a->address, b->address)) {
		place = place_of(loader, i, "port");
		place.group = of_b->group;
		config_error(&place,
			     "found port %d on \"%s\", which listener %zu has on \"%s\" (%s); "
			     "allowed: an address and port of its own",
			     b->port, b->address, j, a->address,
			     other_text(loader, j, "port", other));
	}
}

/* Reports the first listener that uses the address and port of the metrics. */
static void check_metrics_pairs(struct config_loader *loader)
{
	const struct config *config = loader->config;
	const struct setting_source *port =
		&loader->sources[setting_find(SCOPE_DAEMON, "metrics.port")];
	const struct setting_source *address =
		&loader->sources[setting_find(SCOPE_DAEMON, "metrics.address")];
	struct config_place place = {
		.errors = &loader->errors,
		.file = port->file,
		.line = port->line,
		.order = port->order,
		.setting = "metrics.port",
	};
	char other[QUOTE_MAX];

	if (config->metrics_address == NULL || port->bad || address->bad)
		return;
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *l = &config->listeners[i];

		if (!has_fixed_port(loader, i) || l->port != config->metrics_port ||
		    !addresses_overlap(l->address, config->metrics_address))
			continue;
		config_error(&place,
			     "found port %d on \"%s\", which listener %zu has on \"%s\" (%s); "
			     "allowed: an address and port of its own",
			     config->metrics_port, config->metrics_address, i, l->address,
			     other_text(loader, i, "port", other));
		return;
	}
}

/* Checks that a metrics group has a port. The default address is localhost. */
static int check_metrics(struct config_loader *loader)
{
	const struct setting_source *address =
		&loader->sources[setting_find(SCOPE_DAEMON, "metrics.address")];
	const struct setting_source *port =
		&loader->sources[setting_find(SCOPE_DAEMON, "metrics.port")];
	struct config_place place = {
		.errors = &loader->errors,
		.file = address->file,
		.line = address->line,
		.order = address->order,
		.setting = "metrics.port",
	};

	if (address->level != SOURCE_DEFAULT && !address->bad && port->level == SOURCE_DEFAULT)
		config_error(&place, "found none; allowed: one, with metrics.address");
	if (address->level == SOURCE_DEFAULT && port->level != SOURCE_DEFAULT && !port->bad) {
		loader->config->metrics_address = strdup("localhost");
		if (loader->config->metrics_address == NULL)
			return -ENOMEM;
	}
	return 0;
}

int config_check(struct config_loader *loader)
{
	int r = check_metrics(loader);

	for (size_t i = 0; i < loader->config->n_listeners && r == 0; i++)
		r = check_listener(loader, i);
	for (size_t i = 0; i < loader->config->n_listeners && r == 0; i++) {
		for (size_t j = 0; j < i; j++)
			check_pair(loader, i, j);
	}
	if (r == 0)
		check_metrics_pairs(loader);
	return r;
}
