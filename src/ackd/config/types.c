/*
 * The types of settings: for each, how a value is checked and stored, and the other operations on
 * the member that holds it.
 */

#include "ackd/config/types.h"

#include "ackd/config/units.h"
#include "core/text/printable.h"
#include "core/utf8/utf8.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *member_of(const struct setting *setting, void *object)
{
	return (char *)object + setting->offset;
}

static const void *member_const(const struct setting *setting, const void *object)
{
	return (const char *)object + setting->offset;
}

/* ---- numbers ---- */

/* Returns the number in the member, which has one of the unsigned types. */
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

static void store(const struct setting *setting, void *object, uint64_t number)
{
	void *member = member_of(setting, object);

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
}

/* Checks the range and stores @number, which is in the unit of the member. */
static int set_number(const struct setting *setting, void *object, uint64_t number,
		      const struct value *value, const struct config_place *place)
{
	if (number < setting->minimum || number > setting->maximum ||
	    (setting->size < sizeof(number) && number >> (8 * setting->size) != 0))
		return setting_mismatch(setting, value, place);
	store(setting, object, number);
	return 0;
}

static int set_integer(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	if (value->type != VALUE_INTEGER || value->integer < 0)
		return setting_mismatch(setting, value, place);
	return set_number(setting, object, (uint64_t)value->integer, value, place);
}

static void print_number(const struct setting *setting, const void *object, FILE *out)
{
	fprintf(out, "%" PRIu64, number_of(setting, object));
}

static void describe_integer(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "an integer from %" PRIu64 " to %" PRIu64, setting->minimum,
		 setting->maximum);
}

const struct setting_type type_integer = {
	.kind = KIND_NUMBER,
	.set = set_integer,
	.print = print_number,
	.describe = describe_integer,
};

static int set_size(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	uint64_t bytes;

	if (value->type != VALUE_STRING)
		return set_integer(setting, object, value, place);
	if (!size_parse(value->string, &bytes))
		return setting_mismatch(setting, value, place);
	return set_number(setting, object, bytes, value, place);
}

static void print_size(const struct setting *setting, const void *object, FILE *out)
{
	size_print(number_of(setting, object), out);
}

static void describe_size(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];

	snprintf(out, VALUE_TEXT_MAX,
		 "from %s to %s: an integer (bytes), or a string such as \"64KiB\", \"1MiB\"",
		 size_text(setting->minimum, low), size_text(setting->maximum, high));
}

const struct setting_type type_size = {
	.kind = KIND_NUMBER,
	.set = set_size,
	.print = print_size,
	.describe = describe_size,
};

/* Returns the unit of the member in microseconds. */
static uint64_t unit_us(const struct setting *setting)
{
	return setting->type == &type_milliseconds ? 1000 : 1;
}

static int set_duration(const struct setting *setting, void *object, const struct value *value,
			const struct config_place *place)
{
	uint64_t us, unit = unit_us(setting);
	bool good;

	switch (value->type) {
	case VALUE_INTEGER:
		good = value->integer >= 0 &&
		       !__builtin_mul_overflow((uint64_t)value->integer, 1000000, &us);
		break;
	case VALUE_FLOAT:
		good = duration_from_seconds(value->real, &us);
		break;
	case VALUE_STRING:
		good = duration_parse(value->string, &us);
		break;
	default:
		good = false;
	}
	if (!good || us % unit != 0)
		return setting_mismatch(setting, value, place);
	return set_number(setting, object, us / unit, value, place);
}

static void print_duration(const struct setting *setting, const void *object, FILE *out)
{
	duration_print(number_of(setting, object) * unit_us(setting), out);
}

static void describe_duration(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	uint64_t unit = unit_us(setting);
	char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];

	snprintf(out, VALUE_TEXT_MAX,
		 "from %s to %s, in whole %s: a number (seconds), or a string such as \"500ms\", "
		 "\"30s\", \"5min\", \"1h\"",
		 duration_text(setting->minimum * unit, low),
		 duration_text(setting->maximum * unit, high),
		 unit == 1 ? "microseconds" : "milliseconds");
}

const struct setting_type type_milliseconds = {
	.kind = KIND_NUMBER,
	.set = set_duration,
	.print = print_duration,
	.describe = describe_duration,
};

const struct setting_type type_microseconds = {
	.kind = KIND_NUMBER,
	.set = set_duration,
	.print = print_duration,
	.describe = describe_duration,
};

static int set_boolean(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	if (value->type != VALUE_BOOLEAN)
		return setting_mismatch(setting, value, place);
	store(setting, object, (uint64_t)value->integer);
	return 0;
}

static void print_boolean(const struct setting *setting, const void *object, FILE *out)
{
	fputs(number_of(setting, object) ? "true" : "false", out);
}

static void describe_boolean(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "true or false");
}

const struct setting_type type_boolean = {
	.kind = KIND_BOOLEAN,
	.set = set_boolean,
	.print = print_boolean,
	.describe = describe_boolean,
};

