#include "ackd/config/config.h"

#include "ackd/config/internal.h"
#include "ackd/config/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the life of a configuration ---- */

struct config *config_ref(struct config *config)
{
	atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
	return config;
}

static void policy_finish(struct policy *policy)
{
	template_destroy(policy->greeting);
	template_destroy(policy->ack_prefix);
	template_destroy(policy->ack_suffix);
	template_destroy(policy->reply_text);
	template_destroy(policy->nak_text);
	free((uint8_t *)(uintptr_t)policy->quit);
}

static void clear_settings(enum setting_scope scope, void *object)
{
	for (size_t i = 0; i < n_settings; i++)
		if (settings[i].scope == scope)
			setting_clear(&settings[i], object);
}

struct config *config_unref(struct config *config)
{
	if (!config || atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) > 1)
		return NULL;
	for (size_t i = 0; i < config->n_listeners; i++) {
		clear_settings(SCOPE_LISTENER, &config->listeners[i]);
		policy_finish(&config->listeners[i].policy);
		tls_context_destroy(config->listeners[i].tls_context);
	}
	clear_settings(SCOPE_DAEMON, config);
	free(config->listeners);
	free(config->path);
	free(config);
	return NULL;
}

/* Sets the member in @object to the default of @setting. Returns 0 or -ENOMEM. */
static int set_default(const struct setting *setting, void *object)
{
	const char *text = setting->default_text;
	struct config_place place = {0}; /* a default is never wrong */
	struct value value = {.type = VALUE_STRING, .string = text};
	char *end;

	if (setting->type->kind == KIND_BOOLEAN) {
		value.type = VALUE_BOOLEAN;
		value.integer = strcmp(text, "true") == 0;
	} else if (setting->type->kind == KIND_NUMBER) {
		value.integer = strtoll(text, &end, 10);
		if (*end == '\0')
			value.type = VALUE_INTEGER;
	}
	return setting_set(setting, object, &value, &place);
}

int config_set_defaults(enum setting_scope scope, void *object)
{
	int r = 0;

	for (size_t i = 0; i < n_settings && r == 0; i++)
		if (settings[i].scope == scope && settings[i].default_text &&
		    settings[i].type->kind != KIND_ARRAY)
			r = set_default(&settings[i], object);
	return r;
}

