/*
 * Sets the settings from libconfig's tree. No other file uses libconfig's parser.
 *
 * The first listener gets the defaults, then the settings at top level. The other listeners begin
 * as copies of it. Then each gets the settings in its own group.
 */

#include "ackd/config/internal.h"
#include "base/nearest.h"

#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

/* The maximum length of a dotted name; no setting has a longer one. */
#define NAME_MAX_LENGTH 128
/* A limit, because each listener is compared with all others. */
#define LISTENERS_MAX 1024

/* The group that is being read. */
struct walk {
	struct config_loader *loader;
	int listener; /* whose group it is; -1: top level, where the daemon's settings are valid */
};

static struct config_place place_of(const struct walk *walk, const config_setting_t *node,
				    const char *name)
{
	return (struct config_place){
		&walk->loader->errors,
		config_setting_source_line(node),
		walk->listener,
		name,
	};
}

static struct value value_of(const config_setting_t *node)
{
	struct value value = {.type = VALUE_GROUP};

	switch (config_setting_type(node)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		value.type = VALUE_INTEGER;
		value.integer = config_setting_get_int64(node);
		break;
	case CONFIG_TYPE_FLOAT:
		value.type = VALUE_FLOAT;
		value.real = config_setting_get_float(node);
		break;
	case CONFIG_TYPE_BOOL:
		value.type = VALUE_BOOLEAN;
		value.integer = config_setting_get_bool(node);
		break;
	case CONFIG_TYPE_STRING:
		value.type = VALUE_STRING;
		value.string = config_setting_get_string(node);
		if (!value.string) /* libconfig represents "" like this */
			value.string = "";
		break;
	case CONFIG_TYPE_ARRAY:
		value.type = VALUE_ARRAY;
		break;
	case CONFIG_TYPE_LIST:
		value.type = VALUE_LIST;
		break;
	}
	return value;
}

/* Reports that the value of @node is not of the form @allowed. Returns -EINVAL. */
static int wrong_form(const struct walk *walk, const config_setting_t *node, const char *name,
		      const char *allowed)
{
	struct config_place place = place_of(walk, node, name);
	struct value value = value_of(node);
	char found[VALUE_TEXT_MAX];

	return config_error(&place, "found %s; allowed: %s", value_text(&value, found), allowed);
}

static int read_value(struct walk *walk, const struct setting *setting, void *object,
		      const config_setting_t *node)
{
	struct config_place place = place_of(walk, node, setting->name);
	struct value value = value_of(node);
	int r, result = 0;

	if (setting->flags & SETTING_UNBUILT)
		return config_error(&place, "this ackd was built without that feature; remove the "
					    "setting");
	if (setting->type->kind != KIND_ARRAY &&
	    (setting->type->kind != KIND_BYTES || value.type == VALUE_STRING))
		return setting_set(setting, object, &value, &place);
	if (value.type != VALUE_ARRAY && value.type != VALUE_LIST)
		return setting_mismatch(setting, &value, &place, NULL);
	setting_clear(setting, object);
	for (int i = 0; i < config_setting_length(node); i++) {
		const config_setting_t *element = config_setting_get_elem(node, (unsigned)i);

		place = place_of(walk, element, setting->name);
		value = value_of(element);
		/* a string is bytes as a whole, but not a byte */
		if (setting->type->kind == KIND_BYTES && value.type == VALUE_STRING)
			r = setting_mismatch(setting, &value, &place, NULL);
		else
			r = setting_set(setting, object, &value, &place);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			result = r;
	}
	if (result == 0 && setting->type->kind == KIND_BYTES)
		result = setting_finish_bytes(setting, object, &value, &place);
	return result;
}

static int read_setting(struct walk *walk, int index, const config_setting_t *node)
{
	struct config_loader *loader = walk->loader;
	struct config *config = loader->config;
	size_t i = walk->listener >= 0 ? (size_t)walk->listener : 0;
	bool daemon = settings[index].scope == SCOPE_DAEMON;
	void *object = daemon ? (void *)config : &config->listeners[i];
	struct setting_source *source =
		daemon ? &loader->sources[index] : &loader->listeners[i].settings[index];
	int r = read_value(walk, &settings[index], object, node);

	source->level = walk->listener < 0 ? SOURCE_TOP : SOURCE_LISTENER;
	source->bad = r < 0;
	source->line = config_setting_source_line(node);
	return r == -EINVAL ? 0 : r;
}

/* Returns whether @name is a group: the first part of the dotted name of a setting in @scope. */
static bool is_group(enum setting_scope scope, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n_settings; i++)
		if (settings[i].scope == scope && strncmp(settings[i].name, name, n) == 0 &&
		    settings[i].name[n] == '.')
			return true;
	return false;
}

