/* Checks settings that depend on each other: within each listener first, then across listeners. */

#include "ackd/config/internal.h"
#include "base/plural.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const struct setting_source *source_of(const struct config_loader *loader, size_t i,
					      const char *name)
{
	return &loader->listeners[i].settings[setting_find(SCOPE_LISTENER, name)];
}

static const struct setting_source *daemon_source(const struct config_loader *loader,
						  const char *name)
{
	return &loader->sources[setting_find(SCOPE_DAEMON, name)];
}

/*
 * Returns the place where the setting of listener @i was set, or the beginning of the listener if
 * it was not set.
 */
static struct config_place place_of(struct config_loader *loader, size_t i, const char *name)
{
	const struct setting_source *source = source_of(loader, i, name);
	bool in_group = loader->config->listed && source->level != SOURCE_TOP &&
			source->level != SOURCE_OPTION;

	return (struct config_place){
		&loader->errors,
		source->line > 0 ? source->line : loader->listeners[i].line,
		in_group ? (int)i : -1,
		name,
	};
}

/*
 * Returns whether the setting of listener @i was set for this listener alone, and without an error.
 * Others may be for the listeners that use them.
 */
static bool is_own(const struct config_loader *loader, size_t i, const char *name)
{
	const struct setting_source *source = source_of(loader, i, name);

	if (source->bad || source->level == SOURCE_DEFAULT)
		return false;
	return !loader->config->listed || source->level == SOURCE_LISTENER ||
	       source->level == SOURCE_OPTION_LISTENER;
}

/* Writes the place of the setting @name of listener @i, for a message about a conflict with it. */
static const char *other_text(struct config_loader *loader, size_t i, const char *name,
			      char out[QUOTE_MAX])
{
	struct config_origin origin =
		config_errors_origin(&loader->errors, place_of(loader, i, name).line);

	if (origin.file && origin.line > 0)
		snprintf(out, QUOTE_MAX, "%.100s:%u", origin.file, origin.line);
	else if (origin.file)
		snprintf(out, QUOTE_MAX, "%.100s", origin.file);
	else
		snprintf(out, QUOTE_MAX, "the default");
	return out;
}

/*
 * Reports the setting @name if it was set for listener @i, which has a path that it cannot be
 * combined with, for the reason @why. Set for all listeners, it is for those without such a path.
 */
static void check_without_path(struct config_loader *loader, size_t i, const char *name,
			       const char *why)
{
	enum source_level path = source_of(loader, i, "path")->level;
	enum source_level level = source_of(loader, i, name)->level;
	struct config_place place = place_of(loader, i, name);

	if (level == path || (level > path && is_own(loader, i, name)))
		config_error(&place, "cannot be combined with %s", why);
}

/*
 * Decides between path and address: the last one set takes precedence. Both at the same level are
 * an error.
 */
static void check_socket(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	enum source_level path = source_of(loader, i, "path")->level;
	enum source_level address = source_of(loader, i, "address")->level;
	enum source_level port = source_of(loader, i, "port")->level;
	enum source_level last = address > port ? address : port;
	struct config_place place = place_of(loader, i, "path");

	if (path != SOURCE_DEFAULT && path == last)
		config_error(
			&place,
			"cannot be combined with %s; allowed: a path, or an address and a port",
			address == last				 ? "address"
			: source_of(loader, i, "port")->line > 0 ? "port"
								 : "-p");
	if (l->path && path < last) {
		free(l->path);
		l->path = NULL;
	}
	if (l->path) {
		free(l->address);
		l->address = NULL;
		l->port = 0;
		if (l->freebind)
			check_without_path(loader, i, "freebind", "path");
		l->freebind = false;
		check_without_path(loader, i, "keepalive", "path");
		if (l->path[0] == '@')
			check_without_path(loader, i, "mode",
					   "an abstract socket, which has no permissions");
	} else if (is_own(loader, i, "mode") && !source_of(loader, i, "path")->bad) {
		place = place_of(loader, i, "mode");
		config_error(&place, "cannot be set without path");
	}
}

/* Returns the framing that uses @setting, which is in the group frame. */
static enum framing framing_of(const struct setting *setting)
{
	enum framing framing = FRAMING_DELIMITED;

	while (!(setting->flags & setting_frame_flag(framing)))
		framing++;
	return framing;
}

/*
 * Checks that a listener has the parameters that its framing needs, and has not set any that belong
 * to another framing. The top level may have parameters for the listeners that use them.
 */
