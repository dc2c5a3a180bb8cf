/*
 * The table of settings, and their types in classes by what the member holds: a number, a string or
 * bytes here, an array in arrays.c. A class has the operations; a type adds how it differs.
 */

#include "ackd/config/internal.h"
#include "base/address.h"
#include "base/sock.h"
#include "base/units.h"
#include "core/utf8/utf8.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool equal_strings(const void *a, const void *b);

static void *member_of(const struct setting *setting, void *object)
{
	return (char *)object + setting->offset;
}

static const void *member_const(const struct setting *setting, const void *object)
{
	return (const char *)object + setting->offset;
}

int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place)
{
	return setting->type->class->set(setting, member_of(setting, object), value, place);
}

void setting_print(const struct setting *setting, const void *object, FILE *out)
{
	setting->type->class->print(setting, member_const(setting, object), out);
}

bool setting_is_none(const struct setting *setting, const void *object)
{
	return setting->type->class->equal == equal_strings &&
	       *(const char *const *)member_const(setting, object) == NULL;
}

void setting_clear(const struct setting *setting, void *object)
{
	if (setting->type->class->clear)
		setting->type->class->clear(member_of(setting, object));
}

int setting_copy(const struct setting *setting, void *to, const void *from)
{
	if (setting->type->class->copy)
		return setting->type->class->copy(member_of(setting, to),
						  member_const(setting, from));
	memcpy(member_of(setting, to), member_const(setting, from), setting->size);
	return 0;
}

bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	if (setting->type->class->equal)
		return setting->type->class->equal(member_const(setting, a),
						   member_const(setting, b));
	return memcmp(member_const(setting, a), member_const(setting, b), setting->size) == 0;
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

int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place, const char *because)
{
	char found[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];

	setting->type->class->describe(setting, allowed);
	return config_error(place, "found %s%s%s; allowed: %s", value_text(value, found),
			    because ? ", " : "", because ? because : "", allowed);
}

/* ---- numbers ---- */

/* Returns the number in the member, which has one of the unsigned types. */
static uint64_t number_of(const struct setting *setting, const void *member)
{
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

static int set_number(const struct setting *setting, void *member, const struct value *value,
		      const struct config_place *place)
{
	uint64_t number;

	if (!setting->type->read(setting, value, &number) ||
	    (!setting->words && (number < setting->minimum || number > setting->maximum)))
		return setting_mismatch(setting, value, place, NULL);
	switch (setting->size) {
	case sizeof(uint8_t):
		*(uint8_t *)member = (uint8_t)number;
		break;
	case sizeof(uint16_t):
		*(uint16_t *)member = (uint16_t)number;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)member = (uint32_t)number;
		break;
	default:
		*(uint64_t *)member = number;
	}
	return 0;
}

static void print_number(const struct setting *setting, const void *member, FILE *out)
{
	char buffer[UNITS_TEXT_MAX];
	const char *text = setting->type->text(setting, number_of(setting, member), buffer);
	bool plain =
		setting->type->kind == KIND_BOOLEAN ||
		(setting->type->kind == KIND_NUMBER && text[strspn(text, "0123456789")] == '\0');

	fprintf(out, plain ? "%s" : "\"%s\"", text);
}

static void describe_number(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	const struct setting_type *type = setting->type;
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];

	if (type->form)
		snprintf(out, VALUE_TEXT_MAX, "%s from %s to %s%s", type->allowed,
			 type->text(setting, setting->minimum, low),
			 type->text(setting, setting->maximum, high), type->form);
	else
		snprintf(out, VALUE_TEXT_MAX, "%s", type->allowed);
}

static const struct setting_class number_class = {
	.set = set_number,
	.print = print_number,
	.describe = describe_number,
};

static bool read_integer(const struct setting *setting, const struct value *value,
			 uint64_t *ret_number)
{
	*ret_number = (uint64_t)value->integer;
	return value->type == VALUE_INTEGER && value->integer >= 0;
}

static const char *integer_text(const struct setting *setting, uint64_t number,
				char out[UNITS_TEXT_MAX])
{
	snprintf(out, UNITS_TEXT_MAX, "%" PRIu64, number);
	return out;
}

static const struct setting_type type_integer = {
	&number_class, KIND_NUMBER, "an integer", "", .read = read_integer, .text = integer_text};

static bool read_size(const struct setting *setting, const struct value *value,
		      uint64_t *ret_number)
{
	if (value->type == VALUE_STRING)
		return size_parse(value->string, ret_number);
	return read_integer(setting, value, ret_number);
}

