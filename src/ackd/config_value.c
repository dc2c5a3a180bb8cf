/* setting_set(): a value that was read becomes a member, or an error that says what is allowed. */

#include "config_setting.h"

#include "config_units.h"
#include "core/utf8.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void store(const struct setting *setting, void *object, uint64_t number)
{
	void *member = setting_member(setting, object);

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

/* Checks the range and stores; @number is in the unit of the member. */
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

static int set_duration(const struct setting *setting, void *object, const struct value *value,
			const struct config_place *place)
{
	uint64_t us, unit = setting->type == SETTING_MILLISECONDS ? 1000 : 1;
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

static int set_word(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
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

static bool name_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) && strchr("._-", *text) == NULL)
			return false;
	}
	return true;
}

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

static bool path_is_good(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static int set_string(const struct setting *setting, void *object, const struct value *value,
		      const struct config_place *place)
{
	char **member = setting_member(setting, object);
	size_t n = strlen(value->string);
	char *copy;

	if (setting->type != SETTING_TEMPLATE && (n < setting->minimum || n > setting->maximum))
		return setting_mismatch(setting, value, place);
	if ((setting->type == SETTING_NAME && !name_is_good(value->string)) ||
	    (setting->type == SETTING_ADDRESS && !address_is_good(value->string)) ||
	    (setting->type == SETTING_PATH && !path_is_good(value->string)))
		return setting_mismatch(setting, value, place);
	copy = strdup(value->string);
	if (copy == NULL)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

static int set_mode(const struct setting *setting, void *object, const struct value *value,
		    const struct config_place *place)
{
	const char *text = value->string;
	size_t n = strlen(text);

	if (n == 0 || n > 4 || text[strspn(text, "01234567")] != '\0')
		return setting_mismatch(setting, value, place);
	return set_number(setting, object, strtoul(text, NULL, 8), value, place);
}

/* Tells which prefix the operator may have meant with one that has bits set after it. */
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
	struct cidr_list *list = setting_member(setting, object);
	struct cidr cidr, *grown;
	int r;

	if (setting->type == SETTING_PROXIES && strcmp(value->string, "unix") == 0) {
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

/* Checks what holds for every string: libconfig's are not necessarily text. */
static int check_text(const struct value *value, const struct config_place *place)
{
	const uint8_t *text = (const uint8_t *)value->string;
	char quoted[QUOTE_MAX];
	size_t n = strlen(value->string), valid, length;

	if (utf8_check(text, n, &valid, &length) != UTF8_COMPLETE)
		return config_error(place,
				    "found the string %s, whose byte %zu (0x%02X) is not UTF-8; "
				    "allowed: UTF-8",
				    config_quote(value->string, quoted), valid + 1, text[valid]);
	return 0;
}

int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place)
{
	int r;

	if (value->type == VALUE_STRING) {
		r = check_text(value, place);
		if (r < 0)
			return r;
	}
	switch (setting->type) {
	case SETTING_INTEGER:
		return set_integer(setting, object, value, place);
	case SETTING_SIZE:
		return set_size(setting, object, value, place);
	case SETTING_MILLISECONDS:
	case SETTING_MICROSECONDS:
		return set_duration(setting, object, value, place);
	case SETTING_BOOLEAN:
		if (value->type != VALUE_BOOLEAN)
			return setting_mismatch(setting, value, place);
		store(setting, object, (uint64_t)value->integer);
		return 0;
	default:
		break;
	}
	if (value->type != VALUE_STRING)
		return setting_mismatch(setting, value, place);
	switch (setting->type) {
	case SETTING_WORD:
		return set_word(setting, object, value, place);
	case SETTING_MODE:
		return set_mode(setting, object, value, place);
	case SETTING_NETWORKS:
	case SETTING_PROXIES:
		return add_network(setting, object, value, place);
	default:
		return set_string(setting, object, value, place);
	}
}