/* The longest name that is looked for; no setting has a longer one. */
#define GUESS_MAX 80

struct guess {
	struct nearest nearest;
	char text[GUESS_MAX]; /* the suggestion, if nearest.name is set */
};

/* Offers the @n bytes at @name, which are suggested as @prefix, the name and @suffix. */
static void offer(struct guess *guess, const char *prefix, const char *name, size_t n,
		  const char *suffix)
{
	char copy[GUESS_MAX];

	snprintf(copy, sizeof(copy), "%.*s", (int)n, name);
	nearest_offer(&guess->nearest, copy);
	if (guess->nearest.name != copy)
		return;
	guess->nearest.name = guess->text;
	snprintf(guess->text, sizeof(guess->text), "%s%s%s", prefix, copy, suffix);
}

/*
 * Reports that there is no setting @name (dotted), at top level or, if @top is false, in a
 * listener. The message suggests the nearest known name.
 */
static void report_unknown(const char *name, bool top, const struct config_place *place)
{
	const char *dot = strrchr(name, '.');
	struct guess guess = {.nearest.word = dot ? dot + 1 : name};
	char prefix[GUESS_MAX];
	size_t n = (size_t)(guess.nearest.word - name);

	snprintf(prefix, sizeof(prefix), "%.*s", (int)n, name);
	/* the names in the same group first, because the first of equally near ones wins */
	for (size_t i = 0; i < n_settings; i++) {
		const char *full = settings[i].name;

		if ((settings[i].scope == SCOPE_LISTENER || top) && strncmp(full, name, n) == 0)
			offer(&guess, prefix, full + n, strcspn(full + n, "."), "");
	}
	if (top && n == 0)
		offer(&guess, "", "listeners", strlen("listeners"), "");
	for (size_t i = 0; i < n_settings; i++) {
		const char *full = settings[i].name, *last = strrchr(full, '.');

		last = last ? last + 1 : full;
		snprintf(prefix, sizeof(prefix), "%.*s", (int)(last - full), full);
		offer(&guess, prefix, last, strlen(last),
		      settings[i].scope == SCOPE_DAEMON && !top ? " at top level" : "");
	}
	if (guess.nearest.name)
		config_error(place, "no such setting; did you mean %s?", guess.text);
	else
		config_error(place, "no such setting; ackd.conf(5) lists all settings");
}

/*
 * Reads the settings in the group @node. @prefix is its dotted name with a dot at the end, or
 * empty.
 */
static int walk_group(struct walk *walk, const config_setting_t *node, const char *prefix)
{
	char name[NAME_MAX_LENGTH], inner[NAME_MAX_LENGTH + 1];
	bool top = walk->listener < 0;
	int r = 0;

	for (int i = 0; i < config_setting_length(node) && r == 0; i++) {
		const config_setting_t *child = config_setting_get_elem(node, (unsigned)i);
		struct config_place place = place_of(walk, child, name);
		int index;

		snprintf(name, sizeof(name), "%s%s", prefix, config_setting_name(child));
		index = setting_find(SCOPE_LISTENER, name);
		if (index < 0 && top)
			index = setting_find(SCOPE_DAEMON, name);
		if (index >= 0) {
			r = read_setting(walk, index, child);
		} else if (is_group(SCOPE_LISTENER, name) ||
			   (top && is_group(SCOPE_DAEMON, name))) {
			snprintf(inner, sizeof(inner), "%s.", name);
			if (config_setting_is_group(child))
				r = walk_group(walk, child, inner);
			else
				wrong_form(walk, child, name, "a group { ... }");
		} else if (!top || strcmp(name, "listeners") != 0) {
			report_unknown(name, top, &place);
		}
	}
	return r;
}

/* Reads the group of listener @i, which is a copy of the first one or the first one itself. */
static int walk_listener(struct config_loader *loader, size_t i, const config_setting_t *node)
{
	struct walk walk = {loader, (int)i}, top = {loader, -1};
	char name[40];

	loader->listeners[i].line = config_setting_source_line(node);
	if (config_setting_is_group(node))
		return walk_group(&walk, node, "");
	snprintf(name, sizeof(name), "listeners[%zu]", i);
	wrong_form(&top, node, name, "a group { ... }");
	for (size_t k = 0; k < n_settings; k++)
		loader->listeners[i].settings[k].bad = true; /* suppresses further errors */
	return 0;
}