static const char *bytes_text(const struct setting *setting, uint64_t number,
			      char out[UNITS_TEXT_MAX])
{
	return size_text(number, out);
}

static const struct setting_type type_size = {
	&number_class,	   KIND_NUMBER,
	"a size",	   ": a number of bytes, or a string such as \"64KiB\", \"1MiB\"",
	.read = read_size, .text = bytes_text};

static const struct setting_type type_milliseconds, type_seconds;

/* Returns the unit of the member in microseconds. */
static uint64_t unit_us(const struct setting *setting)
{
	return setting->type == &type_seconds	     ? 1000000
	       : setting->type == &type_milliseconds ? 1000
						     : 1;
}

/*
 * Converts seconds to microseconds. Returns false if @seconds is negative, not a number or too
 * large.
 */
static bool duration_from_seconds(double seconds, uint64_t *ret_us)
{
	double us = round(seconds * 1e6);

	if (!(us >= 0 && us < 9e18))
		return false;
	/* Less than a microsecond is rounded up to one, because 0 has a different meaning. */
	*ret_us = us == 0 && seconds > 0 ? 1 : (uint64_t)us;
	return true;
}

static bool read_duration(const struct setting *setting, const struct value *value,
			  uint64_t *ret_number)
{
	uint64_t us = 0, unit = unit_us(setting);
	bool good = false;

	if (value->type == VALUE_INTEGER)
		good = value->integer >= 0 &&
		       !__builtin_mul_overflow((uint64_t)value->integer, 1000000, &us);
	else if (value->type == VALUE_FLOAT)
		good = duration_from_seconds(value->real, &us);
	else if (value->type == VALUE_STRING)
		good = duration_parse(value->string, &us);
	if (!good || us % unit != 0)
		return false;
	*ret_number = us / unit;
	return true;
}

static const char *time_text(const struct setting *setting, uint64_t number,
			     char out[UNITS_TEXT_MAX])
{
	return duration_text(number * unit_us(setting), out);
}

#define DURATION_FORM(shorter)                                                                     \
	": a number of seconds, or a string such as " shorter "\"30s\", \"5min\", \"1h\""
static const struct setting_type type_seconds = {
	&number_class,	       KIND_NUMBER,
	"a duration",	       " in whole seconds" DURATION_FORM(""),
	.read = read_duration, .text = time_text};
static const struct setting_type type_milliseconds = {
	&number_class,	       KIND_NUMBER,
	"a duration",	       " in whole milliseconds" DURATION_FORM("\"500ms\", "),
	.read = read_duration, .text = time_text};
static const struct setting_type type_microseconds = {
	&number_class,	       KIND_NUMBER,
	"a duration",	       " in whole microseconds" DURATION_FORM("\"500ms\", "),
	.read = read_duration, .text = time_text};

static bool read_boolean(const struct setting *setting, const struct value *value,
			 uint64_t *ret_number)
{
	*ret_number = (uint64_t)value->integer;
	return value->type == VALUE_BOOLEAN;
}

static const char *boolean_text(const struct setting *setting, uint64_t number,
				char out[UNITS_TEXT_MAX])
{
	return number != 0 ? "true" : "false";
}

static const struct setting_type type_boolean = {&number_class, KIND_BOOLEAN, "true or false",
						 .read = read_boolean, .text = boolean_text};

static bool read_mode(const struct setting *setting, const struct value *value,
		      uint64_t *ret_number)
{
	size_t n = value->type == VALUE_STRING ? strlen(value->string) : 0;

	if (n == 0 || n > 4 || value->string[strspn(value->string, "01234567")] != '\0')
		return false;
	*ret_number = strtoul(value->string, NULL, 8);
	return true;
}

static const char *mode_text(const struct setting *setting, uint64_t number,
			     char out[UNITS_TEXT_MAX])
{
	snprintf(out, UNITS_TEXT_MAX, "%04" PRIo64, number);
	return out;
}

static const struct setting_type type_mode = {&number_class, KIND_STRING,
					      "a string of octal digits from \"0000\" to \"0777\"",
					      .read = read_mode, .text = mode_text};

static bool read_word(const struct setting *setting, const struct value *value,
		      uint64_t *ret_number)
{
	uint64_t i = 0;

	if (value->type != VALUE_STRING)
		return false;
	while (setting->words[i] && strcmp(value->string, setting->words[i]) != 0)
		i++;
	*ret_number = i;
	return setting->words[i] != NULL;
}

static bool read_width(const struct setting *setting, const struct value *value,
		       uint64_t *ret_number)
{
	*ret_number = (uint64_t)value->integer;
	return value->type == VALUE_INTEGER &&
	       (value->integer == 1 || value->integer == 2 || value->integer == 4);
}

