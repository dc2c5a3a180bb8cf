#pragma once

/*
 * TLS of a stream, by OpenSSL: tls.c, or tls_none.c in a build without it. A struct tls is the
 * state of one connection. It does no I/O: the stream passes the bytes that arrive, and gets the
 * bytes to send by a callback.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* The options of the command line for TLS. The caller owns the strings; NULL: not given. */
struct tls_options {
	bool wanted;
	bool insecure;	  /* a problem of the certificate does not end the connection */
	const char *ca;	  /* a file of certificates to trust instead of the system's */
	const char *cert; /* our certificate and its chain */
	const char *key;  /* its key; NULL: in the file @cert */
	const char *sni;  /* the name to ask for, and to verify; NULL: that of the target */
	const char *alpn; /* protocol names with commas between them */
};

/* The settings of all connections to a target. Immutable; threads may share it. */
struct tls_client;

/* The buffer size for descriptions of errors. */
#define TLS_WORDS_MAX 200

/*
 * Reads the certificates and the key. @host is the name or address of the target; empty for a UNIX
 * socket, whose certificate may then be for any name. Returns NULL on an error, with a description
 * in @words.
 */
struct tls_client *tls_client_create(const struct tls_options *options, const char *host,
				     char words[TLS_WORDS_MAX]);

/* Frees the settings; no connection may use them any more. Accepts NULL. */
void tls_client_destroy(struct tls_client *c);

struct tls;

/* Sends @n bytes. Returns 0 or a negative errno. */
typedef int (*tls_send_cb)(void *data, const void *bytes, size_t n);

/* Prepares a connection; it sends nothing yet. Returns 0 or UV_ENOMEM. The caller keeps @c. */
int tls_create(const struct tls_client *c, tls_send_cb send, void *data, struct tls **ret_tls);

/* Frees the state, without a close_notify. Accepts NULL. */
void tls_destroy(struct tls *t);

/* Passes @n received bytes, which must stay valid until tls_wanted() is greater than 0. */
void tls_feed(struct tls *t, const uint8_t *bytes, size_t n);

/* Returns the number of bytes that complete the current part of a record; 0: none was asked for. */
size_t tls_wanted(const struct tls *t);

/*
 * Continues the handshake. Returns 1 when it is complete, 0 if more must arrive, or a failure for
 * failure_text(). After FAILURE_NO_TLS, the caller can describe what has arrived.
 */
int tls_handshake(struct tls *t);

/*
 * Decrypts at most @n > 0 bytes to @out. Returns their number, 0 if more must arrive, UV_EOF after
 * the close_notify of the server, or another failure for failure_text().
 */
ssize_t tls_read(struct tls *t, void *out, size_t n);

/* Encrypts and sends @n > 0 bytes. Returns 0 or a negative failure. */
int tls_write(struct tls *t, const void *bytes, size_t n);

/* Sends close_notify, once, if the handshake is complete and nothing has failed. */
void tls_end(struct tls *t);

/* The properties of a connection, in printable characters. */
struct tls_facts {
	uint64_t handshake_ns; /* duration; set by the stream */
	char version[16];      /* "TLS 1.3" */
	char cipher[64];
	char alpn[256];	   /* empty: none */
	char subject[256]; /* of the server's certificate, as in RFC 4514 */
	char issuer[256];
	time_t expires;
	char problem[TLS_WORDS_MAX]; /* of the certificate, not verified; empty: none */
};

/* Describes a connection whose handshake is complete. */
void tls_describe(const struct tls *t, struct tls_facts *ret);

/* Returns the version of OpenSSL that this process has loaded; "none" without. */
const char *tls_library_version(void);

/* Returns whether @alpn is a list of protocol names of 1 to 255 bytes. */
bool tls_alpn_is_valid(const char *alpn);
