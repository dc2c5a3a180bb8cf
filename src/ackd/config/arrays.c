/* The types of settings that are arrays: of networks, and of protocols. */

#include "ackd/config/internal.h"
#include "base/array.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- arrays of networks ---- */

/* Reports an address with host bits set, and suggests the intended network. */
static int host_bits(const struct value *value, const struct config_place *place)
{
	const char *slash = strchr(value->string, '/'); /* cidr_parse() found one */
	char quoted[QUOTE_MAX], address[INET6_ADDRSTRLEN], text[CIDR_TEXT_MAX];
	struct cidr meant;

	snprintf(address, sizeof(address), "%.*s", (int)(slash - value->string), value->string);
	cidr_parse(address, &meant);
	meant.prefix = (uint8_t)(strtoul(slash + 1, NULL, 10) + (strchr(address, ':') ? 0 : 96));
	for (unsigned bit = meant.prefix; bit < 128; bit++)
		meant.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return config_error(
		place, "found %s, whose host bits are not zero; allowed: \"%s\", \"%s\"",
		config_quote(value->string, quoted), cidr_format(&meant, text), address);
}

static int add_network(const struct setting *setting, void *member, const struct value *value,
		       const struct config_place *place)
{
	struct cidr_list *list = member;
	struct cidr cidr, *grown;
	int r = setting_check_string(setting, value, place);

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
		grown = array_resize(list->items, list->n > 0 ? list->n * 2 : 1, sizeof(*grown));
		if (!grown)
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
	if (!copy->items)
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

static void print_networks(const struct setting *setting, const void *member, FILE *out)
{
	const struct cidr_list *list = member;
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
		 setting->type->allowed);
}

static const struct setting_class networks_class = {
	.set = add_network,
	.print = print_networks,
	.describe = describe_networks,
	.clear = clear_networks,
	.copy = copy_networks,
	.equal = equal_networks,
};

const struct setting_type type_networks = {&networks_class, KIND_ARRAY, .allowed = ""};
const struct setting_type type_proxies = {&networks_class, KIND_ARRAY, .allowed = ", \"unix\""};

/* ---- arrays of protocols ---- */

static int add_protocol(const struct setting *setting, void *member, const struct value *value,
			const struct config_place *place)
{
	struct tls_alpn *alpn = member;
	int r = setting_check_string(setting, value, place);
	uint8_t *grown;
	size_t n;

	if (r < 0)
		return r;
	n = strlen(value->string);
	if (n < setting->minimum || n > setting->maximum)
		return setting_mismatch(setting, value, place, NULL);
	grown = realloc(alpn->names, alpn->length + 1 + n);
	if (!grown)
		return -ENOMEM;
	grown[alpn->length] = (uint8_t)n;
	memcpy(grown + alpn->length + 1, value->string, n);
	alpn->names = grown;
	alpn->length += 1 + n;
	return 0;
}

static void clear_protocols(void *member)
{
	struct tls_alpn *alpn = member;

	free(alpn->names);
	*alpn = (struct tls_alpn){0};
}

static int copy_protocols(void *to, const void *from)
{
	const struct tls_alpn *alpn = from;
	struct tls_alpn *copy = to;

	*copy = (struct tls_alpn){0};
	if (alpn->length == 0)
		return 0;
	copy->names = malloc(alpn->length);
	if (!copy->names)
		return -ENOMEM;
	memcpy(copy->names, alpn->names, alpn->length);
	copy->length = alpn->length;
	return 0;
}

static bool equal_protocols(const void *a, const void *b)
{
	const struct tls_alpn *alpn_a = a, *alpn_b = b;

	return alpn_a->length == alpn_b->length &&
	       (alpn_a->length == 0 || memcmp(alpn_a->names, alpn_b->names, alpn_a->length) == 0);
}

static void print_protocols(const struct setting *setting, const void *member, FILE *out)
{
	const struct tls_alpn *alpn = member;
	char name[UINT8_MAX + 1];

	fputc('[', out);
	for (size_t i = 0; i < alpn->length; i += 1 + (size_t)alpn->names[i]) {
		snprintf(name, sizeof(name), "%.*s", alpn->names[i],
			 (const char *)&alpn->names[i + 1]);
		fputs(i > 0 ? ", " : "", out);
		config_quote_print(name, out);
	}
	fputc(']', out);
}

static void describe_protocols(const struct setting *setting, char out[VALUE_TEXT_MAX])
{
	snprintf(out, VALUE_TEXT_MAX, "an array of strings of 1 to 255 bytes such as \"ackd\"");
}

static const struct setting_class protocols_class = {
	.set = add_protocol,
	.print = print_protocols,
	.describe = describe_protocols,
	.clear = clear_protocols,
	.copy = copy_protocols,
	.equal = equal_protocols,
};

const struct setting_type type_protocols = {&protocols_class, KIND_ARRAY, .allowed = ""};
