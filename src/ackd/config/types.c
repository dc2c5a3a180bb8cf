/*
 * The types of settings: for each, how a value is checked and stored, and how it is printed. Types
 * whose members own memory have a storage.
 */

#include "ackd/config/internal.h"
#include "base/units.h"
#include "core/utf8/utf8.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
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

void setting_clear(const struct setting *setting, void *object)
{
	if (setting->type->storage != NULL)
		setting->type->storage->clear(member_of(setting, object));
}

int setting_copy(const struct setting *setting, void *to, const void *from)
{
	if (setting->type->storage != NULL)
		return setting->type->storage->copy(member_of(setting, to),
						    member_const(setting, from));
	memcpy(member_of(setting, to), member_const(setting, from), setting->size);
	return 0;
}

bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	if (setting->type->storage != NULL)
		return setting->type->storage->equal(member_const(setting, a),
						     member_const(setting, b));
	return memcmp(member_const(setting, a), member_const(setting, b), setting->size) == 0;
}

int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place, const char *because)
{
	char found[VALUE_TEXT_MAX], described[VALUE_TEXT_MAX];
	const char *allowed = setting->type->allowed;

	if (setting->type->describe != NULL) {
		setting->type->describe(setting, described);
		allowed = described;
	}
	return config_error(place, "found %s%s%s; allowed: %s", value_text(value, found),
			    because != NULL ? ", " : "", because != NULL ? because : "", allowed);
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
		return setting_mismatch(setting, value, place, NULL);
	store(setting, object, number);
	return 0;
}

static int set_integer(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	if (value->type != VALUE_INTEGER || value->integer < 0)
		return setting_mismatch(setting, value, place, NULL);
	return set_number(setting, object, (uint64_t)value->integer, value, place);
}

static void print_integer(const struct setting *setting, const void *object, FILE *out)
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
	.print = print_integer,
	.describe = describe_integer,
};

static int set_size(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	uint64_t bytes;

	if (value->type != VALUE_STRING)
		return set_integer(setting, object, value, place);
	if (!size_parse(value->string, &bytes))
		return setting_mismatch(setting, value, place, NULL);
	return set_number(setting, object, bytes, value, place);
}

