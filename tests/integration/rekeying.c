/*
 * ackd whose keys seal 32 records, not 2^24, so that other programs meet its KeyUpdates. With
 * TLS 1.2, which has none, its connections end early.
 */
#include "core/wire/tls_keys.h"

int __real_tls_crypto_init(struct tls_crypto *crypto);
int __wrap_tls_crypto_init(struct tls_crypto *crypto);
int __wrap_tls_crypto_init(struct tls_crypto *crypto)
{
	int r = __real_tls_crypto_init(crypto);

	crypto->records_max = 32;
	return r;
}
