#pragma once

/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt): the
 * header with which a load balancer says whose connection it forwards.
 *
 * Version 2 has type-length-value fields (TLVs) after the addresses. Three are interpreted: the
 * authority, the unique ID and the checksum (CRC32C). A field that does not fit into the header, an
 * ID or a checksum of the wrong length, and a second field of one of these types are ill-formed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The longest header that is accepted, in bytes. */
#define PROXY_HEADER_MAX 4096

/* The longest unique ID, in bytes. */
#define PROXY_ID_MAX 128

enum proxy_status {
	PROXY_MORE,	/* what there is may be the beginning of a header */
	PROXY_COMPLETE, /* a header */
	PROXY_INVALID,	/* never a header, whatever follows */
};

/* Bytes of a header, counted from its first byte. Length 0: absent. */
struct proxy_span {
	uint16_t offset;
	uint16_t length;
};

struct proxy_header {
	size_t length; /* of the header in bytes; the client's data follow */
	/*
	 * Whether the header says who the client is. It does not for a connection of the load
	 * balancer's own (its health check), and for a family or a transport that is unspecified or
	 * is not a stream: then the peer's address is the client's.
	 */
	bool has_source;
	struct sockaddr_storage source; /* AF_INET, AF_INET6 or AF_UNIX */
	struct proxy_span unique_id;	/* any bytes, at most PROXY_ID_MAX */
	struct proxy_span authority;	/* the host name that the client asked for; any bytes */
};

/*
 * Parses the header at the start of a connection's first @n bytes at @p. Fills *@ret_header for
 * PROXY_COMPLETE, sets *@ret_reason (static; what is wrong, in words) for PROXY_INVALID. Never
 * returns PROXY_MORE for @n >= PROXY_HEADER_MAX. Pure: to be called again with all the bytes when
 * more have come.
 */
enum proxy_status proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_header,
			      const char **ret_reason);

/*
 * Writes the bytes of @span in the @header as text to @out (@size > 0 bytes): every byte that is
 * not printable ASCII, and the backslash, as \xNN. What does not fit is left out, from a whole byte
 * on. Returns @out.
 */
const char *proxy_text(const uint8_t *header, const struct proxy_span *span, char *out,
		       size_t size);
