#pragma once

/*
 * The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt): a load
 * balancer sends this header to identify the client whose connection it forwards.
 *
 * Version 2 has type-length-value fields (TLVs) after the addresses. Three are interpreted: the
 * authority, the unique ID and the checksum (CRC32C). Ill-formed are: a field that does not fit
 * into the header, a unique ID or a checksum of the wrong length, and a second field of one of
 * these types.
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
	PROXY_MORE,	/* the bytes may be the beginning of a header */
	PROXY_COMPLETE, /* a complete header */
	PROXY_INVALID,	/* not a header, whatever follows */
};

/* A range of bytes of a header; the offset counts from its first byte. Length 0: absent. */
struct proxy_span {
	uint16_t offset;
	uint16_t length;
};

struct proxy_header {
	size_t length; /* of the header in bytes; the client's data follow */
	/*
	 * Set if the header identifies the client. Not set for a load balancer's own connection (a
	 * health check), nor if the family or transport is unspecified or not a stream. In these
	 * cases the peer's address is the client's.
	 */
	bool has_source;
	struct sockaddr_storage source;	     /* AF_INET, AF_INET6 or AF_UNIX */
	struct sockaddr_storage destination; /* where the client connected to, if has_source */
	struct proxy_span unique_id;	     /* any bytes, at most PROXY_ID_MAX */
	struct proxy_span authority; /* the host name that the client requested; any bytes */
};

/*
 * Parses the header at the start of a connection's first @n bytes at @p. Fills *@ret_header for
 * PROXY_COMPLETE. Sets *@ret_reason (a static string, the reason in words) for PROXY_INVALID. Never
 * returns PROXY_MORE for @n >= PROXY_HEADER_MAX. Keeps no state: after PROXY_MORE, call it again
 * with all bytes received.
 */
enum proxy_status proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_header,
			      const char **ret_reason);

/*
 * Writes the bytes of @span in the @header as text to @out (@size > 0 bytes). Every byte that is
 * not printable ASCII, and every backslash, becomes \xNN. Truncates at a whole byte if @out is too
 * small. Returns @out.
 */
const char *proxy_text(const uint8_t *header, const struct proxy_span *span, char *out,
		       size_t size);
