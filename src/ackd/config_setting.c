#include "config_setting.h"

#include "config_units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Each in the order of its enum. */
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
		SETTING_##type,                                                                    \
		offsetof(STRUCT_##scope, member),                                                  \
		sizeof(((STRUCT_##scope *)NULL)->member),                                          \
		minimum,                                                                           \
		maximum,                                                                           \
		words,                                                                             \
		default,                                                                           \
		flags,                                                                             \
	},

const struct setting settings[] = {
#include "settings.def"
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
	return setting->type == SETTING_NETWORKS || setting->type == SETTING_PROXIES;
}

static bool is_string(const struct setting *setting)
{
	return setting->type == SETTING_NAME || setting->type == SETTING_ADDRESS ||
	       setting->type == SETTING_PATH || setting->type == SETTING_TEMPLATE;
}

int setting_set_default(const struct setting *setting, void *object)
{
	const char *text = setting->default_text;
	struct config_errors errors = {0};
	struct config_place place = {.errors = &errors, .setting = setting->name};
	struct value value = {.type = VALUE_STRING, .string = text};
	char *end;
	int r;

	setting_clear(setting, object);
	if (text == NULL || setting_is_array(setting))
		return 0;
	if (setting->type == SETTING_BOOLEAN) {
		value.type = VALUE_BOOLEAN;
		value.integer = strcmp(text, "true") == 0;
	} else if (!is_string(setting) && setting->type != SETTING_MODE) {
		value.integer = strtoll(text, &end, 10);
		if (*end == '\0')
			value.type = VALUE_INTEGER;
	}
	r = setting_set(setting, object, &value, &place);
	config_errors_finish(&errors);
	return r;
}

void setting_clear(const struct setting *setting, void *object)
{
	void *member = setting_member(setting, object);

	if (is_string(setting))
		free(*(char **)member);
	else if (setting_is_array(setting))
		cidr_list_finish(member);
	memset(member, 0, setting->size);
}

static const void *member_const(const struct setting *setting, const void *object)
{
	return (const char *)object + setting->offset;
}

/* Returns the number that the member holds, which is one of the unsigned types. */
static uint64_t number_of(const struct setting *setting, const void *object)
{
	const void *member = member_const(setting, object);

	switch (setting->size) {
	case sizeof(uint8_t):
		return *(const uint8_t *)member;
	case sizeof(uint16_t):
		return *(const uint16_t *)member;
	case sizeof(uint32_t):
		return *(const uint32_t *)member;
	default:
		return *(const uint64_t *)member;
	}
}

bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	const void *member_a = member_const(setting, a);
	const void *member_b = member_const(setting, b);

	if (is_string(setting)) {
		const char *text_a = *(const char *const *)member_a;
		const char *text_b = *(const char *const *)member_b;

		if (text_a == NULL || text_b == NULL)
			return text_a == text_b;
		return strcmp(text_a, text_b) == 0;
	}
	if (setting_is_array(setting)) {
		const struct cidr_list *list_a = member_a, *list_b = member_b;

		return list_a->n == list_b->n && list_a->has_unix == list_b->has_unix &&
		       (list_a->n == 0 || memcmp(list_a->items, list_b->items,
						 list_a->n * sizeof(*list_a->items)) == 0);
	}
	return memcmp(member_a, member_b, setting->size) == 0;
}

static void print_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c == '\r')
			fputs("\\r", out);
		else if (c == '\t')
			fputs("\\t", out);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void print_networks(const struct cidr_list *list, FILE *out)
{
	const char *separator = "";
	char text[CIDR_TEXT_MAX];

	fputc('[', out);
	if (list->has_unix) {
		fputs("\"unix\"", out);
		separator = ", ";
	}
	for (size_t i = 0; i < list->n; i++) {
		fprintf(out, "%s\"%s\"", separator, cidr_format(&list->items[i], text));
		separator = ", ";
	}
	fputc(']', out);
}

void setting_print(const struct setting *setting, const void *object, FILE *out)
{
	const void *member = member_const(setting, object);

	switch (setting->type) {
	case SETTING_INTEGER:
		fprintf(out, "%" PRIu64, number_of(setting, object));
		break;
	case SETTING_SIZE:
		size_print(number_of(setting, object), out);
		break;
	case SETTING_MILLISECONDS:
		duration_print(number_of(setting, object) * 1000, out);
		break;
	case SETTING_MICROSECONDS:
		duration_print(number_of(setting, object), out);
		break;
	case SETTING_BOOLEAN:
		fputs(number_of(setting, object) ? "true" : "false", out);
		break;
	case SETTING_NAME:
	case SETTING_ADDRESS:
	case SETTING_PATH:
	case SETTING_TEMPLATE:
		print_string(*(const char *const *)member, out);
		break;
	case SETTING_MODE:
		fprintf(out, "\"%04" PRIo64 "\"", number_of(setting, object));
		break;
	case SETTING_WORD:
		print_string(setting->words[number_of(setting, object)], out);
		break;
	case SETTING_NETWORKS:
	case SETTING_PROXIES:
		print_networks(member, out);
		break;
	}
}
