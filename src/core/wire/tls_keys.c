#include "core/wire/tls_keys.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

/* The part of an AES-GCM nonce of TLS 1.2 that records do not carry. */
#define SALT_LENGTH 4

/* ---- suites ---- */

/* clang-format off */
static const struct tls_suite suites[] = {
	{0x1301, true, TLS_AES_128_GCM, 16, 32, 0, "TLS_AES_128_GCM_SHA256"},
	{0x1302, true, TLS_AES_256_GCM, 32, 48, 0, "TLS_AES_256_GCM_SHA384"},
	{0x1303, true, TLS_CHACHA20_POLY1305, 32, 32, 0, "TLS_CHACHA20_POLY1305_SHA256"},
	{0xc02b, false, TLS_AES_128_GCM, 16, 32, 8, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
	{0xc02c, false, TLS_AES_256_GCM, 32, 48, 8, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
	{0xc02f, false, TLS_AES_128_GCM, 16, 32, 8, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
	{0xc030, false, TLS_AES_256_GCM, 32, 48, 8, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
	{0xcca8, false, TLS_CHACHA20_POLY1305, 32, 32, 0,
	 "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
	{0xcca9, false, TLS_CHACHA20_POLY1305, 32, 32, 0,
	 "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
};
/* clang-format on */

const struct tls_suite *tls_suite_find(uint16_t number)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(*suites); i++)
		if (suites[i].number == number)
			return &suites[i];
	return NULL;
}

/* Returns the name by which libcrypto knows the hash of the suite. */
static const char *hash_name(const struct tls_suite *suite)
{
	return suite->hash_length == 48 ? OSSL_DIGEST_NAME_SHA2_384 : OSSL_DIGEST_NAME_SHA2_256;
}

/* ---- contexts ---- */

static const char *const cipher_names[TLS_AEADS] = {
	[TLS_AES_128_GCM] = "AES-128-GCM",
	[TLS_AES_256_GCM] = "AES-256-GCM",
	[TLS_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

static int init_kdf(EVP_KDF_CTX **ret_context, const char *name)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);

	if (!kdf)
		return -ENOTSUP;
	*ret_context = EVP_KDF_CTX_new(kdf);
	EVP_KDF_free(kdf);
	return *ret_context ? 0 : -ENOMEM;
}

int tls_crypto_init(struct tls_crypto *crypto)
{
	int r;

	*crypto = (struct tls_crypto){.records_max = TLS_RECORDS_MAX};
	for (unsigned i = 0; i < TLS_AEADS; i++)
		crypto->aeads[i].cipher = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL);
	r = init_kdf(&crypto->expand, OSSL_KDF_NAME_TLS1_3_KDF);
	if (r == 0)
		r = init_kdf(&crypto->prf, OSSL_KDF_NAME_TLS1_PRF);
	if (r < 0)
		tls_crypto_finish(crypto);
	ERR_clear_error(); /* also those of an AEAD that is absent */
	return r;
}

void tls_crypto_finish(struct tls_crypto *crypto)
{
	for (unsigned i = 0; i < TLS_AEADS; i++) {
		for (unsigned k = 0; k < TLS_CONTEXTS; k++)
			EVP_CIPHER_CTX_free(crypto->aeads[i].loaded[k].context);
		EVP_CIPHER_free(crypto->aeads[i].cipher);
	}
	EVP_KDF_CTX_free(crypto->expand);
	EVP_KDF_CTX_free(crypto->prf);
	*crypto = (struct tls_crypto){0};
}

/* Allocates the contexts of an AEAD, unless it has them. Returns 0 or -ENOTSUP. */
static int allocate(struct tls_contexts *contexts)
{
	unsigned n = TLS_CONTEXTS;

	if (!contexts->cipher)
		return -ENOTSUP;
	while (n > 0 && !contexts->loaded[n - 1].context)
		n--;
	for (; n < TLS_CONTEXTS; n++) {
		EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

		if (!context ||
		    !EVP_CipherInit_ex2(context, contexts->cipher, NULL, NULL, 1, NULL)) {
			EVP_CIPHER_CTX_free(context);
			ERR_clear_error();
			return -ENOTSUP;
		}
		contexts->loaded[n].context = context;
	}
	return 0;
}

/* Returns where the key is loaded, or NULL. */
static struct tls_loaded *loaded_of(const struct tls_keys *keys, struct tls_contexts *contexts)
{
	struct tls_loaded *loaded = &contexts->loaded[keys->load % TLS_CONTEXTS];

	return keys->load > 0 && loaded->load == keys->load ? loaded : NULL;
}

EVP_CIPHER_CTX *tls_keys_context(struct tls_keys *keys, struct tls_crypto *crypto,
				 const struct tls_suite *suite, bool seals)
{
	struct tls_contexts *contexts = &crypto->aeads[suite->aead];
	struct tls_loaded *loaded = loaded_of(keys, contexts);

	if (loaded)
		return loaded->context;
	keys->load = ++contexts->n_loads;
	loaded = &contexts->loaded[keys->load % TLS_CONTEXTS];
	loaded->load = keys->load;
	if (EVP_CipherInit_ex2(loaded->context, NULL, keys->key, NULL, seals, NULL))
		return loaded->context;
	tls_keys_forget(keys, crypto, suite);
	return NULL;
}

void tls_keys_forget(struct tls_keys *keys, struct tls_crypto *crypto,
		     const struct tls_suite *suite)
{
	static const uint8_t zeros[TLS_KEY_MAX];
	struct tls_loaded *loaded = loaded_of(keys, &crypto->aeads[suite->aead]);

	if (!loaded)
		return;
	EVP_CipherInit_ex2(loaded->context, NULL, zeros, zeros, -1, NULL);
	loaded->load = 0;
}

/* ---- derivation ---- */

/* Parameters without const; libcrypto only reads from them. */
static OSSL_PARAM octets(const char *name, const void *p, size_t n)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)p, n);
}