static void check_frame(struct config_loader *loader, size_t i)
{
	enum framing framing = loader->config->listeners[i].policy.framing;
	const char *const *words = settings[setting_find(SCOPE_LISTENER, "framing")].words;
	struct config_place place = place_of(loader, i, "framing");
	unsigned flag = setting_frame_flag(framing);

	for (size_t k = 0; k < n_settings && !source_of(loader, i, "framing")->bad; k++) {
		const struct setting *s = &settings[k];
		const struct setting_source *source = &loader->listeners[i].settings[k];

		if (!(s->flags & SETTING_FRAME))
			continue;
		if (s->flags & flag && !s->default_text && source->level == SOURCE_DEFAULT)
			config_error(&place, "found \"%s\" without %s; allowed: with %s",
				     words[framing], s->name, s->name);
		if (!(s->flags & flag) && is_own(loader, i, s->name)) {
			struct config_place other = place_of(loader, i, s->name);

			config_error(&other,
				     "cannot be combined with framing = \"%s\"; allowed: "
				     "with framing = \"%s\"",
				     words[framing], words[framing_of(s)]);
		}
	}
}

/* Checks that a message of a fixed size is not longer than a message may be. */
static void check_frame_size(struct config_loader *loader, size_t i)
{
	const struct config_listener *l = &loader->config->listeners[i];
	struct config_place place = place_of(loader, i, "frame.size");

	if (l->policy.framing == FRAMING_FIXED && !source_of(loader, i, "frame.size")->bad &&
	    !daemon_source(loader, "limits.max_message")->bad &&
	    !daemon_source(loader, "limits.max_line")->bad &&
	    l->policy.frame.size > loader->config->max_message_bytes)
		config_error(&place,
			     "found %" PRIu32 "; allowed: at most limits.max_message, %" PRIu32,
			     l->policy.frame.size, loader->config->max_message_bytes);
}

/*
 * Reports why the template at @place is invalid. @variables are those that it may use, and
 * encoding.@charset is the setting that decides its charset.
 */
static int template_error(const struct config_place *place, const struct template_error *error,
			  unsigned variables, const char *charset)
{
	char allowed[TEMPLATE_LIST_MAX];
	char quoted[QUOTE_MAX];
	/* the text between the quotes */
	const char *name = config_quote(error->name, quoted) + 1;
	int n = (int)strlen(name) - 1;

	template_list(variables, allowed);
	switch (error->fault) {
	case TEMPLATE_NO_MEMORY:
		return -ENOMEM;
	case TEMPLATE_UNKNOWN_VARIABLE:
		config_error(place, "found the unknown variable ${%.*s}; allowed: %s", n, name,
			     allowed);
		break;
	case TEMPLATE_VARIABLE_NOT_HERE:
		config_error(place, "found ${%.*s}, which has no value %s; allowed: %s", n, name,
			     variables == TEMPLATE_IN_GREETING ? "before the first message"
			     : variables == TEMPLATE_IN_NAK    ? "in a NAK"
							       : "outside of a NAK",
			     allowed);
		break;
	case TEMPLATE_BAD_FIELD:
		config_error(place,
			     "found ${%.*s}; allowed: ${field:S:N}, where S is one character and N "
			     "a number from 1 to %d",
			     n, name, TEMPLATE_FIELD_NUMBER_MAX);
		break;
	case TEMPLATE_BAD_DOLLAR:
		config_error(place,
			     "found a $ that begins no variable, at byte %zu; "
			     "allowed: ${name}, or $$ for a dollar sign",
			     error->offset + 1);
		break;
	case TEMPLATE_NOT_ENCODABLE:
		config_error(place,
			     "found U+%04" PRIX32 ", which encoding.%s cannot encode; "
			     "allowed: the characters of that charset",
			     error->code_point, charset);
		break;
	case TEMPLATE_TOO_LONG:
		config_error(place,
			     "found a text that can expand to %zu bytes; allowed: at most %d",
			     error->length, TEMPLATE_EXPANDED_MAX);
		break;
	case TEMPLATE_NOT_UTF_8:
	case TEMPLATE_OK:
		config_error(place, "found ill-formed UTF-8 at byte %zu; allowed: UTF-8",
			     error->offset + 1);
		break;
	}
	return 0;
}

/*
 * Completes the charsets. Binary messages are not text, so nothing that describes text can be set
 * with them; what a listener only inherits is for other listeners.
 */
