/* What is found and what is allowed, in words. */

#include "config_setting.h"

#include "config_units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

static void describe_words(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; setting->words[i] != NULL; i++)
		n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%s\"%s\"",
				      i == 0			      ? ""
				      : setting->words[i + 1] != NULL ? ", "
								      : " or ",
				      setting->words[i]);
}

static const char *describe_allowed(const struct setting *s, char out[VALUE_TEXT_MAX])
{
	uint64_t us = s->type == SETTING_MILLISECONDS ? 1000 : 1;
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];

	switch (s->type) {
	case SETTING_INTEGER:
		snprintf(out, VALUE_TEXT_MAX, "an integer from %" PRIu64 " to %" PRIu64, s->minimum,
			 s->maximum);
		break;
	case SETTING_SIZE:
		snprintf(out, VALUE_TEXT_MAX,
			 "from %s to %s: an integer (bytes), or a string such as \"64KiB\", "
			 "\"1MiB\"",
			 size_text(s->minimum, low), size_text(s->maximum, high));
		break;
	case SETTING_MILLISECONDS:
	case SETTING_MICROSECONDS:
		snprintf(out, VALUE_TEXT_MAX,
			 "from %s to %s, in whole %s: a number (seconds), or a string such as "
			 "\"500ms\", \"30s\", \"5min\", \"1h\"",
			 duration_text(s->minimum * us, low), duration_text(s->maximum * us, high),
			 us == 1 ? "microseconds" : "milliseconds");
		break;
	case SETTING_BOOLEAN:
		snprintf(out, VALUE_TEXT_MAX, "true or false");
		break;
	case SETTING_NAME:
		snprintf(out, VALUE_TEXT_MAX,
			 "a string of 1 to %" PRIu64 " of the characters A-Z a-z 0-9 . _ -",
			 s->maximum);
		break;
	case SETTING_ADDRESS:
		snprintf(out, VALUE_TEXT_MAX,
			 "a string: an IPv4 or IPv6 address, a host name, or \"*\"");
		break;
	case SETTING_PATH:
		snprintf(out, VALUE_TEXT_MAX, "a string: a path of 1 to %" PRIu64 " bytes",
			 s->maximum);
		break;
	case SETTING_MODE:
		snprintf(out, VALUE_TEXT_MAX, "a string of octal digits from \"0000\" to \"0777\"");
		break;
	case SETTING_TEMPLATE:
		snprintf(out, VALUE_TEXT_MAX, "a string");
		break;
	case SETTING_WORD:
		describe_words(s, out);
		break;
	case SETTING_NETWORKS:
	case SETTING_PROXIES:
		snprintf(out, VALUE_TEXT_MAX,
			 "an array of strings such as \"192.0.2.0/24\", \"2001:db8::/32\"%s",
			 s->type == SETTING_PROXIES ? ", \"unix\"" : "");
		break;
	}
	return out;
}

int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place)
{
	char found[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];

	return config_error(place, "found %s; allowed: %s", value_text(value, found),
			    describe_allowed(setting, allowed));
}

int setting_mismatch_because(const struct setting *setting, const struct value *value,
			     const struct config_place *place, const char *because)
{
	char found[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];

	return config_error(place, "found %s, %s; allowed: %s", value_text(value, found), because,
			    describe_allowed(setting, allowed));
}

/* Returns the setting whose dotted name ends like @name, if it can be meant; else NULL. */
static const struct setting *same_last_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; i < n_settings; i++) {
		const char *other = strrchr(settings[i].name, '.');

		if (strcasecmp(other != NULL ? other + 1 : settings[i].name,
			       dot != NULL ? dot + 1 : name) == 0)
			return &settings[i];
	}
	return NULL;
}

/* Writes the names of what can stand in the group @prefix ("limits.", or ""), groups once. */
static void list_settings(const char *prefix, size_t n_prefix, bool top, FILE *out)
{
	const char *last = "", *separator = "";
	size_t n_last = 0;

	for (size_t i = 0; i < n_settings; i++) {
		const char *name = settings[i].name;
		size_t n;

		if ((settings[i].scope == SCOPE_DAEMON && !top) ||
		    strncmp(name, prefix, n_prefix) != 0)
			continue;
		name += n_prefix;
		n = strcspn(name, ".");
		if (n == n_last && strncmp(name, last, n) == 0)
			continue;
		fprintf(out, "%s%.*s", separator, (int)n, name);
		separator = ", ";
		last = name;
		n_last = n;
	}
	if (top && n_prefix == 0)
		fputs(", listeners", out);
}

int setting_unknown(const char *name, bool top, const struct config_place *place)
{
	const struct setting *meant = same_last_name(name);
	const char *dot = strrchr(name, '.');
	char *allowed = NULL;
	size_t n;
	FILE *f;

	if (meant != NULL) {
		config_error(place, "no such setting; allowed: %s%s", meant->name,
			     meant->scope == SCOPE_DAEMON ? " (at top level)" : "");
		return 0;
	}
	f = open_memstream(&allowed, &n);
	if (f == NULL)
		return -ENOMEM;
	list_settings(name, dot != NULL ? (size_t)(dot - name) + 1 : 0, top, f);
	if (fclose(f) != 0 || allowed == NULL) { /* glibc can lose it without an error */
		free(allowed);
		return -ENOMEM;
	}
	config_error(place, "no such setting; allowed: %s", allowed);
	free(allowed);
	return 0;
}
