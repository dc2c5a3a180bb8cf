#include "core/wire/proxy.h"

#include "core/wire/proxy_v2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

/* Version 1: one line of text. */
#define V1_START "PROXY "
#define V1_START_LENGTH (sizeof(V1_START) - 1)
#define V1_MAX 107 /* including CRLF */

/* type (8 bits) and length of the value (16 bits) */
#define V2_TLV_HEAD_LENGTH 3
#define V2_TLV_AUTHORITY 0x02
#define V2_TLV_CRC32C 0x03
#define V2_TLV_UNIQUE_ID 0x05
#define V2_CRC32C_LENGTH 4

static enum proxy_status invalid(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return PROXY_INVALID;
}

/* ---- version 1 ---- */

/* The unparsed rest of a line. */
struct words {
	const char *p;
	size_t n;
};

/* Takes the next word, up to a space or the end. Returns false if it is empty or too long. */
static bool next_word(struct words *words, char ret_word[INET6_ADDRSTRLEN])
{
	const char *space = memchr(words->p, ' ', words->n);
	size_t length = space ? (size_t)(space - words->p) : words->n;
	size_t used = space ? length + 1 : length;

	if (length == 0 || length >= INET6_ADDRSTRLEN || memchr(words->p, '\0', length))
		return false;
	memcpy(ret_word, words->p, length);
	ret_word[length] = '\0';
	words->p += used;
	words->n -= used;
	return true;
}

/* Takes an address of the family of @storage. */
static bool next_address(struct words *words, struct sockaddr_storage *storage)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)storage;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)storage;
	char word[INET6_ADDRSTRLEN];

	return next_word(words, word) &&
	       inet_pton(storage->ss_family, word,
			 storage->ss_family == AF_INET ? (void *)&ipv4->sin_addr
						       : &ipv6->sin6_addr) == 1;
}

/* Takes a port. */
static bool next_port(struct words *words, struct sockaddr_storage *storage)
{
	uint16_t *number = storage->ss_family == AF_INET
				   ? &((struct sockaddr_in *)storage)->sin_port
				   : &((struct sockaddr_in6 *)storage)->sin6_port;
	char word[INET6_ADDRSTRLEN];
	unsigned port = 0;

	if (!next_word(words, word) || (word[0] == '0' && word[1] != '\0'))
		return false;
	for (const char *p = word; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (unsigned)(*p - '0');
		if (port > UINT16_MAX)
			return false;
	}
	*number = htons((uint16_t)port);
	return true;
}

/* Parses "SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT". */
static bool parse_endpoints(struct words words, int family, struct proxy_header *header)
{
	struct sockaddr_storage source = {.ss_family = (sa_family_t)family}, destination = source;
	/* a space after the last word is an error */
	bool ends_clean = words.n > 0 && words.p[words.n - 1] != ' ';

	if (!next_address(&words, &source) || !next_address(&words, &destination) ||
	    !next_port(&words, &source) || !next_port(&words, &destination) || words.n > 0 ||
	    !ends_clean)
		return false;
	header->source = source;
	header->destination = destination;
	return true;
}

static bool starts_with(const struct words *words, const char *start)
{
	return words->n >= strlen(start) && memcmp(words->p, start, strlen(start)) == 0;
}

static enum proxy_status parse_v1(const char *p, size_t n, struct proxy_header *ret_header,
				  const char **ret_reason)
{
	const char *lf = memchr(p, '\n', n < V1_MAX ? n : V1_MAX);
	struct proxy_header header = {.length = lf ? (size_t)(lf + 1 - p) : 0};
	struct words words;

	if (!lf && n < V1_MAX)
		return PROXY_MORE;
	if (!lf)
		return invalid(ret_reason, "header too long");
	if (lf[-1] != '\r')
		return invalid(ret_reason, "line not ended by CRLF");
	words.p = p + V1_START_LENGTH;
	words.n = (size_t)(lf - 1 - words.p);
	if (starts_with(&words, "TCP4 ") || starts_with(&words, "TCP6 ")) {
		int family = words.p[3] == '4' ? AF_INET : AF_INET6;

		words.p += strlen("TCP4 ");
		words.n -= strlen("TCP4 ");
		if (!parse_endpoints(words, family, &header))
			return invalid(ret_reason, "bad addresses");
		header.has_source = true;
	} else if (!starts_with(&words, "UNKNOWN ") &&
		   !(words.n == strlen("UNKNOWN") && starts_with(&words, "UNKNOWN"))) {
		return invalid(ret_reason, "unknown protocol");
	}
	*ret_header = header;
	return PROXY_COMPLETE;
}