static const struct setting_type type_width = {&number_class, KIND_NUMBER, "1, 2 or 4",
					       .read = read_width, .text = integer_text};

static const char *word_text(const struct setting *setting, uint64_t number,
			     char out[UNITS_TEXT_MAX])
{
	return setting->words[number];
}

static void describe_word(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	/* words that may be expected because another setting has them */
	static const struct {
		const char *name, *word, *of;
	} others[] = {
		{"encoding.errors", "xmlcharrefreplace", "encoding.reply_errors"},
		{"encoding.reply_charset", "binary", "encoding.charset"},
		{"encoding.reply_errors", "surrogateescape", "encoding.errors"},
	};
	const char *const *words = setting->words;
	size_t n = 0;

	for (size_t i = 0; words[i]; i++)
		n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%s\"%s\"",
				      i == 0	     ? ""
				      : words[i + 1] ? ", "
						     : " or ",
				      words[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(setting->name, others[i].name) == 0)
			snprintf(out + n, VALUE_TEXT_MAX - n, " (\"%s\" only for %s)",
				 others[i].word, others[i].of);
}

static const struct setting_class word_class = {
	.set = set_number,
	.print = print_number,
	.describe = describe_word,
};

static const struct setting_type type_word = {&word_class, KIND_WORD, .read = read_word,
					      .text = word_text};

/* ---- strings ---- */

int setting_check_string(const struct setting *setting, const struct value *value,
			 const struct config_place *place)
{
	const uint8_t *text = (const uint8_t *)value->string;
	char quoted[QUOTE_MAX];
	size_t valid;

	if (value->type != VALUE_STRING)
		return setting_mismatch(setting, value, place, NULL);
	valid = utf8_check(text, strlen(value->string)).valid;
	if (text[valid] != '\0')
		return config_error(place,
				    "found the string %s, whose byte %zu (0x%02X) is not UTF-8; "
				    "allowed: UTF-8",
				    config_quote(value->string, quoted), valid + 1, text[valid]);
	return 0;
}

static void clear_string(void *member)
{
	char **string = member;

	free(*string);
	*string = NULL;
}

static int copy_string(void *to, const void *from)
{
	const char *text = *(const char *const *)from;
	char **copy = to;

	*copy = text ? strdup(text) : NULL;
	return text && !*copy ? -ENOMEM : 0;
}

static bool equal_strings(const void *a, const void *b)
{
	const char *text_a = *(const char *const *)a, *text_b = *(const char *const *)b;

	return text_a == text_b || (text_a && text_b && strcmp(text_a, text_b) == 0);
}

static int set_string(const struct setting *setting, void *member, const struct value *value,
		      const struct config_place *place)
{
	bool (*is_good)(const char *text) = setting->type->is_good;
	int r = setting_check_string(setting, value, place);
	size_t n;

	if (r < 0)
		return r;
	n = strlen(value->string);
	if (setting->maximum > 0 && (n < setting->minimum || n > setting->maximum))
		return setting_mismatch(setting, value, place, NULL);
	if (is_good && !is_good(value->string))
		return setting_mismatch(setting, value, place, NULL);
	clear_string(member);
	return copy_string(member, &value->string);
}

static void print_string(const struct setting *setting, const void *member, FILE *out)
{
	config_quote_print(*(const char *const *)member, out);
}

static void describe_string(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	if (setting->maximum > 0)
		snprintf(out, VALUE_TEXT_MAX, "a string of %" PRIu64 " to %" PRIu64 " bytes: %s",
			 setting->minimum, setting->maximum, setting->type->allowed);
	else
		snprintf(out, VALUE_TEXT_MAX, "a string");
}

static const struct setting_class string_class = {
	.set = set_string,
	.print = print_string,
	.describe = describe_string,
	.clear = clear_string,
	.copy = copy_string,
	.equal = equal_strings,
};

static bool name_is_good(const char *text)
{
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && !strchr("._-", *text))
			return false;
	return true;
}

static const struct setting_type type_name = {&string_class, KIND_STRING,
					      "letters, digits and the characters . _ -",
					      .is_good = name_is_good};

static bool address_is_good(const char *text)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr address;
	size_t n;

	if (strcmp(text, "*") == 0)
		return true;
	n = strcspn(text, "%"); /* fe80::1%eth0 */
	if (!strchr(text, ':')) {
		if (text[strspn(text, "0123456789.")] == '\0')
			return inet_pton(AF_INET, text, &address) == 1;
		return text[0] != '-' && name_is_good(text);
	}
	if (n >= sizeof(copy) || (text[n] == '%' && text[n + 1] == '\0'))
		return false;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return inet_pton(AF_INET6, copy, &address) == 1;
}

