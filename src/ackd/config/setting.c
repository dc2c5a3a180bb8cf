#include "ackd/config/setting.h"

#include "ackd/config/types.h"
#include "base/nearest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Words in the order of the enum that they stand for. */
static const char *const reply_words[] = {"ack", "echo", "discard", NULL};
static const char *const framing_words[] = {"stream", "line", NULL};
static const char *const decode_errors_words[] = {"strict", "replace", "ignore", "backslashreplace",
						  NULL};
static const char *const charset_words[] = {"utf-8", "ascii", "iso-8859-1", "windows-1252", NULL};
static const char *const encode_errors_words[] = {
	"strict", "replace", "ignore", "xmlcharrefreplace", "backslashreplace", NULL};
static const char *const log_level_words[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const log_target_words[] = {"auto", "journal", "stderr", NULL};

#define STRUCT_LISTENER struct config_listener
#define STRUCT_DAEMON struct config
#define SETTING(scope, name, type, member, minimum, maximum, words, default, flags)                \
	{                                                                                          \
		SCOPE_##scope,                                                                     \
		name,                                                                              \
		&type_##type,                                                                      \
		offsetof(STRUCT_##scope, member),                                                  \
		sizeof(((STRUCT_##scope *)NULL)->member),                                          \
		minimum,                                                                           \
		maximum,                                                                           \
		words,                                                                             \
		default,                                                                           \
		flags,                                                                             \
	},

const struct setting settings[] = {
#include "ackd/config/settings.def"
};
const size_t n_settings = sizeof(settings) / sizeof(settings[0]);
_Static_assert(sizeof(settings) / sizeof(settings[0]) <= SETTINGS_MAX, "SETTINGS_MAX is too small");

int setting_find(enum setting_scope scope, const char *name)
{
	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == scope && strcmp(settings[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

bool setting_is_group(enum setting_scope scope, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == scope && strncmp(settings[i].name, name, n) == 0 &&
		    settings[i].name[n] == '.')
			return true;
	}
	return false;
}

bool setting_is_array(const struct setting *setting)
{
	return setting->type->kind == KIND_ARRAY;
}

int setting_set_default(const struct setting *setting, void *object)
{
	const char *text = setting->default_text;
	struct config_place place = {.setting = setting->name};
	struct value value = {.type = VALUE_STRING, .string = text};
	char *end;

	setting_clear(setting, object);
	if (text == NULL || setting_is_array(setting))
		return 0;
	if (setting->type->kind == KIND_BOOLEAN) {
		value.type = VALUE_BOOLEAN;
		value.integer = strcmp(text, "true") == 0;
	} else if (setting->type->kind == KIND_NUMBER) {
		value.integer = strtoll(text, &end, 10);
		if (*end == '\0')
			value.type = VALUE_INTEGER;
	}
	return setting->type->set(setting, object, &value, &place);
}

void setting_clear(const struct setting *setting, void *object)
{
	if (setting->type->clear != NULL)
		setting->type->clear(setting, object);
	else
		memset((char *)object + setting->offset, 0, setting->size);
}

int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place)
{
	return setting->type->set(setting, object, value, place);
}

bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	if (setting->type->equal != NULL)
		return setting->type->equal(setting, a, b);
	return memcmp((const char *)a + setting->offset, (const char *)b + setting->offset,
		      setting->size) == 0;
}

void setting_print(const struct setting *setting, const void *object, FILE *out)
{
	setting->type->print(setting, object, out);
}

/* 5.0 must not look like an integer. */
static void float_text(double value, char out[VALUE_TEXT_MAX])
{
	int n = snprintf(out, VALUE_TEXT_MAX, "%.15g", value);

	if (out[strspn(out, "-0123456789")] == '\0')
		snprintf(out + n, VALUE_TEXT_MAX - (size_t)n, ".0");
}

const char *value_text(const struct value *value, char out[VALUE_TEXT_MAX])
{
	char quoted[QUOTE_MAX];

	switch (value->type) {
	case VALUE_INTEGER:
		snprintf(out, VALUE_TEXT_MAX, "%" PRId64, value->integer);
		break;
	case VALUE_FLOAT:
		float_text(value->real, out);
		break;
	case VALUE_BOOLEAN:
		snprintf(out, VALUE_TEXT_MAX, "%s", value->integer ? "true" : "false");
		break;
	case VALUE_STRING:
		snprintf(out, VALUE_TEXT_MAX, "the string %s", config_quote(value->string, quoted));
		break;
	case VALUE_GROUP:
		snprintf(out, VALUE_TEXT_MAX, "a group { ... }");
		break;
	case VALUE_ARRAY:
		snprintf(out, VALUE_TEXT_MAX, "an array [ ... ]");
		break;
	case VALUE_LIST:
		snprintf(out, VALUE_TEXT_MAX, "a list ( ... )");
		break;
	}
	return out;
}

int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place)
{
	char found[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];

	setting->type->describe(setting, allowed);
	return config_error(place, "found %s; allowed: %s", value_text(value, found), allowed);
}

int setting_mismatch_because(const struct setting *setting, const struct value *value,
			     const struct config_place *place, const char *because)
{
	char found[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];

	setting->type->describe(setting, allowed);
	return config_error(place, "found %s, %s; allowed: %s", value_text(value, found), because,
			    allowed);
}

/*
 * Returns the next name that is valid in the group @prefix ("limits.", or ""). Each group name is
 * returned once.
 */
static const char *next_name(const char *prefix, bool top, size_t *i, size_t *ret_length)
{
	size_t n_prefix = strlen(prefix);

	for (; *i < n_settings; ++*i) {
		const struct setting *s = &settings[*i];
		size_t n;

		if ((s->scope == SCOPE_DAEMON && !top) || strncmp(s->name, prefix, n_prefix) != 0)
			continue;
		n = strcspn(s->name + n_prefix, ".");
		if (*i > 0 && strncmp(s[-1].name, s->name, n_prefix + n) == 0 &&
		    s[-1].name[n_prefix + n] == '.')
			continue;
		++*i;
		*ret_length = n;
		return s->name + n_prefix;
	}
	return NULL;
}

static const char listeners_name[] = "listeners"; /* valid at top level, but not in settings[] */

/* The known name that is nearest to an unknown one. */
struct guess {
	struct nearest nearest;
	size_t length; /* length of the name, which may be only the beginning of nearest.name */
	const struct setting *elsewhere; /* the setting, if it is in another group */
};

static void offer(struct guess *guess, const char *name, size_t length,
		  const struct setting *elsewhere)
{
	char copy[NEAREST_WORD_MAX + 2];

	snprintf(copy, sizeof(copy), "%.*s", (int)length, name);
	nearest_offer(&guess->nearest, copy);
	if (guess->nearest.name != copy)
		return;
	guess->nearest.name = name;
	guess->length = length;
	guess->elsewhere = elsewhere;
}

/* Searches the group @prefix first, then all others. */
static struct guess guess_name(const char *word, const char *prefix, bool top)
{
	struct guess guess = {.nearest.word = word};
	const char *name;
	size_t i = 0, n;

	while ((name = next_name(prefix, top, &i, &n)))
		offer(&guess, name, n, NULL);
	if (top && *prefix == '\0')
		offer(&guess, listeners_name, strlen(listeners_name), NULL);
	for (i = 0; i < n_settings; i++) {
		const char *dot = strrchr(settings[i].name, '.');

		name = dot ? dot + 1 : settings[i].name;
		offer(&guess, name, strlen(name), &settings[i]);
	}
	return guess;
}

/*
 * Returns the names that are valid in the group, separated by commas (free), or NULL when out of
 * memory.
 */
static char *list_names(const char *prefix, bool top)
{
	const char *name, *separator = "";
	char *list = NULL;
	size_t i = 0, n;
	FILE *f = open_memstream(&list, &n);

	if (!f)
		return NULL;
	while ((name = next_name(prefix, top, &i, &n))) {
		fprintf(f, "%s%.*s", separator, (int)n, name);
		separator = ", ";
	}
	if (top && *prefix == '\0')
		fprintf(f, "%s%s", separator, listeners_name);
	if (fclose(f) == 0)
		return list;
	free(list);
	return NULL; /* glibc can fail to allocate @list without an error */
}

int setting_unknown(const char *name, bool top, const struct config_place *place)
{
	const char *dot = strrchr(name, '.');
	const char *word = dot ? dot + 1 : name;
	char *prefix = strndup(name, (size_t)(word - name));
	struct guess guess;
	char *allowed;

	if (!prefix)
		return -ENOMEM;
	guess = guess_name(word, prefix, top);
	if (guess.elsewhere)
		config_error(place, "no such setting; did you mean %s%s?", guess.elsewhere->name,
			     guess.elsewhere->scope == SCOPE_DAEMON && !top ? " at top level" : "");
	else if (guess.nearest.name)
		config_error(place, "no such setting; did you mean %s%.*s?", prefix,
			     (int)guess.length, guess.nearest.name);
	allowed = guess.nearest.name ? NULL : list_names(prefix, top);
	free(prefix);
	if (guess.nearest.name)
		return 0;
	if (!allowed)
		return -ENOMEM;
	config_error(place, "no such setting; allowed: %s", allowed);
	free(allowed);
	return 0;
}