/* Returns the listeners list. Returns NULL if there is none, or after reporting an error in it. */
static const config_setting_t *find_listeners(struct config_loader *loader,
					      const config_setting_t *root)
{
	const config_setting_t *list = config_setting_get_member(root, "listeners");
	struct walk top = {loader, -1};
	struct config_place place;

	if (!list)
		return NULL;
	place = place_of(&top, list, "listeners");
	if (!config_setting_is_list(list))
		wrong_form(&top, list, "listeners", "a list of groups ( { ... }, ... )");
	else if (config_setting_length(list) == 0)
		config_error(&place, "found an empty list; allowed: at least one listener");
	else if (config_setting_length(list) > LISTENERS_MAX)
		config_error(&place, "found %d listeners; allowed: at most %d",
			     config_setting_length(list), LISTENERS_MAX);
	else
		return list;
	return NULL;
}

/* Creates @n listeners, of which the first one has the defaults. Returns 0 or -ENOMEM. */
static int add_listeners(struct config_loader *loader, size_t n)
{
	struct config *config = loader->config;

	loader->listeners = calloc(n, sizeof(*loader->listeners));
	config->listeners = calloc(n, sizeof(*config->listeners));
	if (!loader->listeners || !config->listeners)
		return -ENOMEM;
	config->n_listeners = n;
	return config_set_defaults(SCOPE_LISTENER, &config->listeners[0]);
}

static int copy_first_listener(struct config_loader *loader)
{
	struct config *config = loader->config;
	int r = 0;

	for (size_t i = 1; i < config->n_listeners; i++) {
		loader->listeners[i] = loader->listeners[0];
		for (size_t k = 0; k < n_settings && r == 0; k++)
			if (settings[k].scope == SCOPE_LISTENER)
				r = setting_copy(&settings[k], &config->listeners[i],
						 &config->listeners[0]);
	}
	return r;
}

/*
 * Sets what the command line sets at top level. An option for any setting would belong here, with a
 * source_level of its own.
 */
static void set_port(struct config_loader *loader, int port)
{
	loader->config->listeners[0].port = (uint16_t)port;
	loader->listeners[0].settings[setting_find(SCOPE_LISTENER, "port")] =
		(struct setting_source){.level = SOURCE_TOP};
}

/* Reads the tree @root (NULL: the file does not exist). */
static int walk_tree(struct config_loader *loader, const config_setting_t *root, int port)
{
	const config_setting_t *list = root ? find_listeners(loader, root) : NULL;
	size_t n = list ? (size_t)config_setting_length(list) : 1;
	struct walk top = {loader, -1};
	int r = add_listeners(loader, n);

	loader->config->listed = list != NULL;
	if (r == 0 && root)
		r = walk_group(&top, root, "");
	if (r == 0 && port >= 0)
		set_port(loader, port);
	if (r == 0)
		r = copy_first_listener(loader);
	for (size_t i = 0; list && i < n && r == 0; i++)
		r = walk_listener(loader, i, config_setting_get_elem(list, (unsigned)i));
	return r;
}

/* Reports the error of libconfig. Returns -EINVAL. */
static int parse_error(struct config_loader *loader, const config_t *tree)
{
	static const struct {
		const char *begin;   /* beginning of libconfig's message */
		const char *message; /* replacement */
	} messages[] = {
		{"duplicate", "found a second time (duplicate setting); allowed: once in a group"},
		{"mismatched",
		 "found values of different types in an array; allowed: an array of one type"},
		{"memory exhausted", "syntax error: nested too deeply"}, /* the parser's stack */
		{"syntax error", "syntax error; allowed: name = value;"},
	};
	struct config_place place = {
		.errors = &loader->errors,
		.line = (unsigned)config_error_line(tree),
		.listener = -1,
	};
	const char *found = config_error_text(tree);

	for (size_t i = 0; found && i < sizeof(messages) / sizeof(messages[0]); i++)
		if (strncmp(found, messages[i].begin, strlen(messages[i].begin)) == 0)
			return config_error(&place, "%s", messages[i].message);
	return config_error(&place, "syntax error: %s", found ? found : "unknown error");
}

int config_parse(struct config_loader *loader, const char *text, int port)
{
	config_t tree;
	int r;

	if (!text)
		return walk_tree(loader, NULL, port);
	config_init(&tree);
	if (config_read_string(&tree, text) == CONFIG_TRUE)
		r = walk_tree(loader, config_root_setting(&tree), port);
	else
		r = parse_error(loader, &tree);
	config_destroy(&tree);
	return r;
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, revision) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(revision)

const char *config_library_version(void)
{
	return VERSION_TEXT(LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
}