/* ---- strings ---- */

/*
 * Checks that @value is a string and valid UTF-8, which libconfig does not guarantee. Returns 0 or
 * -EINVAL.
 */
static int check_string(const struct setting *setting, const struct value *value,
			const struct config_place *place)
{
	const uint8_t *text = (const uint8_t *)value->string;
	char quoted[QUOTE_MAX];
	size_t valid, length;

	if (value->type != VALUE_STRING)
		return setting_mismatch(setting, value, place);
	if (utf8_check(text, strlen(value->string), &valid, &length) != UTF8_COMPLETE)
		return config_error(place,
				    "found the string %s, whose byte %zu (0x%02X) is not UTF-8; "
				    "allowed: UTF-8",
				    config_quote(value->string, quoted), valid + 1, text[valid]);
	return 0;
}

/* Stores a copy of the string if @is_good accepts it (NULL: always). */
static int set_checked(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place, bool (*is_good)(const char *text))
{
	char **member = member_of(setting, object), *copy;
	int r = check_string(setting, value, place);
	size_t n;

	if (r < 0)
		return r;
	n = strlen(value->string);
	if (is_good && (n < setting->minimum || n > setting->maximum || !is_good(value->string)))
		return setting_mismatch(setting, value, place);
	copy = strdup(value->string);
	if (copy == NULL)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

static void clear_string(const struct setting *setting, void *object)
{
	char **member = member_of(setting, object);

	free(*member);
	*member = NULL;
}

static bool equal_strings(const struct setting *setting, const void *a, const void *b)
{
	const char *text_a = *(const char *const *)member_const(setting, a);
	const char *text_b = *(const char *const *)member_const(setting, b);

	if (text_a == NULL || text_b == NULL)
		return text_a == text_b;
	return strcmp(text_a, text_b) == 0;
}

/* Writes a string as libconfig reads it back. */
static void write_string(const char *text, FILE *out)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = strlen(text), length;

	fputc('"', out);
	for (; n > 0; p += length, n -= length) {
		const char *letter = *p == '\n' ? "n" : *p == '\r' ? "r" : *p == '\t' ? "t" : NULL;
		bool printable = printable_next(p, n, &length);

		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (printable)
			fwrite(p, 1, length, out);
		else if (letter != NULL)
			fprintf(out, "\\%s", letter);
		for (size_t i = 0; !printable && letter == NULL && i < length; i++)
			fprintf(out, "\\x%02x", p[i]);
	}
	fputc('"', out);
}

static void print_string(const struct setting *setting, const void *object, FILE *out)
{
	write_string(*(const char *const *)member_const(setting, object), out);
}

#define STRING_TYPE                                                                                \
	.kind = KIND_STRING, .clear = clear_string, .equal = equal_strings, .print = print_string

static bool name_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) && strchr("._-", *text) == NULL)
			return false;
	}
	return true;
}

static int set_name(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	return set_checked(setting, object, value, place, name_is_good);
}

static void describe_name(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX,
		 "a string of 1 to %" PRIu64 " of the characters A-Z a-z 0-9 . _ -",
		 setting->maximum);
}

const struct setting_type type_name = {STRING_TYPE, .set = set_name, .describe = describe_name};

static bool address_is_good(const char *text)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr address;
	size_t n;

	if (strcmp(text, "*") == 0)
		return true;
	n = strcspn(text, "%"); /* fe80::1%eth0 */
	if (strchr(text, ':') == NULL) {
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

static int set_address(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	return set_checked(setting, object, value, place, address_is_good);
}

static void describe_address(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "a string: an IPv4 or IPv6 address, a host name, or \"*\"");
}

const struct setting_type type_address = {
	STRING_TYPE,
	.set = set_address,
	.describe = describe_address,
};

static bool path_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static int set_path(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	return set_checked(setting, object, value, place, path_is_good);
}

static void describe_path(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "a string: a path of 1 to %" PRIu64 " bytes",
		 setting->maximum);
}

const struct setting_type type_path = {STRING_TYPE, .set = set_path, .describe = describe_path};

/*
 * Stores the source of a template. Its contents are checked later, with the settings on which they
 * depend.
 */
static int set_template(const struct setting *setting, void *object, const struct value *value,
			const struct config_place *place)
{
	return set_checked(setting, object, value, place, NULL);
}

static void describe_template(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "a string");
}

const struct setting_type type_template = {
	STRING_TYPE,
	.set = set_template,
	.describe = describe_template,
};

/* ---- strings with numeric meaning ---- */

static int set_mode(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	const char *text = value->string;
	int r = check_string(setting, value, place);
	size_t n;

	if (r < 0)
		return r;
	n = strlen(text);
	if (n == 0 || n > 4 || text[strspn(text, "01234567")] != '\0')
		return setting_mismatch(setting, value, place);
	return set_number(setting, object, strtoul(text, NULL, 8), value, place);
}

static void print_mode(const struct setting *setting, const void *object, FILE *out)
{
	fprintf(out, "\"%04" PRIo64 "\"", number_of(setting, object));
}

