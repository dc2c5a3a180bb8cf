#include <windows.h>

#include <wincrypt.h>

/* It undefines names that both have. */
#include "ackc/net/internal.h"

#include <openssl/err.h>

bool tls_trust_system(SSL_CTX *context)
{
	X509_STORE *store = SSL_CTX_get_cert_store(context);
	HCERTSTORE roots = CertOpenSystemStoreW(0, L"ROOT");
	const CERT_CONTEXT *root = NULL;

	while (roots && (root = CertEnumCertificatesInStore(roots, root))) {
		const unsigned char *p = root->pbCertEncoded;
		X509 *certificate = d2i_X509(NULL, &p, (long)root->cbCertEncoded);

		if (certificate)
			X509_STORE_add_cert(store, certificate);
		X509_free(certificate);
	}
	if (roots)
		CertCloseStore(roots, 0);
	ERR_clear_error(); /* of a certificate that OpenSSL does not take */
	return SSL_CTX_set_default_verify_paths(context) == 1;
}