static void print_size(const struct setting *setting, const void *object, FILE *out)
{
	uint64_t bytes = number_of(setting, object);
	char text[UNITS_TEXT_MAX];

	if (bytes % 1024 != 0 && bytes <= INT32_MAX)
		fprintf(out, "%" PRIu64, bytes);
	else
		fprintf(out, "\"%s\"", size_text(bytes, text));
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

static int set_duration(const struct setting *setting, void *object, const struct value *value,
			const struct config_place *place)
{
	uint64_t us, unit = unit_us(setting);
	bool good = false;

	if (value->type == VALUE_INTEGER)
		good = value->integer >= 0 &&
		       !__builtin_mul_overflow((uint64_t)value->integer, 1000000, &us);
	else if (value->type == VALUE_FLOAT)
		good = duration_from_seconds(value->real, &us);
	else if (value->type == VALUE_STRING)
		good = duration_parse(value->string, &us);
	if (!good || us % unit != 0)
		return setting_mismatch(setting, value, place, NULL);
	return set_number(setting, object, us / unit, value, place);
}

static void print_duration(const struct setting *setting, const void *object, FILE *out)
{
	uint64_t us = number_of(setting, object) * unit_us(setting);
	char text[UNITS_TEXT_MAX];

	if (us % 1000000 == 0)
		fprintf(out, "%" PRIu64, us / 1000000);
	else
		fprintf(out, "\"%s\"", duration_text(us, text));
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

#define DURATION_TYPE                                                                              \
	{                                                                                          \
		.kind = KIND_NUMBER, .set = set_duration, .print = print_duration,                 \
		.describe = describe_duration                                                      \
	}
const struct setting_type type_milliseconds = DURATION_TYPE;
const struct setting_type type_microseconds = DURATION_TYPE;

static int set_boolean(const struct setting *setting, void *object, const struct value *value,
		       const struct config_place *place)
{
	if (value->type != VALUE_BOOLEAN)
		return setting_mismatch(setting, value, place, NULL);
	store(setting, object, (uint64_t)value->integer);
	return 0;
}

static void print_boolean(const struct setting *setting, const void *object, FILE *out)
{
	fputs(number_of(setting, object) ? "true" : "false", out);
}

const struct setting_type type_boolean = {
	.kind = KIND_BOOLEAN,
	.set = set_boolean,
	.print = print_boolean,
	.allowed = "true or false",
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
	struct utf8_checked checked;

	if (value->type != VALUE_STRING)
		return setting_mismatch(setting, value, place, NULL);
	checked = utf8_check(text, strlen(value->string));
	if (checked.status != UTF8_COMPLETE)
		return config_error(place,
				    "found the string %s, whose byte %zu (0x%02X) is not UTF-8; "
				    "allowed: UTF-8",
				    config_quote(value->string, quoted), checked.valid + 1,
				    text[checked.valid]);
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

	*copy = text != NULL ? strdup(text) : NULL;
	return text != NULL && *copy == NULL ? -ENOMEM : 0;
}

static bool equal_strings(const void *a, const void *b)
{
	const char *text_a = *(const char *const *)a, *text_b = *(const char *const *)b;

	return text_a == text_b ||
	       (text_a != NULL && text_b != NULL && strcmp(text_a, text_b) == 0);
}

static const struct setting_storage string_storage = {clear_string, copy_string, equal_strings};

static int set_string(const struct setting *setting, void *object, const struct value *value,
		      const struct config_place *place)
{
	int r = check_string(setting, value, place);
	size_t n;

	if (r < 0)
		return r;
	n = strlen(value->string);
	if (setting->type->is_good != NULL && (n < setting->minimum || n > setting->maximum ||
					       !setting->type->is_good(value->string)))
		return setting_mismatch(setting, value, place, NULL);
	setting_clear(setting, object);
	return copy_string(member_of(setting, object), &value->string);
}

static void print_string(const struct setting *setting, const void *object, FILE *out)
{
	config_quote_print(*(const char *const *)member_const(setting, object), out);
}

#define STRING_TYPE                                                                                \
	.kind = KIND_STRING, .set = set_string, .print = print_string, .storage = &string_storage

static bool name_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) && strchr("._-", *text) == NULL)
			return false;
	}
	return true;
}

static void describe_name(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX,
		 "a string of 1 to %" PRIu64 " of the characters A-Z a-z 0-9 . _ -",
		 setting->maximum);
}

const struct setting_type type_name = {
	STRING_TYPE,
	.is_good = name_is_good,
	.describe = describe_name,
};

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

const struct setting_type type_address = {
	STRING_TYPE,
	.is_good = address_is_good,
	.allowed = "a string: an IPv4 or IPv6 address, a host name, or \"*\"",
};

static bool path_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static void describe_path(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "a string: a path of 1 to %" PRIu64 " bytes",
		 setting->maximum);
}

const struct setting_type type_path = {
	STRING_TYPE,
	.is_good = path_is_good,
	.describe = describe_path,
};

/* check.c compiles templates, because that depends on other settings. */
const struct setting_type type_template = {STRING_TYPE, .allowed = "a string"};

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
		return setting_mismatch(setting, value, place, NULL);
	return set_number(setting, object, strtoul(text, NULL, 8), value, place);
}

static void print_mode(const struct setting *setting, const void *object, FILE *out)
{
	fprintf(out, "\"%04" PRIo64 "\"", number_of(setting, object));
}

const struct setting_type type_mode = {
	.kind = KIND_STRING,
	.set = set_mode,
	.print = print_mode,
	.allowed = "a string of octal digits from \"0000\" to \"0777\"",
};

