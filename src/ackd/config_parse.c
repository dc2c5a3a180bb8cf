/* The only file that knows libconfig: its tree becomes calls of setting_set(). */

#include "config_loader.h"

#include <errno.h>
#include <libconfig.h>
#include <string.h>

/* The most that a dotted name can have; longer ones exist for no setting. */
#define NAME_MAX_LENGTH 128

/* A walk over a group that gives the settings of one scope to one object. */
struct walk {
	struct config_loader *loader;
	const struct config_scan *scan;
	enum setting_scope scope;
	bool top; /* the settings of both scopes are known here */
	void *object;
	struct setting_source *sources;
	const char *group;
};

static struct config_place place_of(const struct walk *walk, const config_setting_t *node,
				    const char *name)
{
	struct config_origin origin =
		config_scan_origin(walk->scan, config_setting_source_line(node));

	return (struct config_place){
		.errors = &walk->loader->errors,
		.file = origin.file,
		.line = origin.line,
		.order = config_setting_source_line(node),
		.group = walk->group,
		.setting = name,
	};
}

static struct value value_of(const struct walk *walk, const config_setting_t *node)
{
	struct value value = {.type = VALUE_GROUP};

	switch (config_setting_type(node)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		value.type = VALUE_INTEGER;
		value.integer = config_setting_get_int64(node);
		value.string = config_scan_big_integer(walk->scan, value.integer);
		if (value.string != NULL)
			value.type = VALUE_BIG_INTEGER;
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
		if (value.string == NULL) /* libconfig's way to have "" */
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

static int read_array(struct walk *walk, const struct setting *setting,
		      const config_setting_t *node)
{
	struct config_place place = place_of(walk, node, setting->name);
	struct value value = value_of(walk, node);
	int r, result = 0;

	if (value.type != VALUE_ARRAY && value.type != VALUE_LIST)
		return setting_mismatch(setting, &value, &place);
	setting_clear(setting, walk->object);
	for (int i = 0; i < config_setting_length(node); i++) {
		const config_setting_t *element = config_setting_get_elem(node, (unsigned)i);

		place = place_of(walk, element, setting->name);
		value = value_of(walk, element);
		r = setting_set(setting, walk->object, &value, &place);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			result = r;
	}
	return result;
}

static int read_setting(struct walk *walk, int index, const config_setting_t *node)
{
	const struct setting *setting = &settings[index];
	struct setting_source *source = &walk->sources[index];
	struct config_place place = place_of(walk, node, setting->name);
	struct value value = value_of(walk, node);
	int r;

	if (setting->flags & SETTING_UNBUILT)
		r = config_error(
			&place,
			"this ackd was built without that feature; allowed: leaving it out");
	else if (setting_is_array(setting))
		r = read_array(walk, setting, node);
	else
		r = setting_set(setting, walk->object, &value, &place);
	source->level = walk->top ? SOURCE_TOP : SOURCE_LISTENER;
	source->bad = r < 0;
	source->file = place.file;
	source->line = place.line;
	source->order = place.order;
	return r == -EINVAL ? 0 : r;
}

static int unknown_setting(const struct walk *walk, const config_setting_t *node, const char *name)
{
	struct config_place place = place_of(walk, node, name);

	return setting_unknown(name, walk->top, &place);
}

static int walk_group(struct walk *walk, const config_setting_t *node, const char *prefix);

static int walk_subgroup(struct walk *walk, const config_setting_t *node, const char *name)
{
	struct config_place place = place_of(walk, node, name);
	struct value value = value_of(walk, node);
	char prefix[NAME_MAX_LENGTH + 1], found[VALUE_TEXT_MAX];

	if (value.type != VALUE_GROUP) {
		config_error(&place, "found %s; allowed: a group { ... }",
			     value_text(&value, found));
		return 0;
	}
	snprintf(prefix, sizeof(prefix), "%s.", name);
	return walk_group(walk, node, prefix);
}

/* Reads the settings in the group @node, whose dotted name is @prefix (with a dot, or empty). */
static int walk_group(struct walk *walk, const config_setting_t *node, const char *prefix)
{
	char name[NAME_MAX_LENGTH];
	int r = 0;

	for (int i = 0; i < config_setting_length(node) && r == 0; i++) {
		const config_setting_t *child = config_setting_get_elem(node, (unsigned)i);
		int index;

		snprintf(name, sizeof(name), "%s%s", prefix, config_setting_name(child));
		index = setting_find(SCOPE_LISTENER, name);
		if (index < 0 && walk->top)
			index = setting_find(SCOPE_DAEMON, name);
		if (index >= 0) {
			if (settings[index].scope == walk->scope)
				r = read_setting(walk, index, child);
		} else if (setting_is_group(SCOPE_LISTENER, name) ||
			   (walk->top && setting_is_group(SCOPE_DAEMON, name))) {
			r = walk_subgroup(walk, child, name);
		} else if (!walk->top || strcmp(name, "listeners") != 0) {
			r = unknown_setting(walk, child, name);
		}
	}
	return r;
}

/* Returns the name that is given a value in line @line of the text, if it is the only one. */
static bool name_in_line(const struct config_scan *scan, int line, char ret_name[NAME_MAX_LENGTH])
{
	const char *p = scan->text, *end;
	size_t n, n_found = 0;

	for (; line > 1 && p != NULL; line--) {
		p = strchr(p, '\n');
		p = p != NULL ? p + 1 : NULL;
	}
	if (p == NULL)
		return false;
	for (end = strchrnul(p, '\n'); p < end; p += n + strspn(p + n, " ")) {
		n = strcspn(p, " \n");
		if (n < NAME_MAX_LENGTH &&
		    (strncmp(p + n, " = ", 3) == 0 || strncmp(p + n, " : ", 3) == 0)) {
			memcpy(ret_name, p, n);
			ret_name[n] = '\0';
			n_found++;
		}
	}
	return n_found == 1;
}

/* Tells what libconfig said. */
static int parse_error(struct config_loader *loader, const struct config_scan *scan,
		       const config_t *tree)
{
	int line = config_error_line(tree);
	struct config_origin origin = config_scan_origin(scan, (unsigned)line);
	struct config_place place = {
		.errors = &loader->errors,
		.file = origin.file,
		.line = origin.line,
	};
	const char *text = config_error_text(tree);
	char name[NAME_MAX_LENGTH];

	if (text == NULL)
		text = "unknown error";
	if (strncmp(text, "duplicate", strlen("duplicate")) == 0) {
		if (name_in_line(scan, line, name))
			place.setting = name;
		return config_error(&place, "found a second time (duplicate setting); "
					    "allowed: once");
	}
	if (strncmp(text, "mismatched", strlen("mismatched")) == 0) {
		if (name_in_line(scan, line, name))
			place.setting = name;
		return config_error(&place, "found values of different types in an array; "
					    "allowed: an array of one type");
	}
	if (strcmp(text, "memory exhausted") == 0) /* the parser's stack */
		return config_error(&place, "syntax error: nested too deeply");
	if (strcmp(text, "syntax error") == 0)
		return config_error(&place, "syntax error; allowed: name = value;");
	return config_error(&place, "syntax error: %s", text);
}

/* Gives the settings at top level to the daemon and to each listener. */
static int walk_top(struct walk *walk, const config_setting_t *root, int port)
{
	struct config_loader *loader = walk->loader;
	int r;

	walk->top = true;
	walk->group = "";
	walk->scope = SCOPE_DAEMON;
	walk->object = loader->config;
	walk->sources = loader->sources;
	r = walk_group(walk, root, "");
	walk->scope = SCOPE_LISTENER;
	for (size_t i = 0; i < loader->config->n_listeners && r == 0; i++) {
		walk->object = &loader->config->listeners[i];
		walk->sources = loader->listeners[i].settings;
		r = walk_group(walk, root, "");
	}
	if (port >= 0)
		config_set_port(loader, port);
	return r;
}

static int walk_listener(struct walk *walk, const config_setting_t *node, size_t i)
{
	struct config_loader *loader = walk->loader;
	struct listener_sources *sources = &loader->listeners[i];
	struct value value = value_of(walk, node);
	struct config_place place;
	char found[VALUE_TEXT_MAX];

	snprintf(sources->group, sizeof(sources->group), "listeners[%zu]", i);
	place = place_of(walk, node, sources->group);
	sources->file = place.file;
	sources->line = place.line;
	sources->order = place.order;
	if (value.type != VALUE_GROUP) {
		place.group = "";
		config_error(&place, "found %s; allowed: a group { ... }",
			     value_text(&value, found));
		for (size_t k = 0; k < n_settings; k++)
			sources->settings[k].bad = true; /* say no more about it */
		return 0;
	}
	snprintf(sources->group, sizeof(sources->group), "listeners[%zu].", i);
	walk->top = false;
	walk->group = sources->group;
	walk->scope = SCOPE_LISTENER;
	walk->object = &loader->config->listeners[i];
	walk->sources = sources->settings;
	return walk_group(walk, node, "");
}

/* Returns the listeners' list, or NULL: without one, or after telling what is wrong with it. */
static const config_setting_t *find_listeners(struct walk *walk, const config_setting_t *root)
{
	const config_setting_t *list = config_setting_get_member(root, "listeners");
	struct config_place place;
	struct value value;
	char found[VALUE_TEXT_MAX];

	if (list == NULL)
		return NULL;
	place = place_of(walk, list, "listeners");
	value = value_of(walk, list);
	if (value.type != VALUE_LIST)
		config_error(&place, "found %s; allowed: a list of groups ( { ... }, ... )",
			     value_text(&value, found));
	else if (config_setting_length(list) == 0)
		config_error(&place, "found an empty list; allowed: at least one listener");
	else
		return list;
	return NULL;
}

static int walk_tree(struct walk *walk, const config_setting_t *root, int port)
{
	struct config_loader *loader = walk->loader;
	const config_setting_t *list = find_listeners(walk, root);
	size_t n = list != NULL ? (size_t)config_setting_length(list) : 1;
	int r;

	loader->config->listed = list != NULL;
	r = config_add_listeners(loader, n);
	if (r == 0)
		r = walk_top(walk, root, port);
	for (size_t i = 0; list != NULL && i < n && r == 0; i++)
		r = walk_listener(walk, config_setting_get_elem(list, (unsigned)i), i);
	return r;
}

int config_parse(struct config_loader *loader, const struct config_scan *scan, int port)
{
	struct walk walk = {.loader = loader, .scan = scan, .group = ""};
	config_t tree;
	int r;

	config_init(&tree);
	if (config_read_string(&tree, scan->text) == CONFIG_TRUE)
		r = walk_tree(&walk, config_root_setting(&tree), port);
	else
		r = parse_error(loader, scan, &tree);
	config_destroy(&tree);
	return r;
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, revision) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(revision)

const char *config_library_version(void)
{
	return VERSION_TEXT(LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
}