static void check_encoding(struct config_loader *loader, size_t i)
{
	struct transcoder *t = &loader->config->listeners[i].policy.transcoder;
	const struct setting_source *charset = source_of(loader, i, "encoding.charset");
	char other[QUOTE_MAX];

	if (t->from != CHARSET_BINARY) {
		if (source_of(loader, i, "encoding.reply_charset")->level == SOURCE_DEFAULT)
			t->to = t->from;
		return;
	}
	for (size_t k = 0; k < n_settings; k++) {
		const struct setting_source *source = &loader->listeners[i].settings[k];
		struct config_place place;

		if (!(settings[k].flags & SETTING_TEXT) || source->level < charset->level)
			continue;
		place = place_of(loader, i, settings[k].name);
		config_error(&place, "cannot be combined with encoding.charset = \"binary\" (%s)",
			     other_text(loader, i, "encoding.charset", other));
	}
	*t = (struct transcoder){.from = CHARSET_BINARY, .to = CHARSET_BINARY};
}

static int check_template(struct config_loader *loader, size_t i, const char *name,
			  const char *source, unsigned variables, struct template **ret_template)
{
	enum charset charset = loader->config->listeners[i].policy.transcoder.to;
	struct config_place place = place_of(loader, i, name);
	const struct setting_source *reply_charset = source_of(loader, i, "encoding.reply_charset");
	struct template_error error;

	if (!source || source_of(loader, i, name)->bad ||
	    source_of(loader, i, "encoding.charset")->bad || reply_charset->bad)
		return 0;
	if (template_compile(source, charset, variables, ret_template, &error) == TEMPLATE_OK)
		return 0;
	return template_error(&place, &error, variables,
			      reply_charset->level == SOURCE_DEFAULT ? "charset" : "reply_charset");
}

static int check_templates(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	struct policy *policy = &l->policy;
	const struct {
		const char *name, *source;
		unsigned variables;
		struct template **ret_template;
	} templates[] = {
		{"greeting", l->greeting, TEMPLATE_IN_GREETING, &policy->greeting},
		{"ack_prefix", l->ack_prefix, TEMPLATE_IN_REPLY, &policy->ack_prefix},
		{"ack_suffix", l->ack_suffix, TEMPLATE_IN_REPLY, &policy->ack_suffix},
		{"reply_text", l->reply_text, TEMPLATE_IN_REPLY, &policy->reply_text},
		{"nak_text", l->nak_text, TEMPLATE_IN_NAK, &policy->nak_text},
	};
	int r = 0;

	for (size_t k = 0; k < sizeof(templates) / sizeof(templates[0]) && r == 0; k++)
		r = check_template(loader, i, templates[k].name, templates[k].source,
				   templates[k].variables, templates[k].ret_template);
	return r;
}

/*
 * Drops the setting @name of listener @i, which has no effect, and the @template made from it. It
 * is an error in the listener's own group. Inherited from the top level, it is for other listeners.
 */
static void drop_template(struct config_loader *loader, size_t i, const char *name,
			  struct template **template, const char *with)
{
	struct config_place place = place_of(loader, i, name);

	if (is_own(loader, i, name))
		config_error(&place, "cannot be combined with %s", with);
	setting_clear(&settings[setting_find(SCOPE_LISTENER, name)], &loader->config->listeners[i]);
	template_destroy(*template);
	*template = NULL;
}

/* Drops the quit message of listener @i, as drop_template() does, for the reason @fault. */
static void drop_quit(struct config_loader *loader, size_t i, const char *fault)
{
	struct config_listener *l = &loader->config->listeners[i];
	struct config_place place = place_of(loader, i, "quit");

	if (is_own(loader, i, "quit"))
		config_error(&place, "%s", fault);
	free(l->quit);
	free((uint8_t *)(uintptr_t)l->policy.quit);
	l->quit = NULL;
	l->policy.quit = NULL;
}

