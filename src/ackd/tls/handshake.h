#pragma once

/*
 * The server's end of one handshake, made by OpenSSL over memory. It receives the client's bytes
 * record by record. The bytes after the client's last record are left to the record layer
 * (core/wire/tls_record.h). Then the SSL object is freed; see tls_context_handshake_bytes().
 */

#include "ackd/tls/context.h"
#include "ackd/tls/result.h"
#include "core/wire/tls_record.h"

struct tls_handshake;

enum tls_progress {
	TLS_HANDSHAKING, /* it needs more input */
	TLS_ESTABLISHED, /* send the output, then tls_handshake_finish() */
	TLS_REFUSED,	 /* send the output, an alert, then close */
};

/* The longest ClientHello that is accepted. OpenSSL needs no further memory for it. */
#define TLS_CLIENT_HELLO_MAX ((size_t)16384)

/* The reason for rejecting a client before a handshake. */
struct tls_rejection {
	enum tls_alert alert; /* for the client */
	enum tls_result result;
	const char *reason; /* in words; static */
};

/*
 * Checks the first @n bytes of a connection, at least 1, before a handshake is begun for them.
 * Returns how many bytes the record has that they begin, at least TLS_HEADER_LENGTH + 4, as far as
 * this is known. Returns 0 and sets *@ret_rejection if it cannot be a ClientHello.
 */
size_t tls_first_record(const uint8_t *p, size_t n, struct tls_rejection *ret_rejection);

/* Begins a handshake. @context must outlive it. Returns NULL when out of memory. */
struct tls_handshake *tls_handshake_create(const struct tls_context *context);

/* Accepts NULL. Wipes secrets. */
void tls_handshake_destroy(struct tls_handshake *handshake);

/*
 * Continues with the @n bytes at @p, the first of which tls_first_record() has accepted. Sets
 * *@ret_used to the number of bytes that belong to the handshake. With TLS_REFUSED, sets
 * *@ret_reason (static) to the reason in words.
 */
enum tls_progress tls_handshake_take(struct tls_handshake *handshake, const uint8_t *p, size_t n,
				     size_t *ret_used, const char **ret_reason);

/* Returns how it ended, after TLS_ESTABLISHED or TLS_REFUSED. */
enum tls_result tls_handshake_result(const struct tls_handshake *handshake);

/* Returns the version that was agreed on, or TLS_VERSION_NONE before that. */
enum tls_version tls_handshake_version(const struct tls_handshake *handshake);

/*
 * Returns the bytes to send to the client, valid until the next call, and their number in *@ret_n,
 * which may be 0. They do not come again.
 */
const uint8_t *tls_handshake_output(struct tls_handshake *handshake, size_t *ret_n);

/*
 * Writes the subject of the client's certificate as RFC 4514 defines it, in printable ASCII: other
 * bytes of its UTF-8 text appear as \NN. Writes "" without a certificate, or if the subject is
 * empty. A text that does not fit into the @size bytes at @out is cut and ends with "<...>". No
 * subject contains these characters unescaped. Returns 0 or -ENOMEM.
 */
int tls_handshake_subject(const struct tls_handshake *handshake, char *out, size_t size);

/*
 * Returns the certificates of the client, see client.h. Sets *@ret_n to their bytes, at most
 * TLS_CERTIFICATES_MAX. The caller frees them. Returns NULL, and 0 bytes, if the client has
 * presented none, and NULL and more bytes when out of memory.
 */
uint8_t *tls_handshake_certificates(const struct tls_handshake *handshake, size_t *ret_n);

/*
 * Derives the state of the established connection. The caller wipes it. Returns 0 or -ENOTSUP.
 */
int tls_handshake_finish(struct tls_handshake *handshake, struct tls_crypto *crypto,
			 struct tls_state *ret_state);
