#pragma once

/*
 * The keys that protect one direction of a TLS connection: suites, derivation and nonces. The
 * cryptography is libcrypto's, through EVP.
 *
 *   RFC 8446 7.1-7.3    TLS 1.3: traffic secrets, keys and IVs by HKDF-Expand-Label
 *   RFC 8446 5.3        nonce of TLS 1.3
 *   RFC 5246 6.3        TLS 1.2: the key block, by the PRF of the suite
 *   RFC 5288 3          AES-GCM in TLS 1.2: nonce of a salt and an explicit part (RFC 5116 3.2)
 *   RFC 7905 2          ChaCha20-Poly1305 in TLS 1.2: nonce as in TLS 1.3
 *   RFC 5289, RFC 8422  ECDHE suites of TLS 1.2
 */

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_SECRET_MAX 48
#define TLS_KEY_MAX 32
#define TLS_NONCE_LENGTH 12
#define TLS_TAG_LENGTH 16
#define TLS_MASTER_LENGTH 48
#define TLS_RANDOM_LENGTH 32

/*
 * The most records that one key protects. RFC 8446 5.5 permits 2^24.5 with AES-GCM. One limit for
 * all suites is simpler, and costs nothing.
 */
#define TLS_RECORDS_MAX ((uint64_t)1 << 24)

enum tls_aead { TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305, TLS_AEADS };

struct tls_suite {
	uint16_t number;      /* assigned by IANA */
	bool is_13;	      /* TLS 1.3, otherwise 1.2 */
	uint8_t aead;	      /* enum tls_aead */
	uint8_t key_length;   /* bytes, as are all lengths here */
	uint8_t hash_length;  /* of the hash of HKDF, or of the PRF */
	uint8_t nonce_length; /* of the explicit part of the nonce, which a record carries */
	const char *name;     /* assigned by IANA */
};

/* Returns the suite of IANA's @number, or NULL if it is not supported. */
const struct tls_suite *tls_suite_find(uint16_t number);

/* Returns the bytes of a direction's secret in struct tls_keys. */
static inline size_t tls_suite_secret_length(const struct tls_suite *suite)
{
	return suite->is_13 ? suite->hash_length : (size_t)suite->key_length + TLS_NONCE_LENGTH;
}

/*
 * A context of libcrypto takes more than 1 KiB, so a connection has none. Setting its key takes
 * 0.13 us with AES-GCM, a sixth of the time for a record of 64 bytes. A thread therefore has this
 * many contexts with keys for each AEAD; the next key replaces the one that was set first.
 */
#define TLS_CONTEXTS 128

/* The memory of a context with its key: up to 1,168 bytes with OpenSSL 3.0. */
#define TLS_CONTEXT_BYTES 1280

struct tls_contexts {
	EVP_CIPHER *cipher; /* NULL: libcrypto lacks the AEAD */
	uint64_t n_loads;   /* of keys into contexts */
	struct tls_loaded {
		EVP_CIPHER_CTX *context; /* NULL before the first key of the AEAD */
		uint64_t load;		 /* number of the load that has set its key; 0: no key */
	} loaded[TLS_CONTEXTS];		 /* by the number of the load */
};

/* The working memory of a thread. A connection uses the same one until it ends. */
struct tls_crypto {
	struct tls_contexts aeads[TLS_AEADS];
	EVP_KDF_CTX *expand; /* HKDF-Expand-Label */
	EVP_KDF_CTX *prf;
	uint64_t records_max; /* TLS_RECORDS_MAX; tests lower it, but not below 32 */
};

/*
 * Returns 0, -ENOMEM, or -ENOTSUP if libcrypto lacks a key derivation; then there is nothing to
 * release. An AEAD may be absent, for example when only FIPS algorithms are permitted. OpenSSL does
 * not negotiate its suites then.
 */
int tls_crypto_init(struct tls_crypto *crypto);

/* Overwrites all keys. */
void tls_crypto_finish(struct tls_crypto *crypto);

/* The keys of one direction. */
struct tls_keys {
	uint64_t sequence; /* number of the next record */
	/*
	 * The source of the members below. In TLS 1.3 the traffic secret. In TLS 1.2 the key and
	 * the IV; with AES-GCM the IV is the salt, then the explicit nonce of record 0 (see
	 * nonces).
	 */
	uint8_t secret[TLS_SECRET_MAX];
	uint8_t key[TLS_KEY_MAX];
	uint8_t iv[TLS_NONCE_LENGTH];
	uint64_t load; /* number of the key's last load into a context, or 0 */
};

/*
 * Sets the keys from @secret (tls_suite_secret_length() bytes), and forgets the previous ones. Does
 * not change the sequence number. The first call for an AEAD allocates its contexts. Returns 0, or
 * -ENOTSUP if libcrypto fails; then @keys are as before.
 */
int tls_keys_set(struct tls_keys *keys, struct tls_crypto *crypto, const struct tls_suite *suite,
		 const uint8_t *secret);

/*
 * Replaces the keys by the next generation of TLS 1.3, which begins with sequence number 0. Returns
 * 0, or -ENOTSUP if libcrypto fails; then @keys and the sequence number are as before, so that no
 * nonce is used twice.
 */
int tls_keys_update(struct tls_keys *keys, struct tls_crypto *crypto,
		    const struct tls_suite *suite);

/*
 * Returns a context that has the key, and seals or opens with it, or NULL if libcrypto fails. It is
 * valid until the next call for the AEAD. One direction of a connection either always seals or
 * always opens.
 */
EVP_CIPHER_CTX *tls_keys_context(struct tls_keys *keys, struct tls_crypto *crypto,
				 const struct tls_suite *suite, bool seals);

/* Overwrites the key in its context. The caller overwrites @keys. */
void tls_keys_forget(struct tls_keys *keys, struct tls_crypto *crypto,
		     const struct tls_suite *suite);

/*
 * Derives the secrets of both directions of a TLS 1.2 connection from its @master secret. With
 * AES-GCM the explicit nonces are zero in them. Returns 0, or -ENOTSUP if libcrypto fails.
 */
int tls_keys_expand(struct tls_crypto *crypto, const struct tls_suite *suite,
		    const uint8_t master[TLS_MASTER_LENGTH],
		    const uint8_t client_random[TLS_RANDOM_LENGTH],
		    const uint8_t server_random[TLS_RANDOM_LENGTH],
		    uint8_t ret_client[TLS_SECRET_MAX], uint8_t ret_server[TLS_SECRET_MAX]);

/*
 * Writes the nonce with which the record of the current sequence number is sealed. An explicit part
 * is its end.
 *
 * With AES-GCM in TLS 1.2 the sender chooses the explicit part, and no two records may have the
 * same. The handshake has sealed record 0 with one of its choice (OpenSSL: random). This function
 * counts from that one, so it must be in the secret.
 */
void tls_keys_nonce(const struct tls_keys *keys, const struct tls_suite *suite,
		    uint8_t ret_nonce[TLS_NONCE_LENGTH]);
