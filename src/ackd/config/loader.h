#pragma once

/* What the steps of config_load() share: parse (config_parse.c), then check (config_check.c). */

#include "ackd/config/setting.h"
#include "ackd/config/text.h"

/* Who set a setting: the later ones have precedence. */
enum source_level { SOURCE_DEFAULT, SOURCE_TOP, SOURCE_LISTENER };

struct setting_source {
	enum source_level level;
	bool bad;	  /* was told; the member still has what it had before */
	const char *file; /* NULL for the default, and for -p */
	unsigned line;
	unsigned order; /* as in struct config_place */
};

/* Of one element of the configuration's listeners. */
struct listener_sources {
	struct setting_source settings[SETTINGS_MAX]; /* by index in settings[] */
	char group[40];				      /* "listeners[1]."; "" without a list */
	const char *file;			      /* where it begins */
	unsigned line;
	unsigned order;
};

struct config_loader {
	struct config *config;
	struct config_errors errors;
	struct setting_source sources[SETTINGS_MAX]; /* of the daemon's settings */
	struct listener_sources *listeners;	     /* config->n_listeners of them */
};

/* Gives @loader->config @n listeners with default settings. Returns 0 or -ENOMEM. */
int config_add_listeners(struct config_loader *loader, size_t n);

/*
 * Reads @text into @loader->config: its settings, and its listeners, which it has none
 * of yet. @port (-1: none) replaces the top-level port. Returns 0 (there may be errors all the
 * same), -EINVAL when libconfig could not read it, or -ENOMEM.
 */
int config_parse(struct config_loader *loader, const struct config_text *text, int port);

/* Tells that @port of the command line replaces the top-level port. */
void config_set_port(struct config_loader *loader, int port);

/*
 * Checks what several settings say together, and completes the listeners' policies. Returns 0
 * (there may be errors all the same) or -ENOMEM.
 */
int config_check(struct config_loader *loader);

/* config_load() with another source of the bytes (for the fuzzer, which has no files). */
int config_load_with(const char *path, int port, config_reader reader, void *reader_data,
		     FILE *errors, struct config **ret_config);
