/* Converts libconfig's tree to calls of setting_set(). No other file uses libconfig's parser. */

#include "ackd/config/loader.h"

#include <errno.h>
#include <libconfig.h>
#include <string.h>

/* The maximum length of a dotted name; no setting has a longer one. */
#define NAME_MAX_LENGTH 128
/* A limit, because each listener is compared with all others. */
#define LISTENERS_MAX 1024

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-*"

/*
 * A walk over a group. Its settings apply to the daemon, or to the listeners from @first to before
 * @end.
 */
struct walk {
	struct config_loader *loader;
	const struct config_text *text;
	bool top; /* at top level, where the daemon's settings are valid, too */
	size_t first;
	size_t end;
	const char *group; /* for messages */
};

static struct config_place place_of(const struct walk *walk, const config_setting_t *node,
				    const char *name)
{
	struct config_origin origin =
		config_text_origin(walk->text, config_setting_source_line(node));

	return (struct config_place){
		.errors = &walk->loader->errors,
		.file = origin.file,
		.line = origin.line,
		.order = config_setting_source_line(node),
		.group = walk->group,
		.setting = name,
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
		if (value.string == NULL) /* libconfig represents "" like this */
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

static int read_array(struct walk *walk, const struct setting *setting, void *object,
		      const config_setting_t *node, struct config_errors *errors)
{
	struct config_place place = place_of(walk, node, setting->name);
	struct value value = value_of(node);
	int r, result = 0;

	place.errors = errors;
	if (value.type != VALUE_ARRAY && value.type != VALUE_LIST)
		return setting_mismatch(setting, &value, &place);
	setting_clear(setting, object);
	for (int i = 0; i < config_setting_length(node); i++) {
		const config_setting_t *element = config_setting_get_elem(node, (unsigned)i);

		place = place_of(walk, element, setting->name);
		place.errors = errors;
		value = value_of(element);
		r = setting_set(setting, object, &value, &place);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			result = r;
	}
	return result;
}

/* Reads the setting into @object. Errors are added to @errors (NULL: dropped). */
static int read_setting(struct walk *walk, int index, const config_setting_t *node, void *object,
			struct setting_source *source, struct config_errors *errors)
{
	const struct setting *setting = &settings[index];
	struct config_place place = place_of(walk, node, setting->name);
	struct value value = value_of(node);
	int r;

	place.errors = errors;
	if (setting->flags & SETTING_UNBUILT)
		r = config_error(
			&place,
			"this ackd was built without that feature; allowed: leaving it out");
	else if (setting_is_array(setting))
		r = read_array(walk, setting, object, node, errors);
	else
		r = setting_set(setting, object, &value, &place);
	source->level = walk->top ? SOURCE_TOP : SOURCE_LISTENER;
	source->bad = r < 0;
	source->file = place.file;
	source->line = place.line;
	source->order = place.order;
	return r == -EINVAL ? 0 : r;
}

/* Reads the setting for the daemon, or for each listener of the walk. */
static int read_for_all(struct walk *walk, int index, const config_setting_t *node)
{
	struct config_loader *loader = walk->loader;
	struct config_errors *errors = &loader->errors;
	int r = 0;

	if (settings[index].scope == SCOPE_DAEMON)
		return read_setting(walk, index, node, loader->config, &loader->sources[index],
				    errors);
	for (size_t i = walk->first; i < walk->end && r == 0; i++) {
		r = read_setting(walk, index, node, &loader->config->listeners[i],
				 &loader->listeners[i].settings[index], errors);
		errors = NULL; /* the other listeners have the same errors */
	}
	return r;
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
	struct value value = value_of(node);
	char prefix[NAME_MAX_LENGTH + 1], found[VALUE_TEXT_MAX];

	if (value.type != VALUE_GROUP) {
		config_error(&place, "found %s; allowed: a group { ... }",
			     value_text(&value, found));
		return 0;
	}
	snprintf(prefix, sizeof(prefix), "%s.", name);
	return walk_group(walk, node, prefix);
}

/*
 * Reads the settings in the group @node. @prefix is its dotted name with a dot at the end, or
 * empty.
 */
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
		if (index >= 0)
			r = read_for_all(walk, index, child);
		else if (setting_is_group(SCOPE_LISTENER, name) ||
			 (walk->top && setting_is_group(SCOPE_DAEMON, name)))
			r = walk_subgroup(walk, child, name);
		else if (!walk->top || strcmp(name, "listeners") != 0)
			r = unknown_setting(walk, child, name);
	}
	return r;
}

/* Returns the length of the quoted string at @p, including the quotes. */
static size_t string_length(const char *p)
{
	size_t n = 1;

	while (p[n] != '\0' && p[n] != '"')
		n += p[n] == '\\' && p[n + 1] != '\0' ? 2 : 1;
	return p[n] == '"' ? n + 1 : n;
}

/*
 * Finds the name that an error in line @line of the text concerns: the only name that is assigned
 * there, or else the first one if it is assigned twice. Returns whether there is such a name.
 */