static void describe_mode(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "a string of octal digits from \"0000\" to \"0777\"");
}

const struct setting_type type_mode = {
	.kind = KIND_STRING,
	.set = set_mode,
	.print = print_mode,
	.describe = describe_mode,
};

static int set_word(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	int r = check_string(setting, value, place);

	if (r < 0)
		return r;
	for (size_t i = 0; setting->words[i] != NULL; i++) {
		if (strcmp(value->string, setting->words[i]) == 0) {
			store(setting, object, i);
			return 0;
		}
	}
	if (strcmp(setting->name, "encoding.errors") == 0 &&
	    strcmp(value->string, "xmlcharrefreplace") == 0)
		return setting_mismatch_because(setting, value, place,
						"which is for characters that a charset lacks: set "
						"encoding.reply_errors to it");
	return setting_mismatch(setting, value, place);
}

static void print_word(const struct setting *setting, const void *object, FILE *out)
{
	write_string(setting->words[number_of(setting, object)], out);
}

static void describe_word(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; setting->words[i] != NULL; i++)
		n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%s\"%s\"",
				      i == 0			      ? ""
				      : setting->words[i + 1] != NULL ? ", "
								      : " or ",
				      setting->words[i]);
}

const struct setting_type type_word = {
	.kind = KIND_WORD,
	.set = set_word,
	.print = print_word,
	.describe = describe_word,
};

/* ---- arrays of networks ---- */

/* Reports an address with host bits set, and suggests the intended network. */
static int bits_after_prefix(const struct value *value, const struct config_place *place)
{
	const char *slash = strchr(value->string, '/');
	char quoted[QUOTE_MAX], copy[INET6_ADDRSTRLEN], text[CIDR_TEXT_MAX];
	size_t n = slash != NULL ? (size_t)(slash - value->string) : strlen(value->string);
	struct cidr meant;

	config_quote(value->string, quoted);
	if (slash != NULL && n < sizeof(copy)) {
		memcpy(copy, value->string, n);
		copy[n] = '\0';
		if (cidr_parse(copy, &meant) == 0) {
			meant.prefix = (uint8_t)(strtoul(slash + 1, NULL, 10) +
						 (strchr(copy, ':') == NULL ? 96 : 0));
			for (unsigned bit = meant.prefix; bit < 128; bit++)
				meant.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
			return config_error(
				place,
				"found %s, which has bits set after its prefix; allowed: \"%s\", "
				"\"%s\"",
				quoted, cidr_format(&meant, text), copy);
		}
	}
	return config_error(place, "found %s, which has bits set after its prefix; allowed: none",
			    quoted);
}

static int add_network(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	struct cidr_list *list = member_of(setting, object);
	struct cidr cidr, *grown;
	int r = check_string(setting, value, place);

	if (r < 0)
		return r;
	if (setting->type == &type_proxies && strcmp(value->string, "unix") == 0) {
		list->has_unix = true;
		return 0;
	}
	r = cidr_parse(value->string, &cidr);
	if (r == -EDOM)
		return bits_after_prefix(value, place);
	if (r == -ERANGE)
		return setting_mismatch_because(
			setting, value, place,
			"whose prefix is not from 0 to 32 (IPv4), 0 to 128 (IPv6)");
	if (r < 0)
		return setting_mismatch_because(setting, value, place, "which is not an address");
	if ((list->n & (list->n - 1)) == 0) { /* a power of 2: full */
		grown = reallocarray(list->items, list->n > 0 ? list->n * 2 : 1, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		list->items = grown;
	}
	list->items[list->n++] = cidr;
	return 0;
}

static void clear_networks(const struct setting *setting, void *object)
{
	struct cidr_list *list = member_of(setting, object);

	cidr_list_finish(list);
	*list = (struct cidr_list){0};
}

static bool equal_networks(const struct setting *setting, const void *a, const void *b)
{
	const struct cidr_list *list_a = member_const(setting, a);
	const struct cidr_list *list_b = member_const(setting, b);

	return list_a->n == list_b->n && list_a->has_unix == list_b->has_unix &&
	       (list_a->n == 0 ||
		memcmp(list_a->items, list_b->items, list_a->n * sizeof(*list_a->items)) == 0);
}

static void print_networks(const struct setting *setting, const void *object, FILE *out)
{
	const struct cidr_list *list = member_const(setting, object);
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

static void describe_networks(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX,
		 "an array of strings such as \"192.0.2.0/24\", \"2001:db8::/32\"%s",
		 setting->type == &type_proxies ? ", \"unix\"" : "");
}

#define NETWORKS_TYPE                                                                              \
	.kind = KIND_ARRAY, .set = add_network, .clear = clear_networks, .equal = equal_networks,  \
	.print = print_networks, .describe = describe_networks

const struct setting_type type_networks = {NETWORKS_TYPE};
const struct setting_type type_proxies = {NETWORKS_TYPE};
