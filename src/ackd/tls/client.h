#pragma once

/*
 * The certificates that a client has presented. A connection keeps them, so that the next process
 * can check them against its own client_ca. They are in DER, one after another: the client's own,
 * then those of authorities that the client has sent.
 */

#include "ackd/tls/context.h"

/* A client without a certificate. The other verdicts are OpenSSL's X509_V_ERR_ values. */
#define TLS_NO_CERTIFICATE 1000

/*
 * Checks the @n bytes at @certificates as a handshake with @context would do now. Takes about 0.1
 * ms. Returns 0 if the client may be served, a positive verdict if not, or -EBADMSG (damaged) or
 * -ENOMEM.
 */
int tls_client_check(const struct tls_context *context, const uint8_t *certificates, size_t n);

/* Returns a positive verdict in words. Static. */
const char *tls_client_verdict(int verdict);