/* Sets @host to the name of this machine, in printable ASCII, for templates. */
static void set_host(char host[TEMPLATE_HOST_MAX + 1])
{
	if (gethostname(host, TEMPLATE_HOST_MAX + 1) < 0)
		snprintf(host, TEMPLATE_HOST_MAX + 1, "localhost");
	host[TEMPLATE_HOST_MAX] = '\0';
	for (char *p = host; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~')
			*p = '?';
}

static int create(struct config **ret_config)
{
	static char metrics_name[] = "metrics";
	struct config *config = calloc(1, sizeof(*config));
	int r;

	if (!config)
		return -ENOMEM;
	atomic_init(&config->references, 1);
	set_host(config->host);
	config->metrics.name = metrics_name;
	r = config_set_defaults(SCOPE_DAEMON, config);
	if (r < 0) {
		config_unref(config);
		return r;
	}
	*ret_config = config;
	return 0;
}

/* ---- its listeners ---- */

const struct config_listener *config_user(const struct config *config, size_t user)
{
	return user < config->n_listeners ? &config->listeners[user] : &config->metrics;
}

size_t config_find_listener(const struct config *config, const char *name)
{
	size_t i = 0;

	while (i < config->n_listeners && strcmp(config->listeners[i].name, name) != 0)
		i++;
	return i;
}

const struct tls_context *config_find_tls(const struct config *config, const char *name)
{
	size_t i = config_find_listener(config, name);

	return i < config->n_listeners ? config->listeners[i].tls_context : NULL;
}

/* ---- loading ---- */

/*
 * Like config_text_read(), of the default file if @path is NULL. Only a missing default file is
 * -ENOENT; any other missing file is an error.
 */
static int read_text(const char *path, config_reader reader, void *reader_data,
		     struct config_errors *errors, char **ret_text)
{
	struct config_place place = {.errors = errors, .listener = -1};
	int r = config_text_read(path ? path : CONFIG_PATH, reader, reader_data, errors, ret_text);

	if (r == -ENOENT && path)
		r = config_error(&place, "%s: cannot read: %s", path, strerror(ENOENT));
	return r;
}

static int load(struct config_loader *loader, const struct config_source *source,
		config_reader reader, void *reader_data)
{
	char *text = NULL;
	int r = read_text(source->path, reader, reader_data, &loader->errors, &text);

	if (r < 0 && r != -ENOENT)
		return r;
	if (text) {
		loader->config->path = strdup(source->path ? source->path : CONFIG_PATH);
		if (!loader->config->path) {
			free(text);
			return -ENOMEM;
		}
	}
	r = assignments_init(loader, source, text);
	if (r == 0)
		r = config_parse(loader, text, source->port);
	free(text);
	return r == 0 ? config_check(loader) : r;
}

int config_load_with(const struct config_source *source, config_reader reader, void *reader_data,
		     FILE *errors, struct config **ret_config)
{
	struct config_loader loader = {.without_tls_files = source->without_tls_files};
	int r = create(&loader.config);

	if (r < 0)
		return r;
	r = load(&loader, source, reader, reader_data);
	if (loader.errors.no_memory)
		r = -ENOMEM;
	else if (r == 0 && loader.errors.n > 0)
		r = -EINVAL;
	if (r == 0)
		*ret_config = loader.config;
	else
		config_unref(loader.config);
	config_errors_write(&loader.errors, errors);
	config_errors_finish(&loader.errors);
	assignments_finish(&loader);
	free(loader.listeners);
	return r;
}

int config_load(const struct config_source *source, FILE *errors, struct config **ret_config)
{
	return config_load_with(source, NULL, NULL, errors, ret_config);
}

static int read_nothing(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	return -ENOENT;
}

static int load_log(const struct config_source *source, FILE *errors,
		    struct log_settings *ret_settings)
{
	struct config *config;
	int r = config_load_with(source, read_nothing, NULL, errors, &config);

	if (r == 0) {
		*ret_settings = config->log;
		config_unref(config);
	}
	return r;
}

int config_load_log(const struct config_source *source, struct log_settings *ret_settings)
{
	const char **assignments = calloc(source->n_assignments + 1, sizeof(*assignments));
	struct config_source only = {.port = -1, .assignments = assignments};
	char *errors = NULL;
	size_t n;
	FILE *out = open_memstream(&errors, &n);
	int r = -ENOMEM;

	if (assignments && out)
		r = load_log(&only, out, ret_settings);
	for (size_t i = 0; i < source->n_assignments && r == 0; i++) {
		if (strncmp(source->assignments[i], "log.", strlen("log.")) != 0)
			continue;
		assignments[only.n_assignments++] = source->assignments[i];
		r = load_log(&only, out, ret_settings);
		if (r == -EINVAL) {
			only.n_assignments--;
			r = 0;
		}
	}
	if (out)
		fclose(out);
	free(errors);
	free(assignments);
	return r;
}

int config_readable(const char *path, FILE *errors)
{
	struct config_errors found = {0};
	char *text = NULL;
	int r = read_text(path, config_read_again, NULL, &found, &text);

	config_errors_write(&found, errors);
	config_errors_finish(&found);
	free(text);
	return r == -ENOENT ? 0 : r;
}

/* ---- comparing and writing ---- */

void config_diff_restart(const struct config *a, const struct config *b,
			 void (*changed)(void *data, const char *setting), void *data)
{
	for (size_t i = 0; i < n_settings; i++)
		if (settings[i].scope == SCOPE_DAEMON && (settings[i].flags & SETTING_RESTART) &&
		    !setting_equal(&settings[i], a, b))
			changed(data, settings[i].name);
}

/*
 * Returns whether the member is meaningful and has this name: an address and an abstract
 * socket have no mode, a path no port, and a frame only what its framing uses.
 */
static bool is_in_effect(const struct setting *setting, const void *object)
{
	static const struct config_listener no_tls;
	const struct config_listener *listener = object;
	const struct config *config = object;

	if (setting->flags & SETTING_OLD_NAME)
		return false;
	if (setting->scope == SCOPE_DAEMON)
		return !setting_is_in(setting, "metrics") || config->metrics.address;
	if (setting->flags & SETTING_TEXT)
		return listener->policy.transcoder.from != CHARSET_BINARY;
	if (setting->flags & SETTING_FRAME)
		return setting->flags & setting_frame_flag(listener->policy.framing);
	if (setting_is_in(setting, "tls") &&
	    (!listener->tls.certificate ||
	     (setting->type->kind == KIND_STRING && setting_equal(setting, object, &no_tls))))
		return false;
	if (setting->flags & SETTING_UNIX && listener->path && listener->path[0] == '@')
		return strcmp(setting->name, "mode") != 0;
	return !(setting->flags & (listener->path ? SETTING_TCP : SETTING_UNIX));
}

/*
 * Writes the settings of @scope, indented by @indent tabs. Dotted settings are written in groups.
 */
static void dump_settings(enum setting_scope scope, const void *object, int indent, FILE *out)
{
	static const char tabs[] = "\t\t\t";
	const char *group = "";
	size_t n_group = 0;

	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *s = &settings[i];
		const char *dot = strchr(s->name, '.');
		size_t n = dot ? (size_t)(dot - s->name) : 0;

		if (s->scope != scope || !is_in_effect(s, object) || setting_is_none(s, object))
			continue;
		if (n != n_group || strncmp(group, s->name, n) != 0) {
			if (n_group > 0)
				fprintf(out, "%.*s};\n", indent, tabs);
			if (n > 0)
				fprintf(out, "%.*s%.*s = {\n", indent, tabs, (int)n, s->name);
			group = s->name;
			n_group = n;
		}
		fprintf(out, "%.*s%s = ", indent + (n > 0), tabs, dot ? dot + 1 : s->name);
		setting_print(s, object, out);
		fputs(";\n", out);
	}
	if (n_group > 0)
		fprintf(out, "%.*s};\n", indent, tabs);
}

int config_dump(const struct config *config, FILE *out)
{
	if (config->listed) {
		fputs("listeners = (\n", out);
		for (size_t i = 0; i < config->n_listeners; i++) {
			fputs("\t{\n", out);
			dump_settings(SCOPE_LISTENER, &config->listeners[i], 2, out);
			fprintf(out, "\t}%s\n", i + 1 < config->n_listeners ? "," : "");
		}
		fputs(");\n", out);
	} else {
		dump_settings(SCOPE_LISTENER, &config->listeners[0], 0, out);
	}
	dump_settings(SCOPE_DAEMON, config, 0, out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