/* Checks the settings of listener @i that belong to a kind of reply. */
static void check_reply(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	struct policy *policy = &l->policy;
	const char *const *words = settings[setting_find(SCOPE_LISTENER, "reply")].words;
	struct config_place place = place_of(loader, i, "reply");
	char with[80];

	if (source_of(loader, i, "reply")->bad)
		return;
	snprintf(with, sizeof(with), "reply = \"%s\"; allowed: with reply = \"text\"",
		 words[policy->reply]);
	if (policy->reply == REPLY_TEXT && !l->reply_text &&
	    !source_of(loader, i, "reply_text")->bad)
		config_error(&place, "found \"text\" without reply_text; allowed: with reply_text");
	else if (policy->reply != REPLY_TEXT && l->reply_text)
		drop_template(loader, i, "reply_text", &policy->reply_text, with);
	if (!policy->nak && l->nak_text)
		drop_template(loader, i, "nak_text", &policy->nak_text, "nak = false");
	if (policy->reply != REPLY_CLOSE)
		return;
	if (l->quit)
		drop_quit(loader, i, "cannot be combined with reply = \"close\"");
	place = place_of(loader, i, "log_messages");
	if (policy->log_messages && is_own(loader, i, "log_messages"))
		config_error(&place, "cannot be combined with reply = \"close\"");
	policy->log_messages = false;
}

/* Checks that the header of a frame can state the length of every NAK. */
static void check_nak_length(struct config_loader *loader, size_t i)
{
	const struct policy *policy = &loader->config->listeners[i].policy;
	struct config_place place = place_of(loader, i, "nak_text");
	size_t length = template_length_max(policy->nak_text);
	int width = policy->frame.length_bytes;

	if (width > 0 && length > policy_reply_max(policy))
		config_error(&place,
			     "found a text that can expand to %zu bytes; allowed: at most %" PRIu64
			     ", which a header of %d byte%s can state",
			     length, policy_reply_max(policy), width, plural((uint64_t)width));
}

/*
 * Returns why no message can be equal to @policy->quit, or NULL. A parameter of the frame that is
 * missing or wrong, which is 0, decides nothing.
 */
static const char *quit_fault(const struct policy *policy)
{
	const struct frame *frame = &policy->frame;
	const uint8_t *quit = policy->quit;
	size_t n = policy->quit_length;

	if (policy->framing == FRAMING_STREAM)
		return n == 0 ? "a message in stream framing is not empty" : NULL;
	if (n > policy->max_message_bytes)
		return "it exceeds limits.max_message";
	if (policy->framing == FRAMING_LINE && memchr(quit, '\n', n))
		return "a line does not contain its end";
	if (policy->framing == FRAMING_DELIMITED && frame->end.length > 0 &&
	    memmem(quit, n, frame->end.bytes, frame->end.length))
		return "a message does not contain frame.end";
	if (policy->framing == FRAMING_LENGTH && frame->length_bytes > 0 &&
	    n > policy_reply_max(policy))
		return "the header of its frame cannot state its length";
	if (policy->framing == FRAMING_FIXED && frame->size > 0 && n != frame->size)
		return "a message has frame.size bytes";
	return NULL;
}

/* Encodes the quit message in the charset of the input, as it is received. */
static int check_quit(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	struct config_place place = place_of(loader, i, "quit");
	size_t n = l->quit ? strlen(l->quit) : 0, read, written;
	enum charset_status status;
	const char *fault;
	char reason[160];
	uint8_t *bytes;

	if (!l->quit || source_of(loader, i, "quit")->bad)
		return 0;
	bytes = malloc(n + 1); /* no charset needs more than UTF-8 */
	if (!bytes)
		return -ENOMEM;
	l->policy.quit = bytes;
	status = charset_encode(l->policy.transcoder.from, ENCODE_STRICT, (const uint8_t *)l->quit,
				n, bytes, n, &read, &written);
	l->policy.quit_length = written;
	if (status != CHARSET_DONE) {
		config_error(&place,
			     "found U+%04" PRIX32 ", which encoding.charset cannot encode; "
			     "allowed: the characters of that charset",
			     utf8_code_point((const uint8_t *)l->quit + read));
		return 0;
	}
	fault = source_of(loader, i, "framing")->bad ? NULL : quit_fault(&l->policy);
	if (fault) {
		snprintf(reason, sizeof(reason), "found a text that no message can be equal to: %s",
			 fault);
		drop_quit(loader, i, reason);
	}
	return 0;
}

/*
 * Reports that listener @i has the setting of TLS @name, but no certificate. That is an error even
 * if the setting was set for all listeners: none may serve plain text because a certificate was
 * forgotten.
 */