static OSSL_PARAM text(const char *name, const char *p)
{
	return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)p, 0);
}

/* Derives @n bytes and forgets the parameters, which are secret. Returns 0 or -ENOTSUP. */
static int derive(EVP_KDF_CTX *context, const OSSL_PARAM *parameters, uint8_t *ret_bytes, size_t n)
{
	int is_derived = EVP_KDF_derive(context, ret_bytes, n, parameters);

	EVP_KDF_CTX_reset(context);
	if (is_derived == 1)
		return 0;
	ERR_clear_error();
	return -ENOTSUP;
}

/* HKDF-Expand-Label() of RFC 8446 7.1, with an empty context. */
static int expand_label(struct tls_crypto *crypto, const struct tls_suite *suite,
			const uint8_t *secret, const char *label, uint8_t *ret_bytes, size_t n)
{
	static const char prefix[] = "tls13 ";
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	const OSSL_PARAM parameters[] = {
		text(OSSL_KDF_PARAM_DIGEST, hash_name(suite)),
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		octets(OSSL_KDF_PARAM_KEY, secret, suite->hash_length),
		octets(OSSL_KDF_PARAM_PREFIX, prefix, strlen(prefix)),
		octets(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	return derive(crypto->expand, parameters, ret_bytes, n);
}

int tls_keys_set(struct tls_keys *keys, struct tls_crypto *crypto, const struct tls_suite *suite,
		 const uint8_t *secret)
{
	struct tls_keys new = {.sequence = keys->sequence};
	int r = allocate(&crypto->aeads[suite->aead]);

	if (r < 0)
		return r;
	memcpy(new.secret, secret, tls_suite_secret_length(suite));
	if (suite->is_13) {
		r = expand_label(crypto, suite, secret, "key", new.key, suite->key_length);
		if (r == 0)
			r = expand_label(crypto, suite, secret, "iv", new.iv, sizeof(new.iv));
	} else {
		memcpy(new.key, secret, suite->key_length);
		memcpy(new.iv, secret + suite->key_length, sizeof(new.iv));
	}
	if (r == 0) {
		tls_keys_forget(keys, crypto, suite);
		*keys = new;
	}
	OPENSSL_cleanse(&new, sizeof(new));
	return r;
}

int tls_keys_update(struct tls_keys *keys, struct tls_crypto *crypto, const struct tls_suite *suite)
{
	uint8_t next[TLS_SECRET_MAX];
	int r = expand_label(crypto, suite, keys->secret, "traffic upd", next, suite->hash_length);

	if (r == 0)
		r = tls_keys_set(keys, crypto, suite, next);
	OPENSSL_cleanse(next, sizeof(next));
	if (r == 0)
		keys->sequence = 0;
	return r;
}

int tls_keys_expand(struct tls_crypto *crypto, const struct tls_suite *suite,
		    const uint8_t master[TLS_MASTER_LENGTH],
		    const uint8_t client_random[TLS_RANDOM_LENGTH],
		    const uint8_t server_random[TLS_RANDOM_LENGTH],
		    uint8_t ret_client[TLS_SECRET_MAX], uint8_t ret_server[TLS_SECRET_MAX])
{
	static const char label[] = "key expansion";
	const OSSL_PARAM parameters[] = {
		text(OSSL_KDF_PARAM_DIGEST, hash_name(suite)),
		octets(OSSL_KDF_PARAM_SECRET, master, TLS_MASTER_LENGTH),
		/* the seeds are joined */
		octets(OSSL_KDF_PARAM_SEED, label, strlen(label)),
		octets(OSSL_KDF_PARAM_SEED, server_random, TLS_RANDOM_LENGTH),
		octets(OSSL_KDF_PARAM_SEED, client_random, TLS_RANDOM_LENGTH),
		OSSL_PARAM_construct_end(),
	};
	size_t key = suite->key_length;
	size_t iv = suite->nonce_length > 0 ? SALT_LENGTH : TLS_NONCE_LENGTH;
	uint8_t block[2 * (TLS_KEY_MAX + TLS_NONCE_LENGTH)];
	int r = derive(crypto->prf, parameters, block, 2 * (key + iv));

	if (r == 0) {
		memset(ret_client, 0, TLS_SECRET_MAX);
		memset(ret_server, 0, TLS_SECRET_MAX);
		memcpy(ret_client, block, key);
		memcpy(ret_server, block + key, key);
		memcpy(ret_client + key, block + 2 * key, iv);
		memcpy(ret_server + key, block + 2 * key + iv, iv);
	}
	OPENSSL_cleanse(block, sizeof(block));
	return r;
}

/* ---- nonces ---- */

/* Written out, because compilers then make an instruction or two of each of these. */

static uint64_t get_64(const uint8_t *p)
{
	return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
	       (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
	       (uint64_t)p[6] << 8 | p[7];
}

static void put_64(uint8_t *p, uint64_t value)
{
	p[0] = (uint8_t)(value >> 56);
	p[1] = (uint8_t)(value >> 48);
	p[2] = (uint8_t)(value >> 40);
	p[3] = (uint8_t)(value >> 32);
	p[4] = (uint8_t)(value >> 24);
	p[5] = (uint8_t)(value >> 16);
	p[6] = (uint8_t)(value >> 8);
	p[7] = (uint8_t)value;
}

void tls_keys_nonce(const struct tls_keys *keys, const struct tls_suite *suite,
		    uint8_t ret_nonce[TLS_NONCE_LENGTH])
{
	uint64_t number = get_64(keys->iv + SALT_LENGTH);

	if (suite->nonce_length > 0)
		number += keys->sequence;
	else
		number ^= keys->sequence;
	memcpy(ret_nonce, keys->iv, SALT_LENGTH);
	put_64(ret_nonce + SALT_LENGTH, number);
}
