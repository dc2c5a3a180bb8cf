#pragma once

/* Shared by the files that use OpenSSL. Only those include this. */

#include "ackc/tls/tls.h"

#include <openssl/ssl.h>

struct tls_client {
	SSL_CTX *context;
	BIO_METHOD *transport; /* set by tls_create(), from tls_transport() */
	char name[256];	       /* the certificate must be for it; empty: for any */
	bool insecure;
	bool has_certificate; /* of our own */
	char alpn[256];	      /* the list of the command line; empty: none */
};

/* Creates the BIO method of a connection. Returns NULL if out of memory. */
BIO_METHOD *tls_transport(void);

/* Call before any other function of OpenSSL. It reads its configuration, except on Windows. */
void tls_prepare_library(void);

/*
 * Trusts the certificates that the system trusts, and those of the variables SSL_CERT_FILE and
 * SSL_CERT_DIR. Returns false on an error.
 */
bool tls_trust_system(SSL_CTX *context);

/* OpenSSL's callback for each certificate of a chain, and for each problem of it. */
int tls_on_verify(int good, X509_STORE_CTX *store);

/* Describes the problem of @store that OpenSSL found. @name is the name wanted; or empty. */
void certificate_problem(X509_STORE_CTX *store, const char *name, char words[TLS_WORDS_MAX]);

/* Writes a subject or issuer as in RFC 4514, with unprintable characters escaped. */
void certificate_name(const X509_NAME *name, char *out, size_t size);

/* Returns the end of the validity; 0 if it cannot be represented. */
time_t certificate_expires(const X509 *certificate);
