#include "core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MAX 128

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

/* Parses the digits of a prefix length from 0 to @max. */
static int parse_prefix(const char *text, unsigned max, unsigned *ret_prefix)
{
	unsigned prefix = 0;

	if (!*text)
		return -ERANGE;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -ERANGE;
		prefix = prefix * 10 + (unsigned)(*text - '0');
		if (prefix > max)
			return -ERANGE;
	}
	*ret_prefix = prefix;
	return 0;
}

/* Parses an address into the 128-bit form; *@ret_bits is how many bits its own form has. */
static int parse_address(const char *text, uint8_t ret_address[16], unsigned *ret_bits)
{
	if (inet_pton(AF_INET6, text, ret_address) == 1) {
		*ret_bits = 128;
		return 0;
	}
	memcpy(ret_address, v4_mapped, sizeof(v4_mapped));
	if (inet_pton(AF_INET, text, ret_address + sizeof(v4_mapped)) != 1)
		return -EINVAL;
	*ret_bits = 32;
	return 0;
}

/* Whether the first @prefix bits of both are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned prefix)
{
	unsigned bytes = prefix / 8;
	uint8_t mask = (uint8_t)(0xff00 >> prefix % 8);

	if (memcmp(a, b, bytes) != 0)
		return false;
	return prefix % 8 == 0 || ((a[bytes] ^ b[bytes]) & mask) == 0;
}

static bool bits_after(const uint8_t address[16], unsigned prefix)
{
	for (unsigned bit = prefix; bit < PREFIX_MAX; bit++)
		if (address[bit / 8] & (0x80 >> bit % 8))
			return true;
	return false;
}

int cidr_parse(const char *text, struct cidr *ret_cidr)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct cidr cidr;
	unsigned bits, prefix;
	int r;

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	r = parse_address(address, cidr.address, &bits);
	if (r < 0)
		return r;
	prefix = bits;
	if (slash) {
		r = parse_prefix(slash + 1, bits, &prefix);
		if (r < 0)
			return r;
	}
	cidr.prefix = (uint8_t)(prefix + PREFIX_MAX - bits);
	if (bits_after(cidr.address, cidr.prefix))
		return -EDOM;
	*ret_cidr = cidr;
	return 0;
}

int cidr_list_match(const struct cidr_list *list, const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
	uint8_t bytes[16];
	int longest = -1;

	if (address->sa_family == AF_INET6) {
		memcpy(bytes, &in6->sin6_addr, sizeof(bytes));
	} else if (address->sa_family == AF_INET) {
		memcpy(bytes, v4_mapped, sizeof(v4_mapped));
		memcpy(bytes + sizeof(v4_mapped), &in->sin_addr, 4);
	} else {
		return list->has_unix ? PREFIX_MAX : -1;
	}
	for (size_t i = 0; i < list->n; i++) {
		const struct cidr *cidr = &list->items[i];

		if (cidr->prefix > longest && same_prefix(cidr->address, bytes, cidr->prefix))
			longest = cidr->prefix;
	}
	return longest;
}

void cidr_list_finish(struct cidr_list *list)
{
	free(list->items);
	*list = (struct cidr_list){0};
}
