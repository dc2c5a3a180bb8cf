#include "ackd/tls/client.h"

#include "ackd/tls/internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

const char *tls_client_verdict(int verdict)
{
	return verdict == TLS_NO_CERTIFICATE ? "no certificate"
					     : X509_verify_cert_error_string(verdict);
}

/* Reads the certificates. Returns NULL if they are damaged, or when out of memory. */
static STACK_OF(X509) * read_certificates(const uint8_t *p, size_t n)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	const uint8_t *end = p + n;

	while (certificates && p < end) {
		X509 *certificate = d2i_X509(NULL, &p, end - p);

		if (!certificate || sk_X509_push(certificates, certificate) <= 0) {
			X509_free(certificate);
			sk_X509_pop_free(certificates, X509_free);
			return NULL;
		}
	}
	return certificates;
}

/* Checks a client's certificates, its own first, by the rules of OpenSSL's handshakes. */
static int check(const struct tls_context *context, STACK_OF(X509) * certificates)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	int r = -ENOMEM;

	if (store && X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context->ssl),
					 sk_X509_value(certificates, 0), certificates) == 1) {
		X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(store);

		X509_VERIFY_PARAM_set_auth_level(parameters,
						 SSL_CTX_get_security_level(context->ssl));
		X509_STORE_CTX_set_default(store, "ssl_client");
		X509_VERIFY_PARAM_set1(parameters, SSL_CTX_get0_param(context->ssl));
		if (X509_verify_cert(store) == 1)
			r = 0;
		else if (X509_STORE_CTX_get_error(store) != X509_V_ERR_OUT_OF_MEM)
			r = X509_STORE_CTX_get_error(store);
	}
	X509_STORE_CTX_free(store);
	return r;
}

int tls_client_check(const struct tls_context *context, const uint8_t *certificates, size_t n)
{
	STACK_OF(X509) * chain;
	int r = -EBADMSG;

	if (!tls_context_demands_certificate(context))
		return 0;
	if (n == 0)
		return TLS_NO_CERTIFICATE;
	chain = read_certificates(certificates, n);
	if (chain)
		r = check(context, chain);
	sk_X509_pop_free(chain, X509_free);
	ERR_clear_error();
	return r;
}