static int set_word(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	const char *because = NULL;
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
		because = "which only encoding.reply_errors accepts";
	return setting_mismatch(setting, value, place, because);
}

static void print_word(const struct setting *setting, const void *object, FILE *out)
{
	fprintf(out, "\"%s\"", setting->words[number_of(setting, object)]);
}

static void describe_word(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	const char *const *words = setting->words;
	size_t n = 0;

	for (size_t i = 0; words[i] != NULL; i++)
		n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%s\"%s\"",
				      i == 0		     ? ""
				      : words[i + 1] != NULL ? ", "
							     : " or ",
				      words[i]);
}

const struct setting_type type_word = {
	.kind = KIND_WORD,
	.set = set_word,
	.print = print_word,
	.describe = describe_word,
};

/* ---- arrays of networks ---- */

/* Reports an address with host bits set, and suggests the intended network. */
static int host_bits(const struct value *value, const struct config_place *place)
{
	const char *slash = strchr(value->string, '/'); /* cidr_parse() found one */
	char quoted[QUOTE_MAX], address[INET6_ADDRSTRLEN], text[CIDR_TEXT_MAX];
	struct cidr meant;

	snprintf(address, sizeof(address), "%.*s", (int)(slash - value->string), value->string);
	cidr_parse(address, &meant);
	meant.prefix =
		(uint8_t)(strtoul(slash + 1, NULL, 10) + (strchr(address, ':') == NULL ? 96 : 0));
	for (unsigned bit = meant.prefix; bit < 128; bit++)
		meant.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return config_error(
		place, "found %s, whose host bits are not zero; allowed: \"%s\", \"%s\"",
		config_quote(value->string, quoted), cidr_format(&meant, text), address);
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
		return host_bits(value, place);
	if (r < 0)
		return setting_mismatch(
			setting, value, place,
			r == -ERANGE ? "whose prefix is not from 0 to 32 (IPv4), 0 to 128 (IPv6)"
				     : "which is not an address");
	if ((list->n & (list->n - 1)) == 0) { /* a power of 2: full */
		grown = reallocarray(list->items, list->n > 0 ? list->n * 2 : 1, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		list->items = grown;
	}
	list->items[list->n++] = cidr;
	return 0;
}

static void clear_networks(void *member)
{
	struct cidr_list *list = member;

	cidr_list_finish(list);
	*list = (struct cidr_list){0};
}

static int copy_networks(void *to, const void *from)
{
	const struct cidr_list *list = from;
	struct cidr_list *copy = to;

	*copy = (struct cidr_list){.has_unix = list->has_unix};
	if (list->n == 0)
		return 0;
	copy->items = calloc(list->n, sizeof(*copy->items));
	if (copy->items == NULL)
		return -ENOMEM;
	memcpy(copy->items, list->items, list->n * sizeof(*copy->items));
	copy->n = list->n;
	return 0;
}

static bool equal_networks(const void *a, const void *b)
{
	const struct cidr_list *list_a = a, *list_b = b;

	return list_a->n == list_b->n && list_a->has_unix == list_b->has_unix &&
	       (list_a->n == 0 ||
		memcmp(list_a->items, list_b->items, list_a->n * sizeof(*list_a->items)) == 0);
}

static const struct setting_storage networks_storage = {
	clear_networks,
	copy_networks,
	equal_networks,
};

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

#define NETWORKS_ALLOWED "an array of strings such as \"192.0.2.0/24\", \"2001:db8::/32\""
#define NETWORKS_TYPE                                                                              \
	.kind = KIND_ARRAY, .set = add_network, .print = print_networks,                           \
	.storage = &networks_storage

const struct setting_type type_networks = {NETWORKS_TYPE, .allowed = NETWORKS_ALLOWED};
const struct setting_type type_proxies = {NETWORKS_TYPE, .allowed = NETWORKS_ALLOWED ", \"unix\""};