/* ---- version 2: TLVs ---- */

/* CRC32C (Castagnoli), reflected, four bits at a time. */
static uint32_t crc32c_byte(uint32_t crc, uint8_t byte)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	crc ^= byte;
	crc = crc >> 4 ^ table[crc & 15];
	return crc >> 4 ^ table[crc & 15];
}

/*
 * Returns whether the checksum in the header at @p is correct: it covers the @n bytes of the
 * header, with zeros in place of the checksum itself.
 */
static bool checksum_is_right(const uint8_t *p, size_t n, const struct proxy_span *checksum)
{
	const uint8_t *field = p + checksum->offset;
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		bool in_field = i >= checksum->offset && i - checksum->offset < checksum->length;

		crc = crc32c_byte(crc, in_field ? 0 : p[i]);
	}
	return ~crc == ((uint32_t)field[0] << 24 | (uint32_t)field[1] << 16 |
			(uint32_t)field[2] << 8 | field[3]);
}

enum tlvs_status { TLVS_GOOD, TLVS_ILL_FORMED, TLVS_WRONG_CHECKSUM };

/* Records a field of a type that may occur once. Returns false for a second one. */
static bool tlv_note(struct proxy_span *span, size_t offset, size_t length)
{
	if (span->offset > 0)
		return false;
	*span = (struct proxy_span){(uint16_t)offset, (uint16_t)length};
	return true;
}

/* Processes one field. Returns whether it is valid. */
static bool tlv_take(struct proxy_header *header, struct proxy_span *checksum, uint8_t type,
		     size_t offset, size_t length)
{
	switch (type) {
	case V2_TLV_AUTHORITY:
		return tlv_note(&header->authority, offset, length);
	case V2_TLV_CRC32C:
		return length == V2_CRC32C_LENGTH && tlv_note(checksum, offset, length);
	case V2_TLV_UNIQUE_ID:
		return length <= PROXY_ID_MAX && tlv_note(&header->unique_id, offset, length);
	}
	return true;
}

/* Parses the fields from @at to the end of the complete header at @p. */
static enum tlvs_status parse_tlvs(const uint8_t *p, size_t at, struct proxy_header *header)
{
	struct proxy_span checksum = {0};

	while (at < header->length) {
		size_t length;

		if (header->length - at < V2_TLV_HEAD_LENGTH)
			return TLVS_ILL_FORMED;
		length = (size_t)p[at + 1] << 8 | p[at + 2];
		if (length > header->length - at - V2_TLV_HEAD_LENGTH)
			return TLVS_ILL_FORMED;
		if (!tlv_take(header, &checksum, p[at], at + V2_TLV_HEAD_LENGTH, length))
			return TLVS_ILL_FORMED;
		at += V2_TLV_HEAD_LENGTH + length;
	}
	if (checksum.length > 0 && !checksum_is_right(p, header->length, &checksum))
		return TLVS_WRONG_CHECKSUM;
	return TLVS_GOOD;
}

/* ---- version 2 ---- */

/*
 * Returns whether the protocol defines the family and the transport; a receiver must reject others.
 */
static bool v2_family_is_valid(uint8_t family)
{
	return family >> 4 <= V2_FAMILY_MAX && (family & 15) <= V2_TRANSPORT_MAX;
}

/*
 * Returns the length in bytes of the two addresses, including ports. Returns -1 if it is unknown,
 * as for an unspecified transport.
 */
static int v2_addresses_length(uint8_t family)
{
	switch (family) {
	case V2_UNSPECIFIED:
		return 0;
	case V2_TCP_IPV4:
	case V2_UDP_IPV4:
		return 2 * 4 + 2 * 2;
	case V2_TCP_IPV6:
	case V2_UDP_IPV6:
		return 2 * 16 + 2 * 2;
	case V2_UNIX_STREAM:
	case V2_UNIX_DATAGRAM:
		return 2 * V2_UNIX_PATH_LENGTH;
	}
	return -1;
}

/*
 * Copies the @i-th address, 0 for the source or 1 for the destination, from the complete address
 * block at @p. Ports and addresses there are in network byte order. Returns false for a family
 * without addresses of a stream.
 */
