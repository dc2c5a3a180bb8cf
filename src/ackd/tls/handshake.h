#pragma once

/*
 * The server's end of one handshake, made by OpenSSL over memory. It receives the client's bytes
 * record by record. The bytes after the client's last record are not its business, so that the
 * record layer (core/wire/tls_record.h) can begin with them. Then the SSL object, which takes 50
 * kB, is freed.
 */

#include "ackd/tls/context.h"
#include "core/wire/tls_record.h"

struct tls_handshake;

enum tls_progress {
	TLS_HANDSHAKING, /* it needs more input */
	TLS_ESTABLISHED, /* send the output, then tls_handshake_finish() */
	TLS_REFUSED,	 /* send the output, an alert, then close */
};

/* Begins a handshake. @context must outlive it. Returns NULL when out of memory. */
struct tls_handshake *tls_handshake_create(const struct tls_context *context);

/* Accepts NULL. Wipes secrets. */
void tls_handshake_destroy(struct tls_handshake *handshake);

/*
 * Continues with the @n bytes at @p. Sets *@ret_used to the number of bytes that belong to the
 * handshake. With TLS_REFUSED, sets *@ret_reason (static) to the reason in words.
 */
enum tls_progress tls_handshake_take(struct tls_handshake *handshake, const uint8_t *p, size_t n,
				     size_t *ret_used, const char **ret_reason);

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
