#include <windows.h>

#include <wincrypt.h>

/* It undefines names that both have. */
#include "ackc/tls/internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* The path of the file has no drive, and any user may create it. */
void tls_prepare_library(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

/* Returns whether Windows permits @root to issue certificates of servers. */
static bool is_for_servers(const CERT_CONTEXT *root)
{
	union {
		CERT_ENHKEY_USAGE usage;
		char room[4096];
	} u;
	DWORD size = sizeof(u);

	if (!CertGetEnhancedKeyUsage(root, 0, &u.usage, &size))
		return false;
	/* without a restriction there is no list, which is not an empty list */
	if (u.usage.cUsageIdentifier == 0)
		return GetLastError() == (DWORD)CRYPT_E_NOT_FOUND;
	for (DWORD i = 0; i < u.usage.cUsageIdentifier; i++)
		if (strcmp(u.usage.rgpszUsageIdentifier[i], szOID_PKIX_KP_SERVER_AUTH) == 0)
			return true;
	return false;
}

/* Returns whether @store has the certificate @root. */
static bool contains(HCERTSTORE store, const CERT_CONTEXT *root)
{
	const CERT_CONTEXT *same =
		store ? CertFindCertificateInStore(store, X509_ASN_ENCODING, 0, CERT_FIND_EXISTING,
						   root, NULL)
		      : NULL;

	if (same)
		CertFreeCertificateContext(same);
	return same;
}

static void add(SSL_CTX *context, const CERT_CONTEXT *root)
{
	const unsigned char *p = root->pbCertEncoded;
	X509 *certificate = d2i_X509(NULL, &p, (long)root->cbCertEncoded);

	if (certificate)
		X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
	X509_free(certificate);
}

/* The default paths of OpenSSL are not used: they have no drive, either. */
bool tls_trust_system(SSL_CTX *context)
{
	HCERTSTORE roots = CertOpenSystemStoreW(0, L"ROOT");
	HCERTSTORE disallowed = CertOpenSystemStoreW(0, L"Disallowed");
	const char *file = getenv(X509_get_default_cert_file_env());
	const char *directory = getenv(X509_get_default_cert_dir_env());
	const CERT_CONTEXT *root = NULL;

	while (roots && (root = CertEnumCertificatesInStore(roots, root)))
		if (is_for_servers(root) && !contains(disallowed, root))
			add(context, root);
	if (roots)
		CertCloseStore(roots, 0);
	if (disallowed)
		CertCloseStore(disallowed, 0);
	if (file)
		SSL_CTX_load_verify_file(context, file);
	if (directory)
		SSL_CTX_load_verify_dir(context, directory);
	ERR_clear_error(); /* a file or certificate that cannot be read is ignored, as elsewhere */
	return true;
}
