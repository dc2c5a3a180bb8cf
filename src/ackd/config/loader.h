#pragma once

/*
 * Shared state of the steps of config_load(): config_parse() (parse.c), then config_check()
 * (check.c).
 */

#include "ackd/config/setting.h"
#include "ackd/config/text.h"

/* Where a setting was set; later levels take precedence. */
enum source_level { SOURCE_DEFAULT, SOURCE_TOP, SOURCE_LISTENER };

struct setting_source {
	enum source_level level;
	bool bad;	  /* an error was reported; the member keeps its previous value */
	const char *file; /* NULL for the default, and for -p */
	unsigned line;
	unsigned order; /* as in struct config_place */
};

/* The sources of one listener's settings. */
struct listener_sources {
	struct setting_source settings[SETTINGS_MAX]; /* by index in settings[] */
	char group[40];				      /* "listeners[1]."; "" without a list */
	const char *file;			      /* position of the listener */
	unsigned line;
	unsigned order;
};

struct config_loader {
	struct config *config;
	struct config_errors errors;
	struct setting_source sources[SETTINGS_MAX]; /* of the daemon's settings */
	struct listener_sources *listeners;	     /* config->n_listeners of them */
};

/* Creates @n listeners with default settings in @loader->config. Returns 0 or -ENOMEM. */
int config_add_listeners(struct config_loader *loader, size_t n);

/*
 * Reads the settings and listeners in @text into @loader->config, which must have no listeners yet.
 * @port (-1: none) replaces the top-level port. Returns 0 (even if it reported errors), -EINVAL if
 * libconfig rejected the text, or -ENOMEM.
 */
int config_parse(struct config_loader *loader, const struct config_text *text, int port);

/* Replaces the top-level port by @port from the command line. */
void config_set_port(struct config_loader *loader, int port);

/*
 * Checks settings that depend on each other, and completes the listeners' policies. Returns 0 (even
 * if it reported errors) or -ENOMEM.
 */
int config_check(struct config_loader *loader);

/* Like config_load(), but reads the files through @reader (for the fuzzer, which has no files). */
int config_load_with(const char *path, int port, config_reader reader, void *reader_data,
		     FILE *errors, struct config **ret_config);
