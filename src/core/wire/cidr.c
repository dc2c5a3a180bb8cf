#include "core/wire/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESS_BITS 128
#define IPV4_BITS 32
#define IPV4_PREFIX (ADDRESS_BITS - IPV4_BITS)

/* ::ffff:0:0/96, the range of IPv4 in the 128-bit form */
static const struct cidr mapped = {.address = {[10] = 0xff, [11] = 0xff}, .prefix = IPV4_PREFIX};

/*
 * Parses a decimal number of at most @max, without sign or leading zeros. Returns -1 if @text is
 * anything else.
 */
static int parse_prefix(const char *text, int max)
{
	int n = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		n = n * 10 + (*text - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/* Parses an address. Sets *@ret_bits to the number of bits of an address of its family. */
static int parse_address(const char *text, uint8_t ret_address[16], int *ret_bits)
{
	if (inet_pton(AF_INET6, text, ret_address) == 1) {
		*ret_bits = ADDRESS_BITS;
		return 0;
	}
	if (inet_pton(AF_INET, text, ret_address + IPV4_PREFIX / 8) == 1) {
		memcpy(ret_address, mapped.address, IPV4_PREFIX / 8);
		*ret_bits = IPV4_BITS;
		return 0;
	}
	return -EINVAL;
}

/* Returns whether the first @prefix bits are equal. */
static bool prefix_equals(const uint8_t a[16], const uint8_t b[16], int prefix)
{
	int bytes = prefix / 8;
	int bits = prefix % 8;

	if (memcmp(a, b, (size_t)bytes) != 0)
		return false;
	return bits == 0 || (a[bytes] ^ b[bytes]) >> (8 - bits) == 0;
}

/* Returns whether a bit after the first @prefix bits is set. */
static bool has_host_bits(const uint8_t address[16], int prefix)
{
	for (int i = prefix; i < ADDRESS_BITS; i++) {
		if (address[i / 8] & 0x80 >> i % 8)
			return true;
	}
	return false;
}

int cidr_parse(const char *text, struct cidr *ret_cidr)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct cidr cidr = {0};
	int bits, prefix;

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	if (parse_address(address, cidr.address, &bits) < 0)
		return -EINVAL;
	prefix = slash ? parse_prefix(slash + 1, bits) : bits;
	if (prefix < 0)
		return -ERANGE;
	cidr.prefix = (uint8_t)(prefix + ADDRESS_BITS - bits);
	if (has_host_bits(cidr.address, cidr.prefix))
		return -EDOM;
	*ret_cidr = cidr;
	return 0;
}

static bool is_mapped(const uint8_t address[16])
{
	return prefix_equals(address, mapped.address, mapped.prefix);
}

const char *cidr_format(const struct cidr *cidr, char out[CIDR_TEXT_MAX])
{
	bool is_ipv4 = cidr->prefix >= IPV4_PREFIX && is_mapped(cidr->address);
	int skipped = is_ipv4 ? IPV4_PREFIX : 0;
	size_t n;

	inet_ntop(is_ipv4 ? AF_INET : AF_INET6, cidr->address + skipped / 8, out, CIDR_TEXT_MAX);
	n = strlen(out);
	snprintf(out + n, CIDR_TEXT_MAX - n, "/%d", cidr->prefix - skipped);
	return out;
}

/* ---- lists ---- */

/* Orders by address, then wider ranges first, so that every range follows those that enclose it. */
static int compare(const void *a, const void *b)
{
	const struct cidr *cidr_a = a, *cidr_b = b;
	int order = memcmp(cidr_a->address, cidr_b->address, sizeof(cidr_a->address));

	return order != 0 ? order : cidr_a->prefix - cidr_b->prefix;
}

static void remove_duplicates(struct cidr_list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		if (n == 0 || compare(&list->items[n - 1], &list->items[i]) != 0)
			list->items[n++] = list->items[i];
	}
	list->n = n;
}

static bool contains(const struct cidr *cidr, const uint8_t address[16])
{
	return prefix_equals(address, cidr->address, cidr->prefix);
}

/*
 * Returns the narrowest range that contains @address, as 1 + its index, or 0 if there is none. It
 * tries item @i - 1 and then the items that enclose it. @i is 0 to list->n.
 */
static uint32_t narrowest(const struct cidr_list *list, uint32_t i, const uint8_t address[16])
{
	while (i > 0 && !contains(&list->items[i - 1], address))
		i = list->items[i - 1].enclosing;
	return i;
}

void cidr_list_sort(struct cidr_list *list)
{
	if (list->n == 0)
		return;
	qsort(list->items, list->n, sizeof(*list->items), compare);
	remove_duplicates(list);
	for (uint32_t i = 0; i < list->n; i++)
		list->items[i].enclosing = narrowest(list, i, list->items[i].address);
}

/* Returns the number of items whose address is at most @address. */
static uint32_t count_up_to(const struct cidr_list *list, const uint8_t address[16])
{
	size_t low = 0, high = list->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(list->items[middle].address, address, 16) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (uint32_t)low;
}

/*
 * Returns the longest prefix that an address in the 128-bit form falls in, or -1. Two ranges are
 * disjoint, or one encloses the other. So the last range that begins at or before the address
 * contains the address, or every range that contains the address encloses that range.
 */
static int match(const struct cidr_list *list, const uint8_t address[16])
{
	uint32_t found = narrowest(list, count_up_to(list, address), address);
	int prefix = found > 0 ? list->items[found - 1].prefix : -1;

	return is_mapped(address) && prefix < IPV4_PREFIX ? -1 : prefix;
}

int cidr_list_match(const struct cidr_list *list, const struct sockaddr *address)
{
	uint8_t bytes[16];

	switch (address->sa_family) {
	case AF_INET:
		memcpy(bytes, mapped.address, sizeof(bytes));
		memcpy(bytes + IPV4_PREFIX / 8, &((const struct sockaddr_in *)address)->sin_addr,
		       IPV4_BITS / 8);
		return match(list, bytes);
	case AF_INET6:
		return match(list, ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr);
	case AF_UNIX:
		return list->has_unix ? ADDRESS_BITS : -1;
	}
	return -1;
}

void cidr_list_finish(struct cidr_list *list)
{
	free(list->items);
	*list = (struct cidr_list){0};
}
