#pragma once

/* Declarations shared by the files that use OpenSSL. */

#include "ackd/tls/context.h"

#include <limits.h>
#include <openssl/ssl.h>
#include <stdbool.h>

struct tls_context {
	SSL_CTX *ssl;
	char *warning;	      /* or NULL */
	struct tls_alpn alpn; /* a copy */
};

/* Receives a line of the key log: a label, the client's random and a secret. */
void tls_handshake_on_key(const SSL *ssl, const char *line);