static void report_no_certificate(struct config_loader *loader, size_t i, const char *name)
{
	struct config_place place = place_of(loader, i, name);
	char other[QUOTE_MAX];

	if (is_own(loader, i, name))
		config_error(&place, "needs tls.certificate");
	else
		config_error(&place,
			     "needs tls.certificate, which listener %zu (%s) does not have; "
			     "allowed: a certificate for every listener, or the group tls only "
			     "in the listeners with TLS",
			     i, other_text(loader, i, "name", other));
}

/* Loads the certificates and keys of listener @i, if it has a tls group. */
static int check_tls(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	struct tls_fault fault;
	struct config_place place;
	int r;

	for (size_t k = 0; k < n_settings; k++) {
		const struct setting_source *source = &loader->listeners[i].settings[k];

		if (!setting_is_in(&settings[k], "tls"))
			continue;
		if (source->bad)
			return 0;
		if (source->level == SOURCE_DEFAULT || l->tls.certificate)
			continue;
		report_no_certificate(loader, i, settings[k].name);
		return 0;
	}
	if (!l->tls.certificate || loader->without_tls_files)
		return 0;
	r = tls_context_create(&l->tls, &l->tls_context, &fault);
	if (r != -EINVAL)
		return r;
	place = place_of(loader, i, fault.setting);
	config_error(&place, "%s", fault.text);
	return 0;
}

static int check_listener(struct config_loader *loader, size_t i)
{
	struct config_listener *l = &loader->config->listeners[i];
	const struct setting_source *name = source_of(loader, i, "name");
	struct config_place place = place_of(loader, i, "name");
	int r;

	if (loader->config->listed && (name->level == SOURCE_TOP || name->level == SOURCE_OPTION))
		config_error(&place, "cannot be combined with listeners; allowed: in the group of "
				     "each listener");
	else if (loader->config->listed && name->level == SOURCE_DEFAULT && !name->bad)
		config_error(&place, "found no name; allowed: a name for each listener");
	check_socket(loader, i);
	check_encoding(loader, i);
	check_frame(loader, i);
	check_frame_size(loader, i);
	cidr_list_sort(&l->allow);
	cidr_list_sort(&l->deny);
	cidr_list_sort(&l->proxies);
	l->policy.max_message_bytes = loader->config->max_message_bytes;
	r = check_templates(loader, i);
	if (r == 0)
		r = check_quit(loader, i);
	check_reply(loader, i);
	check_nak_length(loader, i);
	l->policy.listener = l->name;
	l->policy.host = loader->config->host;
	policy_prepare(&l->policy);
	return r == 0 ? check_tls(loader, i) : r;
}

/*
 * Writes the addresses that @text stands for without a name look-up, IPv4 ones as ::ffff:a.b.c.d.
 * Returns how many; 0: it is a name.
 */
static size_t known_addresses(const char *text, struct in6_addr ret[2])
{
	static const struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	bool any = strcmp(text, "*") == 0, localhost = strcasecmp(text, "localhost") == 0;

	ret[0] = mapped;
	if (any || localhost) {
		inet_pton(AF_INET, any ? "0.0.0.0" : "127.0.0.1", &ret[0].s6_addr[12]);
		ret[1] = any ? in6addr_any : in6addr_loopback;
		return 2;
	}
	return inet_pton(AF_INET, text, &ret[0].s6_addr[12]) == 1 ||
	       inet_pton(AF_INET6, text, &ret[0]) == 1;
}

/* Returns whether the address is 0.0.0.0 or ::. */
static bool is_any(const struct in6_addr *address)
{
	size_t n = IN6_IS_ADDR_V4MAPPED(address) ? 12 : 0;

	return memcmp(&address->s6_addr[n], &in6addr_any.s6_addr[n], 16 - n) == 0;
}

/* Returns whether sockets at these addresses and the same port certainly conflict. */
static bool addresses_overlap(const char *a, const char *b)
{
	struct in6_addr of_a[2], of_b[2];
	size_t n_a = known_addresses(a, of_a), n_b = known_addresses(b, of_b);

	if (strcmp(a, "*") == 0 || strcmp(b, "*") == 0)
		return true;
	for (size_t i = 0; i < n_a; i++) {
		for (size_t j = 0; j < n_b; j++) {
			bool same_family =
				IN6_IS_ADDR_V4MAPPED(&of_a[i]) == IN6_IS_ADDR_V4MAPPED(&of_b[j]);

			if (IN6_ARE_ADDR_EQUAL(&of_a[i], &of_b[j]) ||
			    (same_family && (is_any(&of_a[i]) || is_any(&of_b[j]))))
				return true;
		}
	}
	return n_a == 0 && n_b == 0 && strcasecmp(a, b) == 0;
}

