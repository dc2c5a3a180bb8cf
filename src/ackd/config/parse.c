/*
 * Sets the settings from libconfig's tree. No other file uses libconfig's parser.
 *
 * The first listener gets the defaults, then the settings at top level. The other listeners begin
 * as copies of it. Then each gets the settings in its own group, and at last those of the command
 * line.
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

/* The group or assignment that is being read. */
struct walk {
	struct config_loader *loader;
	enum source_level level;
	size_t listener; /* that gets the settings */
	unsigned line;	 /* of the assignment; 0: the nodes know theirs */
};

/* Returns whether the walk is that of one listener, which has none of the daemon's settings. */
static bool is_in_listener(const struct walk *walk)
{
	return walk->level == SOURCE_LISTENER || walk->level == SOURCE_OPTION_LISTENER;
}

static struct config_place place_of(const struct walk *walk, const config_setting_t *node,
				    const char *name)
{
	return (struct config_place){
		&walk->loader->errors,
		walk->line > 0 ? walk->line : config_setting_source_line(node),
		is_in_listener(walk) ? (int)walk->listener : -1,
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
	size_t i = walk->listener;
	bool daemon = settings[index].scope == SCOPE_DAEMON;
	void *object = daemon ? (void *)config : &config->listeners[i];
	struct setting_source *source =
		daemon ? &loader->sources[index] : &loader->listeners[i].settings[index];
	int r = read_value(walk, &settings[index], object, node);

	source->level = walk->level;
	source->bad = r < 0;
	source->line = place_of(walk, node, NULL).line;
	return r == -EINVAL ? 0 : r;
}

/* Returns whether @name is a group: the first part of the dotted name of a setting in @scope. */
static bool is_group(enum setting_scope scope, const char *name)
{
	for (size_t i = 0; i < n_settings; i++)
		if (settings[i].scope == scope && setting_is_in(&settings[i], name))
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
	if (!top && is_group(SCOPE_DAEMON, name))
		offer(&guess, "", name, strlen(name), " at top level");
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
	bool top = !is_in_listener(walk);
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

/*
 * Reads the group of listener @i, which is a copy of the first one or the first one itself. @line
 * is that of struct walk.
 */
static int walk_listener(struct config_loader *loader, size_t i, const config_setting_t *node,
			 unsigned line)
{
	struct walk walk = {loader, SOURCE_LISTENER, i, line};
	struct walk top = {loader, SOURCE_TOP, 0, line};
	char name[40];

	loader->listeners[i].line = place_of(&top, node, NULL).line;
	if (config_setting_is_group(node))
		return walk_group(&walk, node, "");
	snprintf(name, sizeof(name), "listeners[%zu]", i);
	wrong_form(&top, node, name, "a group { ... }");
	for (size_t k = 0; k < n_settings; k++)
		loader->listeners[i].settings[k].bad = true; /* suppresses further errors */
	return 0;
}

/*
 * Returns @list (NULL: none), or NULL after reporting an error in it. @line is that of struct walk.
 */
static const config_setting_t *check_list(struct config_loader *loader,
					  const config_setting_t *list, unsigned line)
{
	struct walk top = {loader, SOURCE_TOP, 0, line};
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

/* Sets the port at top level to the one of -p. */
static void set_port(struct config_loader *loader, int port)
{
	loader->config->listeners[0].port = (uint16_t)port;
	loader->listeners[0].settings[setting_find(SCOPE_LISTENER, "port")] =
		(struct setting_source){.level = SOURCE_TOP};
}

/*
 * Reads the tree @root (NULL: the file does not exist), and the listeners in @list (NULL: none).
 * @line is that of struct walk, for the list.
 */
static int walk_tree(struct config_loader *loader, const config_setting_t *root, int port,
		     const config_setting_t *list, unsigned line)
{
	size_t n = list ? (size_t)config_setting_length(list) : 1;
	struct walk top = {.loader = loader, .level = SOURCE_TOP};
	int r = add_listeners(loader, n);

	loader->config->listed = list != NULL;
	if (r == 0 && root)
		r = walk_group(&top, root, "");
	if (r == 0 && port >= 0)
		set_port(loader, port);
	if (r == 0)
		r = copy_first_listener(loader);
	for (size_t i = 0; list && i < n && r == 0; i++)
		r = walk_listener(loader, i, config_setting_get_elem(list, (unsigned)i), line);
	return r;
}

/*
 * Reports the error of libconfig at line @line of all text; 0: at the line that libconfig reports.
 * Returns -EINVAL.
 */
static int parse_error(struct config_loader *loader, const config_t *tree, unsigned line)
{
	static const struct {
		const char *begin;   /* beginning of libconfig's message */
		const char *message; /* replacement */
	} messages[] = {
		{"duplicate", "found a setting twice in one group; allowed: once"},
		{"mismatched",
		 "found values of different types in an array; allowed: an array of one type"},
		{"memory exhausted", "syntax error: nested too deeply"}, /* the parser's stack */
		{"syntax error", "syntax error; allowed: name = value;"},
	};
	struct config_place place = {
		.errors = &loader->errors,
		.line = line > 0 ? line : (unsigned)config_error_line(tree),
		.listener = -1,
	};
	const char *found = config_error_text(tree);

	if (line > 0 && found && strcmp(found, "syntax error") == 0)
		return config_error(&place, "syntax error; allowed: a value as in a file");
	for (size_t i = 0; found && i < sizeof(messages) / sizeof(messages[0]); i++)
		if (strncmp(found, messages[i].begin, strlen(messages[i].begin)) == 0)
			return config_error(&place, "%s", messages[i].message);
	return config_error(&place, "syntax error: %s", found ? found : "unknown error");
}

/* ---- the command line ---- */

/*
 * Parses the value of @assignment, for @setting (NULL: listeners), into @tree. Returns 0 and the
 * node of the value, -EINVAL after reporting an error, or -ENOMEM. @tree is initialized before and
 * can be destroyed afterwards.
 */
static int parse_assignment(struct config_loader *loader, const struct assignment *assignment,
			    const struct setting *setting, config_t *tree,
			    const config_setting_t **ret_node)
{
	struct config_place place = {&loader->errors, assignment->line, -1, NULL};
	char *text;
	int r = assignment_text(assignment, setting, &loader->errors, &text);

	if (r < 0)
		return r;
	if (config_read_string(tree, text) != CONFIG_TRUE)
		r = parse_error(loader, tree, assignment->line);
	else if (config_setting_length(config_root_setting(tree)) != 1)
		r = config_error(&place, "found several values; allowed: one");
	free(text);
	if (r == 0)
		*ret_node = config_setting_get_elem(config_root_setting(tree), 0);
	return r;
}

/* Finds the last assignment to the list of listeners. Returns NULL if there is none. */
static const struct assignment *find_list(const struct config_loader *loader)
{
	for (size_t i = loader->n_assignments; i > 0; i--)
		if (strcmp(loader->assignments[i - 1].name, "listeners") == 0)
			return &loader->assignments[i - 1];
	return NULL;
}

/* Reports that there is no setting @name. @level is that of the assignment. */
static void report_name(const char *name, enum source_level level, const struct config_place *place)
{
	if (is_group(SCOPE_LISTENER, name) ||
	    (level == SOURCE_OPTION && is_group(SCOPE_DAEMON, name)))
		config_error(place, "found the name of a group; allowed: that of a setting in it, "
				    "with a dot between");
	else
		report_unknown(name, level == SOURCE_OPTION, place);
}

/*
 * Sets the setting @name to the value of @assignment: that of the daemon, or that of listeners from
 * @begin to before @end. Returns 0 (even if it reported an error) or -ENOMEM.
 */
static int assign(struct config_loader *loader, const struct assignment *assignment,
		  enum source_level level, const char *name, size_t begin, size_t end)
{
	struct walk walk = {loader, level, begin, assignment->line};
	struct config_place place = {&loader->errors, assignment->line, -1, name};
	const config_setting_t *node;
	int index = setting_find(SCOPE_LISTENER, name), r;
	config_t tree;

	if (index < 0 && level == SOURCE_OPTION) {
		index = setting_find(SCOPE_DAEMON, name);
		end = begin + 1;
	}
	if (index < 0) {
		report_name(name, level, &place);
		return 0;
	}
	config_init(&tree);
	r = parse_assignment(loader, assignment, &settings[index], &tree, &node);
	for (; r == 0 && walk.listener < end; walk.listener++)
		r = read_setting(&walk, index, node);
	config_destroy(&tree);
	return r == -EINVAL ? 0 : r;
}

/* Reports that no listener has the name with which @name, "NAME.SETTING", begins. */
static void report_listener(struct config_loader *loader, const struct assignment *assignment,
			    const char *name)
{
	struct config_place place = {&loader->errors, assignment->line, -1, NULL};
	const struct config *config = loader->config;
	char word[GUESS_MAX];
	struct nearest nearest = {.word = word};

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "."), name);
	for (size_t i = 0; i < config->n_listeners; i++)
		nearest_offer(&nearest, config->listeners[i].name);
	if (nearest.name && nearest.edits > 0)
		config_error(&place, "no such listener; did you mean listeners.%s?", nearest.name);
	else
		config_error(&place,
			     "%s; allowed: listeners.NAME.SETTING with the name of a listener, "
			     "such as listeners.%s.port",
			     nearest.name ? "found no setting" : "no such listener",
			     nearest.name ? nearest.name : config->listeners[0].name);
}

/*
 * Carries out @assignment to a setting of one listener; @name is "LISTENER.SETTING". Both can have
 * dots: "a.tls.key" is the setting tls.key of "a", unless there is a setting key and a listener
 * "a.tls". Returns 0 (even if it reported an error) or -ENOMEM.
 */
static int assign_listener(struct config_loader *loader, const struct assignment *assignment,
			   const char *name)
{
	const struct config *config = loader->config;
	size_t n = 0, listener = 0;
	bool known = false; /* there is a setting of the rest of the name */

	for (size_t i = 0; i < config->n_listeners; i++) {
		const char *other = config->listeners[i].name;
		size_t n_other = strlen(other);
		bool is_known;

		if (strncmp(name, other, n_other) != 0 || name[n_other] != '.')
			continue;
		is_known = setting_find(SCOPE_LISTENER, name + n_other + 1) >= 0;
		if (is_known > known || (is_known == known && n_other > n)) {
			known = is_known;
			n = n_other;
			listener = i;
		}
	}
	if (n > 0)
		return assign(loader, assignment, SOURCE_OPTION_LISTENER, name + n + 1, listener,
			      listener + 1);
	report_listener(loader, assignment, name);
	return 0;
}

/*
 * Carries out the assignments other than to the list of listeners: first those to all listeners and
 * the daemon, then those to one listener. Returns 0 (even if it reported errors) or -ENOMEM.
 */
static int assign_all(struct config_loader *loader)
{
	static const char group[] = "listeners.";
	int r = 0;

	for (size_t i = 0; i < loader->n_assignments && r == 0; i++) {
		const struct assignment *a = &loader->assignments[i];

		if (strncmp(a->name, group, strlen(group)) != 0 &&
		    strcmp(a->name, "listeners") != 0)
			r = assign(loader, a, SOURCE_OPTION, a->name, 0,
				   loader->config->n_listeners);
	}
	for (size_t i = 0; i < loader->n_assignments && r == 0; i++) {
		const struct assignment *a = &loader->assignments[i];

		if (strncmp(a->name, group, strlen(group)) == 0)
			r = assign_listener(loader, a, a->name + strlen(group));
	}
	return r;
}

/* Walks the file's @tree (NULL: there is no file) and carries out the assignments. */
static int walk_all(struct config_loader *loader, const config_t *tree, int port)
{
	const config_setting_t *root = tree ? config_root_setting(tree) : NULL;
	const config_setting_t *list = root ? config_setting_get_member(root, "listeners") : NULL;
	const struct assignment *replaced = find_list(loader);
	unsigned line = replaced ? replaced->line : 0;
	config_t list_tree;
	int r = 0;

	config_init(&list_tree);
	if (replaced)
		r = parse_assignment(loader, replaced, NULL, &list_tree, &list);
	if (r == 0)
		r = walk_tree(loader, root, port, check_list(loader, list, line), line);
	if (r == 0)
		r = assign_all(loader);
	config_destroy(&list_tree);
	return r;
}

int config_parse(struct config_loader *loader, const char *text, int port)
{
	config_t tree;
	int r;

	if (!text)
		return walk_all(loader, NULL, port);
	config_init(&tree);
	if (config_read_string(&tree, text) == CONFIG_TRUE)
		r = walk_all(loader, &tree, port);
	else
		r = parse_error(loader, &tree, 0);
	config_destroy(&tree);
	return r;
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, revision) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(revision)

const char *config_library_version(void)
{
	return VERSION_TEXT(LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
}