static bool v2_address(uint8_t family, const uint8_t *p, size_t i,
		       struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)ret_address;

	switch (family) {
	case V2_TCP_IPV4:
		ipv4->sin_family = AF_INET;
		memcpy(&ipv4->sin_addr, p + i * 4, 4);
		memcpy(&ipv4->sin_port, p + 2 * 4 + i * 2, 2);
		return true;
	case V2_TCP_IPV6:
		ipv6->sin6_family = AF_INET6;
		memcpy(&ipv6->sin6_addr, p + i * 16, 16);
		memcpy(&ipv6->sin6_port, p + 2 * 16 + i * 2, 2);
		return true;
	case V2_UNIX_STREAM:
		ret_address->ss_family = AF_UNIX;
		memcpy(((struct sockaddr_un *)ret_address)->sun_path, p + i * V2_UNIX_PATH_LENGTH,
		       V2_UNIX_PATH_LENGTH);
		return true;
	}
	return false;
}

/*
 * Parses what follows the fixed part of a complete header. Returns NULL, or the reason why it is
 * invalid.
 *
 * A receiver discards the contents of a LOCAL header, but this verifies a checksum if it finds one.
 * A header of an unspecified family may contain addresses of any length, or none. Its contents
 * therefore count as fields only if they are well-formed as fields.
 */
static const char *parse_v2_rest(const uint8_t *p, bool is_local, struct proxy_header *header)
{
	struct proxy_header found = *header;
	int addresses_length = v2_addresses_length(p[13]);
	size_t at = V2_FIXED_LENGTH + (size_t)addresses_length;
	enum tlvs_status status = TLVS_ILL_FORMED;

	if (addresses_length >= 0 && at <= header->length)
		status = parse_tlvs(p, at, &found);
	if (status == TLVS_WRONG_CHECKSUM)
		return "wrong checksum";
	if (is_local)
		return NULL;
	if (status == TLVS_ILL_FORMED && addresses_length > 0)
		return "bad TLV";
	if (status == TLVS_GOOD)
		*header = found;
	header->has_source = v2_address(p[13], p + V2_FIXED_LENGTH, 0, &header->source) &&
			     v2_address(p[13], p + V2_FIXED_LENGTH, 1, &header->destination);
	return NULL;
}

static enum proxy_status parse_v2(const uint8_t *p, size_t n, struct proxy_header *ret_header,
				  const char **ret_reason)
{
	struct proxy_header header = {0};
	bool is_local = n >= V2_FIXED_LENGTH && p[12] == V2_COMMAND_LOCAL;
	const char *reason;
	size_t rest;

	if (n < V2_FIXED_LENGTH)
		return PROXY_MORE;
	if (!is_local && p[12] != V2_COMMAND_PROXY)
		return invalid(ret_reason, p[12] >> 4 == 2 ? "unknown command" : "unknown version");
	rest = (size_t)p[14] << 8 | p[15];
	header.length = V2_FIXED_LENGTH + rest;
	if (header.length > PROXY_HEADER_MAX)
		return invalid(ret_reason, "header too long");
	if (!is_local && !v2_family_is_valid(p[13]))
		return invalid(ret_reason, "unknown protocol");
	if (!is_local && (int)rest < v2_addresses_length(p[13]))
		return invalid(ret_reason, "bad addresses");
	if (n < header.length)
		return PROXY_MORE;
	reason = parse_v2_rest(p, is_local, &header);
	if (reason)
		return invalid(ret_reason, reason);
	*ret_header = header;
	return PROXY_COMPLETE;
}

static bool may_start(const uint8_t *p, size_t n, const char *start, size_t length)
{
	return memcmp(p, start, n < length ? n : length) == 0;
}

enum proxy_status proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_header,
			      const char **ret_reason)
{
	if (n == 0)
		return PROXY_MORE;
	if (may_start(p, n, V1_START, V1_START_LENGTH)) {
		if (n < V1_START_LENGTH)
			return PROXY_MORE;
		return parse_v1((const char *)p, n, ret_header, ret_reason);
	}
	if (may_start(p, n, V2_SIGNATURE, V2_SIGNATURE_LENGTH))
		return parse_v2(p, n, ret_header, ret_reason);
	return invalid(ret_reason, "not a PROXY header");
}

const char *proxy_text(const uint8_t *header, const struct proxy_span *span, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < span->length; i++) {
		uint8_t byte = header[span->offset + i];
		bool as_is = byte >= 0x20 && byte < 0x7f && byte != '\\';

		if (used + (as_is ? 1 : 4) >= size)
			break;
		if (as_is)
			out[used++] = (char)byte;
		else
			used += (size_t)sprintf(out + used, "\\x%02x", byte);
	}
	out[used] = '\0';
	return out;
}