static bool name_in_line(const struct config_text *text, unsigned line,
			 char ret_name[NAME_MAX_LENGTH])
{
	char last[NAME_MAX_LENGTH], first[NAME_MAX_LENGTH] = "";
	const char *p = text->bytes;
	size_t n, n_found = 0, n_same = 0;
	char next;

	for (; line > 1 && p != NULL; line--) {
		p = strchr(p, '\n');
		p = p != NULL ? p + 1 : NULL;
	}
	for (; p != NULL && *p != '\0' && *p != '\n'; p += n) {
		if (*p == '"') {
			n = string_length(p);
			continue;
		}
		n = strspn(p, NAME_CHARACTERS);
		next = p[n + strspn(p + n, " \t")];
		if (n > 0 && n < NAME_MAX_LENGTH && (next == '=' || next == ':')) {
			memcpy(last, p, n);
			last[n] = '\0';
			if (n_found++ == 0)
				memcpy(first, last, sizeof(first));
			n_same += strcmp(first, last) == 0;
		}
		n += n == 0;
	}
	memcpy(ret_name, first, sizeof(first));
	return n_found == 1 || n_same > 1;
}

/* Reports the error of libconfig. */
static int parse_error(struct config_loader *loader, const struct config_text *text,
		       const config_t *tree)
{
	static const struct {
		const char *begin;   /* beginning of libconfig's message */
		const char *message; /* replacement */
		bool named;
	} messages[] = {
		{"duplicate", "found a second time (duplicate setting); allowed: once", true},
		{"mismatched",
		 "found values of different types in an array; allowed: an array of one type",
		 true},
		{"memory exhausted", "syntax error: nested too deeply",
		 false}, /* exhaustion of the parser's stack */
		{"syntax error", "syntax error; allowed: name = value;", false},
	};
	unsigned line = (unsigned)config_error_line(tree);
	struct config_origin origin = config_text_origin(text, line);
	struct config_place place = {
		.errors = &loader->errors,
		.file = origin.file,
		.line = origin.line,
		.order = line,
	};
	const char *found = config_error_text(tree);
	char name[NAME_MAX_LENGTH];

	for (size_t i = 0; found != NULL && i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (strncmp(found, messages[i].begin, strlen(messages[i].begin)) != 0)
			continue;
		if (messages[i].named && name_in_line(text, line, name))
			place.setting = name;
		return config_error(&place, "%s", messages[i].message);
	}
	return config_error(&place, "syntax error: %s", found != NULL ? found : "unknown error");
}

static int walk_listener(struct walk *walk, const config_setting_t *node, size_t i)
{
	struct config_loader *loader = walk->loader;
	struct listener_sources *sources = &loader->listeners[i];
	struct value value = value_of(node);
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
			sources->settings[k].bad = true; /* suppresses further errors about it */
		return 0;
	}
	snprintf(sources->group, sizeof(sources->group), "listeners[%zu].", i);
	walk->top = false;
	walk->group = sources->group;
	walk->first = i;
	walk->end = i + 1;
	return walk_group(walk, node, "");
}

/* Returns the listeners list. Returns NULL if there is none, or after reporting an error in it. */
static const config_setting_t *find_listeners(struct walk *walk, const config_setting_t *root)
{
	const config_setting_t *list = config_setting_get_member(root, "listeners");
	struct config_place place;
	struct value value;
	char found[VALUE_TEXT_MAX];

	if (list == NULL)
		return NULL;
	place = place_of(walk, list, "listeners");
	value = value_of(list);
	if (value.type != VALUE_LIST)
		config_error(&place, "found %s; allowed: a list of groups ( { ... }, ... )",
			     value_text(&value, found));
	else if (config_setting_length(list) == 0)
		config_error(&place, "found an empty list; allowed: at least one listener");
	else if (config_setting_length(list) > LISTENERS_MAX)
		config_error(&place, "found %d listeners; allowed: at most %d",
			     config_setting_length(list), LISTENERS_MAX);
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
	walk->top = true;
	walk->end = n;
	if (r == 0)
		r = walk_group(walk, root, "");
	if (r == 0 && port >= 0)
		config_set_port(loader, port);
	for (size_t i = 0; list != NULL && i < n && r == 0; i++)
		r = walk_listener(walk, config_setting_get_elem(list, (unsigned)i), i);
	return r;
}

int config_parse(struct config_loader *loader, const struct config_text *text, int port)
{
	struct walk walk = {.loader = loader, .text = text, .group = ""};
	config_t tree;
	int r;

	config_init(&tree);
	if (config_read_string(&tree, text->bytes) == CONFIG_TRUE)
		r = walk_tree(&walk, config_root_setting(&tree), port);
	else
		r = parse_error(loader, text, &tree);
	config_destroy(&tree);
	return r;
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, revision) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(revision)

const char *config_library_version(void)
{
	return VERSION_TEXT(LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
}
