/* The table of settings, and what does not depend on the type of a setting. */

#include "ackd/config/internal.h"
#include "base/nearest.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORDS(name, ...) static const char *const name[] = {__VA_ARGS__, NULL};
#define SETTING(...)
#include "ackd/config/settings.def"
#undef WORDS
#undef SETTING

#define STRUCT_LISTENER struct config_listener
#define STRUCT_DAEMON struct config
#define WORDS(...)
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
static_assert(sizeof(settings) / sizeof(settings[0]) <= SETTINGS_MAX, "SETTINGS_MAX is too small");

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

int setting_set_text(const struct setting *setting, void *object, const char *text,
		     const struct config_place *place)
{
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
	return setting_set(setting, object, &value, place);
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
		return value->integer ? "true" : "false";
	case VALUE_STRING:
		snprintf(out, VALUE_TEXT_MAX, "the string %s", config_quote(value->string, quoted));
		break;
	case VALUE_GROUP:
		return "a group { ... }";
	case VALUE_ARRAY:
		return "an array [ ... ]";
	case VALUE_LIST:
		return "a list ( ... )";
	}
	return out;
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

void setting_unknown(const char *name, bool top, const struct config_place *place)
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