/*
 * Reports at @place that @address and @port, which are valid, overlap those of listener @i. Returns
 * whether they do.
 */
static bool check_overlap(struct config_loader *loader, const struct config_place *place,
			  const char *address, uint16_t port, size_t i)
{
	const struct config_listener *l = &loader->config->listeners[i];
	char other[QUOTE_MAX];

	if (!l->address || l->port == 0 || l->port != port || source_of(loader, i, "port")->bad ||
	    source_of(loader, i, "address")->bad || !addresses_overlap(address, l->address))
		return false;
	config_error(place,
		     "found port %d on \"%s\", which overlaps with \"%s\" of listener %zu (%s); "
		     "allowed: an address and port of its own",
		     port, address, l->address, i, other_text(loader, i, "port", other));
	return true;
}

/* Reports settings of listener @i that conflict with the earlier listener @j. */
static void check_pair(struct config_loader *loader, size_t i, size_t j)
{
	const struct config_listener *a = &loader->config->listeners[j];
	const struct config_listener *b = &loader->config->listeners[i];
	struct config_place place;
	char other[QUOTE_MAX];

	if (strcmp(a->name, b->name) == 0 && is_own(loader, i, "name") &&
	    is_own(loader, j, "name")) {
		place = place_of(loader, i, "name");
		config_error(&place,
			     "found \"%s\", which is the name of listener %zu (%s); "
			     "allowed: a name of its own",
			     b->name, j, other_text(loader, j, "name", other));
	}
	if (a->path && b->path && strcmp(a->path, b->path) == 0) {
		place = place_of(loader, i, "path");
		config_error(&place,
			     "found the path of listener %zu (%s); allowed: a path of its own", j,
			     other_text(loader, j, "path", other));
	}
	if (b->address && a->port == b->port && !source_of(loader, i, "port")->bad &&
	    !source_of(loader, i, "address")->bad) {
		place = place_of(loader, i, "port");
		place.listener = (int)i;
		check_overlap(loader, &place, b->address, b->port, j);
	}
}

/* Rejects two names of the same setting. */
static void check_old_names(struct config_loader *loader)
{
	const struct setting_source *old = daemon_source(loader, "limits.max_line");
	struct config_place place = {&loader->errors, old->line, -1, "limits.max_line"};

	if (old->level != SOURCE_DEFAULT &&
	    daemon_source(loader, "limits.max_message")->level == old->level)
		config_error(&place, "cannot be combined with limits.max_message, of which it is "
				     "the older name");
}

/* Checks that a metrics group has a port. The default address is localhost. */
static int check_metrics(struct config_loader *loader)
{
	const struct setting_source *address = daemon_source(loader, "metrics.address");
	const struct setting_source *port = daemon_source(loader, "metrics.port");
	struct config_place place = {&loader->errors, address->line, -1, "metrics.port"};

	if (address->level != SOURCE_DEFAULT && !address->bad && port->level == SOURCE_DEFAULT)
		config_error(&place, "metrics.address needs a port");
	if (address->level == SOURCE_DEFAULT && port->level != SOURCE_DEFAULT && !port->bad) {
		loader->config->metrics.address = strdup("localhost");
		if (!loader->config->metrics.address)
			return -ENOMEM;
	}
	return 0;
}

/* Reports the first listener that uses the address and port of the metrics. */
static void check_metrics_overlap(struct config_loader *loader)
{
	const struct config *config = loader->config;
	const struct setting_source *port = daemon_source(loader, "metrics.port");
	struct config_place place = {&loader->errors, port->line, -1, "metrics.port"};
	bool found = !config->metrics.address || port->bad ||
		     daemon_source(loader, "metrics.address")->bad;

	for (size_t i = 0; i < config->n_listeners && !found; i++)
		found = check_overlap(loader, &place, config->metrics.address, config->metrics.port,
				      i);
}

int config_check(struct config_loader *loader)
{
	int r = check_metrics(loader);

	check_old_names(loader);
	for (size_t i = 0; i < loader->config->n_listeners && r == 0; i++)
		r = check_listener(loader, i);
	for (size_t i = 0; i < loader->config->n_listeners && r == 0; i++)
		for (size_t j = 0; j < i; j++)
			check_pair(loader, i, j);
	if (r == 0)
		check_metrics_overlap(loader);
	return r;
}
