#include "ackd/config/config.h"

#include "ackd/config/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct config *config_ref(struct config *config)
{
	atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
	return config;
}

static void finish_listener(struct config_listener *listener)
{
	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == SCOPE_LISTENER)
			setting_clear(&settings[i], listener);
	}
	template_destroy(listener->policy.greeting);
	template_destroy(listener->policy.ack_prefix);
	template_destroy(listener->policy.ack_suffix);
}

struct config *config_unref(struct config *config)
{
	if (config == NULL ||
	    atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) > 1)
		return NULL;
	for (size_t i = 0; i < config->n_listeners; i++)
		finish_listener(&config->listeners[i]);
	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == SCOPE_DAEMON)
			setting_clear(&settings[i], config);
	}
	free(config->listeners);
	free(config->path);
	free(config);
	return NULL;
}

static int set_defaults(enum setting_scope scope, void *object)
{
	int r = 0;

	for (size_t i = 0; i < n_settings && r == 0; i++) {
		if (settings[i].scope == scope)
			r = setting_set_default(&settings[i], object);
	}
	return r;
}

int config_add_listeners(struct config_loader *loader, size_t n)
{
	struct config *config = loader->config;
	int r = 0;

	config->listeners = calloc(n, sizeof(*config->listeners));
	loader->listeners = calloc(n, sizeof(*loader->listeners));
	if (config->listeners == NULL || loader->listeners == NULL)
		return -ENOMEM;
	config->n_listeners = n;
	for (size_t i = 0; i < n && r == 0; i++)
		r = set_defaults(SCOPE_LISTENER, &config->listeners[i]);
	return r;
}

void config_set_port(struct config_loader *loader, int port)
{
	int index = setting_find(SCOPE_LISTENER, "port");

	for (size_t i = 0; i < loader->config->n_listeners; i++) {
		loader->config->listeners[i].port = (uint16_t)port;
		loader->listeners[i].settings[index] = (struct setting_source){.level = SOURCE_TOP};
	}
}

/* Sets @host to the name of this machine, in printable ASCII, for templates. */
static void set_host(char host[TEMPLATE_HOST_MAX + 1])
{
	if (gethostname(host, TEMPLATE_HOST_MAX + 1) < 0)
		snprintf(host, TEMPLATE_HOST_MAX + 1, "localhost");
	host[TEMPLATE_HOST_MAX] = '\0';
	for (char *p = host; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~')
			*p = '?';
	}
}

static int create(struct config **ret_config)
{
	struct config *config = calloc(1, sizeof(*config));
	int r;

	if (config == NULL)
		return -ENOMEM;
	atomic_init(&config->references, 1);
	set_host(config->host);
	r = set_defaults(SCOPE_DAEMON, config);
	if (r < 0) {
		config_unref(config);
		return r;
	}
	*ret_config = config;
	return 0;
}

/* Creates the listener of the built-in defaults. */
static int add_default_listener(struct config_loader *loader, int port)
{
	int r = config_add_listeners(loader, 1);

	if (r == 0 && port >= 0)
		config_set_port(loader, port);
	return r;
}

/*
 * Like config_text_read(), of the default file if @path is NULL. Returns -ENOENT only if the
 * default file does not exist; any other missing file is an error.
 */
static int read_text(struct config_text *text, const char *path, config_reader reader,
		     void *reader_data, struct config_errors *errors)
{
	struct config_place place = {.errors = errors, .file = path};
	int r = config_text_read(text, path != NULL ? path : CONFIG_PATH, reader, reader_data,
				 errors);

	if (r == -ENOENT && path != NULL)
		r = config_error(&place, "cannot read: %s", strerror(ENOENT));
	return r;
}

/*
 * @text must be released after any result, and only after the errors, which refer to its file
 * names.
 */
static int read_and_parse(struct config_loader *loader, struct config_text *text, const char *path,
			  int port, config_reader reader, void *reader_data)
{
	int r = read_text(text, path, reader, reader_data, &loader->errors);

	if (r == -ENOENT)
		return add_default_listener(loader, port);
	if (r < 0)
		return r;
	config_errors_end_text(&loader->errors);
	loader->config->path = strdup(path != NULL ? path : CONFIG_PATH);
	if (loader->config->path == NULL)
		return -ENOMEM;
	return config_parse(loader, text, port);
}

int config_load_with(const char *path, int port, config_reader reader, void *reader_data,
		     FILE *errors, struct config **ret_config)
{
	struct config_loader loader = {0};
	struct config_text text;
	int r;

	r = create(&loader.config);
	if (r < 0)
		return r;
	r = read_and_parse(&loader, &text, path, port, reader, reader_data);
	if (r == 0)
		r = config_check(&loader);
	if (loader.errors.no_memory)
		r = -ENOMEM;
	else if (r == 0 && loader.errors.n > 0)
		r = -EINVAL;
	if (r == 0)
		*ret_config = loader.config;
	else
		config_unref(loader.config);
	config_errors_write(&loader.errors, errors);
	config_text_finish(&text);
	config_errors_finish(&loader.errors);
	free(loader.listeners);
	return r;
}

int config_load(const char *path, int port, FILE *errors, struct config **ret_config)
{
	return config_load_with(path, port, NULL, NULL, errors, ret_config);
}

int config_readable(const char *path, FILE *errors)
{
	struct config_errors found = {0};
	struct config_text text;
	int r = read_text(&text, path, NULL, NULL, &found);

	config_errors_write(&found, errors);
	config_text_finish(&text);
	config_errors_finish(&found);
	return r == -ENOENT ? 0 : r;
}

void config_diff_restart(const struct config *a, const struct config *b,
			 void (*changed)(void *data, const char *setting), void *data)
{
	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == SCOPE_DAEMON && (settings[i].flags & SETTING_RESTART) &&
		    !setting_equal(&settings[i], a, b))
			changed(data, settings[i].name);
	}
}