static const struct setting_type type_address = {&string_class, KIND_STRING,
						 "an IPv4 or IPv6 address, a host name, or \"*\"",
						 .is_good = address_is_good};

static bool path_is_good(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static const struct setting_type type_path = {
	&string_class, KIND_STRING, "a path without control characters", .is_good = path_is_good};

static bool socket_is_good(const char *text)
{
	return path_is_good(text) &&
	       (text[0] != '@' || (text[1] != '\0' && sock_has_abstract_names()));
}

static const struct setting_type type_socket = {
	&string_class, KIND_STRING,
	"a path without control characters, or, in Linux, \"@\" and the name of an abstract socket",
	.is_good = socket_is_good};

static const struct setting_type type_text = {
	.class = &string_class, .kind = KIND_STRING, .allowed = "text"};

/* check.c compiles templates, because that depends on other settings. */
static const struct setting_type type_template = {.class = &string_class, .kind = KIND_STRING};

/* ---- bytes ---- */

/* Sets the bytes to those of a string, or adds the integer of an element of an array. */
static int set_bytes(const struct setting *setting, void *member, const struct value *value,
		     const struct config_place *place)
{
	struct mark *mark = member;
	size_t n;

	if (value->type == VALUE_STRING) {
		n = strlen(value->string);
		if (n < setting->minimum || n > setting->maximum)
			return setting_mismatch(setting, value, place, NULL);
		*mark = (struct mark){.length = (uint8_t)n};
		memcpy(mark->bytes, value->string, n);
		return 0;
	}
	if (value->type != VALUE_INTEGER || value->integer < 0 || value->integer > UINT8_MAX)
		return setting_mismatch(setting, value, place, NULL);
	if (mark->length == setting->maximum)
		return setting_mismatch(setting, value, place, "after the last allowed byte");
	mark->bytes[mark->length++] = (uint8_t)value->integer;
	return 0;
}

int setting_finish_bytes(const struct setting *setting, const void *object,
			 const struct value *value, const struct config_place *place)
{
	const struct mark *mark = member_const(setting, object);

	return mark->length < setting->minimum
		       ? setting_mismatch(setting, value, place, "which is empty")
		       : 0;
}

static void clear_bytes(void *member)
{
	*(struct mark *)member = (struct mark){0};
}

/* Prints other bytes than printable ASCII as integers, which can be NUL and are easier to read. */
static void print_bytes(const struct setting *setting, const void *member, FILE *out)
{
	const struct mark *mark = member;
	char text[MARK_MAX + 1] = "";
	bool is_printable = true;

	memcpy(text, mark->bytes, mark->length);
	for (size_t i = 0; i < mark->length; i++)
		is_printable = is_printable && text[i] >= ' ' && text[i] <= '~';
	if (is_printable) {
		config_quote_print(text, out);
		return;
	}
	for (size_t i = 0; i < mark->length; i++)
		fprintf(out, "%s0x%02x", i == 0 ? "[" : ", ", mark->bytes[i]);
	fputc(']', out);
}

static void describe_bytes(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX,
		 "%" PRIu64 " to %" PRIu64 " bytes: a string, or an array of integers from 0 to "
		 "255 such as [0x1c, 0x0d]",
		 setting->minimum, setting->maximum);
}

static const struct setting_class bytes_class = {
	.set = set_bytes,
	.print = print_bytes,
	.describe = describe_bytes,
	.clear = clear_bytes,
};

static const struct setting_type type_bytes = {.class = &bytes_class, .kind = KIND_BYTES};

/* ---- the table ---- */

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

unsigned setting_frame_flag(enum framing framing)
{
	switch (framing) {
	case FRAMING_DELIMITED:
		return SETTING_DELIMITED;
	case FRAMING_LENGTH:
		return SETTING_LENGTH;
	case FRAMING_FIXED:
		return SETTING_FIXED;
	case FRAMING_STREAM:
	case FRAMING_LINE:
		break;
	}
	return 0;
}

bool setting_is_in(const struct setting *setting, const char *group)
{
	size_t n = strlen(group);

	return strncmp(setting->name, group, n) == 0 && setting->name[n] == '.';
}

int setting_find(enum setting_scope scope, const char *name)
{
	for (size_t i = 0; i < n_settings; i++)
		if (settings[i].scope == scope && strcmp(settings[i].name, name) == 0)
			return (int)i;
	return -1;
}
