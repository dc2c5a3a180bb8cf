#include "ackd/tls/internal.h"
#include "ackd/tls/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The suites that core/wire/tls_keys.c has. */
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_12                                                                                  \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

#define CREDENTIAL "credential:"

/* The most bytes of a client's certificates. OpenSSL holds about 20 times as much for them. */
#define CLIENT_CERTIFICATES_MAX 16384

/* ---- messages ---- */

__attribute__((format(printf, 3, 4))) static int fault(struct tls_fault *ret_fault,
						       const char *setting, const char *format, ...)
{
	va_list arguments;

	ret_fault->setting = setting;
	va_start(arguments, format);
	vsnprintf(ret_fault->text, sizeof(ret_fault->text), format, arguments);
	va_end(arguments);
	ERR_clear_error();
	return -EINVAL;
}

/* Returns OpenSSL's reason for the first error. */
static const char *openssl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	return reason ? reason : "unknown error";
}

/* ---- files ---- */

static bool is_credential(const char *name)
{
	return strncmp(name, CREDENTIAL, strlen(CREDENTIAL)) == 0;
}

/* Writes the path of a file that a setting names. Returns whether there is one. */
static bool resolve(const char *name, char path[PATH_MAX])
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	int n;

	if (!is_credential(name))
		n = snprintf(path, PATH_MAX, "%s", name);
	else if (!directory)
		return false;
	else
		n = snprintf(path, PATH_MAX, "%s/%s", directory, name + strlen(CREDENTIAL));
	return n < PATH_MAX;
}

/* Resolves the file of @setting and checks that it can be read. */
static int find_file(const char *setting, const char *name, char path[PATH_MAX],
		     struct tls_fault *ret_fault)
{
	struct stat status;
	int fd;

	if (!resolve(name, path))
		return fault(ret_fault, setting,
			     "found \"%.200s\", but the service manager passes no credentials; "
			     "allowed: a path, or LoadCredential= in the unit",
			     name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fault(ret_fault, setting, "%.200s: cannot read: %s", path, strerror(errno));
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return fault(ret_fault, setting, "%.200s: not a file", path);
	}
	close(fd);
	return 0;
}

/* A key that needs a pass phrase is an error: a daemon cannot ask for it. */
static int no_pass_phrase(char *buffer, int size, int for_writing, void *data)
{
	*(bool *)data = true;
	return -1;
}

/* Returns the @i-th certificate that is sent to clients, from 0: that of the server; or NULL. */
static X509 *sent_certificate(SSL_CTX *ssl, int i)
{
	STACK_OF(X509) *others = NULL;

	if (i == 0)
		return SSL_CTX_get0_certificate(ssl);
	SSL_CTX_get0_chain_certs(ssl, &others);
	return i <= sk_X509_num(others) ? sk_X509_value(others, i - 1) : NULL;
}

/* Checks the dates of the @i-th certificate in the file @path. */
static int check_dates(const X509 *certificate, int i, const char *path,
		       struct tls_fault *ret_fault)
{
	const char *problem = NULL;

	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		problem = "has expired";
	else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		problem = "is not valid yet";
	if (!problem)
		return 0;
	if (i == 0)
		return fault(ret_fault, "tls.certificate", "%.200s: the certificate %s", path,
			     problem);
	return fault(ret_fault, "tls.certificate",
		     "%.200s: certificate %d of the file, which is sent to clients too, %s", path,
		     i + 1, problem);
}

static int load_certificate(SSL_CTX *ssl, const struct tls_settings *settings,
			    struct tls_fault *ret_fault)
{
	char path[PATH_MAX];
	const X509 *certificate;
	int r = find_file("tls.certificate", settings->certificate, path, ret_fault);

	if (r < 0)
		return r;
	if (SSL_CTX_use_certificate_chain_file(ssl, path) != 1)
		return fault(ret_fault, "tls.certificate", "%.200s: no certificate: %s", path,
			     openssl_reason());
	for (int i = 0; r == 0 && (certificate = sent_certificate(ssl, i)); i++)
		r = check_dates(certificate, i, path, ret_fault);
	return r;
}

/*
 * Keeps a warning if users can read or change the key at @path who should not. Returns 0 or
 * -ENOMEM.
 */
static int judge_readers(struct tls_context *context, const char *setting, const char *path)
{
	const mode_t others = S_IROTH | S_IWOTH;
	struct stat status;
	mode_t too_much;

	if (stat(path, &status) < 0)
		return 0;
	too_much = status.st_mode & (others | S_IWGRP);
	if (status.st_uid != 0)
		too_much |= status.st_mode & S_IRGRP;
	if (!too_much || asprintf(&context->warning,
				  "%s: %.200s: %s can %s the key (mode %04o); allowed: mode 0600, "
				  "or 0640 if root owns the file",
				  setting, path, too_much & others ? "every user" : "the group",
				  too_much & (S_IROTH | S_IRGRP) ? "read" : "change",
				  status.st_mode & 07777) >= 0)
		return 0;
	context->warning = NULL;
	return -ENOMEM;
}

static int load_key(struct tls_context *context, const struct tls_settings *settings,
		    struct tls_fault *ret_fault)
{
	const char *setting = settings->key ? "tls.key" : "tls.certificate";
	const char *name = settings->key ? settings->key : settings->certificate;
	SSL_CTX *ssl = context->ssl;
	bool is_encrypted = false;
	char path[PATH_MAX];
	int r = find_file(setting, name, path, ret_fault);

	if (r < 0)
		return r;
	secret_forbid_dumps();
	SSL_CTX_set_default_passwd_cb(ssl, no_pass_phrase);
	SSL_CTX_set_default_passwd_cb_userdata(ssl, &is_encrypted);
	r = SSL_CTX_use_PrivateKey_file(ssl, path, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
	if (is_encrypted)
		return fault(ret_fault, setting,
			     "%.200s: the key is encrypted; allowed: a key without a pass phrase",
			     path);
	if (r == 1) /* which loads a key of another type without a comparison */
		r = SSL_CTX_check_private_key(ssl);
	if (r != 1 && (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
		       ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH ||
		       ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_NO_CERTIFICATE_ASSIGNED))
		return fault(ret_fault, setting, "%.200s: not the key of the certificate", path);
	if (r != 1)
		return fault(ret_fault, setting, "%.200s: no key: %s", path, openssl_reason());
	return is_credential(name) ? 0 : judge_readers(context, setting, path);
}

static int load_client_ca(SSL_CTX *ssl, const struct tls_settings *settings,
			  struct tls_fault *ret_fault)
{
	STACK_OF(X509_NAME) * names;
	char path[PATH_MAX];
	int r;

	if (!settings->client_ca)
		return 0;
	r = find_file("tls.client_ca", settings->client_ca, path, ret_fault);
	if (r < 0)
		return r;
	names = SSL_load_client_CA_file(path);
	if (!names || SSL_CTX_load_verify_file(ssl, path) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return fault(ret_fault, "tls.client_ca", "%.200s: no certificates: %s", path,
			     openssl_reason());
	}
	SSL_CTX_set_client_CA_list(ssl, names);
	SSL_CTX_set_max_cert_list(ssl, TLS_CERTIFICATES_MAX);
	/* an authority in the file is trusted without those that have signed it */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

/* ---- ALPN ---- */

/* Chooses the first of our protocols that the client offers (RFC 7301). */
static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_length,
		   const unsigned char *offered, unsigned int n_offered, void *data)
{
	const struct tls_context *context = data;
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, ret_length, context->alpn.names,
				  (unsigned)context->alpn.length, offered,
				  n_offered) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret_name = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int copy_alpn(struct tls_context *context, const struct tls_alpn *alpn)
{
	if (alpn->length == 0)
		return 0;
	context->alpn.names = malloc(alpn->length);
	if (!context->alpn.names)
		return -ENOMEM;
	memcpy(context->alpn.names, alpn->names, alpn->length);
	context->alpn.length = alpn->length;
	SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, context);
	return 0;
}

/* ---- contexts ---- */

static int set_rules(SSL_CTX *ssl, const struct tls_settings *settings)
{
	bool only_13 = settings->min_version == TLS_MIN_1_3;

	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ssl, CLIENT_CERTIFICATES_MAX);
	SSL_CTX_set_keylog_callback(ssl, tls_handshake_on_key);
	return SSL_CTX_set_min_proto_version(ssl, only_13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
			       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_ciphersuites(ssl, SUITES_13) == 1 &&
			       SSL_CTX_set_cipher_list(ssl, SUITES_12) == 1 &&
			       SSL_CTX_set_num_tickets(ssl, 0) == 1
		       ? 0
		       : -ENOMEM;
}

int tls_context_create(const struct tls_settings *settings, struct tls_context **ret_context,
		       struct tls_fault *ret_fault)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	int r = -ENOMEM;

	if (!context)
		return -ENOMEM;
	context->ssl = SSL_CTX_new(TLS_server_method());
	if (context->ssl)
		r = set_rules(context->ssl, settings);
	if (r == 0)
		r = copy_alpn(context, &settings->alpn);
	if (r == 0)
		r = load_certificate(context->ssl, settings, ret_fault);
	if (r == 0)
		r = load_key(context, settings, ret_fault);
	if (r == 0)
		r = load_client_ca(context->ssl, settings, ret_fault);
	if (r == 0)
		*ret_context = context;
	else
		tls_context_destroy(context);
	ERR_clear_error();
	return r;
}

void tls_context_destroy(struct tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	free(context->alpn.names);
	free(context->warning);
	free(context);
}

const char *tls_context_warning(const struct tls_context *context)
{
	return context->warning;
}

int64_t tls_context_expiry(const struct tls_context *context)
{
	int64_t first = INT64_MAX;
	const X509 *certificate;

	for (int i = 0; (certificate = sent_certificate(context->ssl, i)); i++) {
		struct tm time = {0};
		int64_t expiry;

		ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time);
		expiry = timegm(&time);
		first = expiry < first ? expiry : first;
	}
	return first;
}

bool tls_context_demands_certificate(const struct tls_context *context)
{
	return context && SSL_CTX_get_verify_mode(context->ssl) & SSL_VERIFY_PEER;
}

size_t tls_context_handshake_bytes(const struct tls_context *context)
{
	return (size_t)(tls_context_demands_certificate(context) ? 512 : 96) * 1024;
}

/* ---- the library ---- */

static void *get(size_t n, const char *file, int line)
{
	return malloc(n);
}

static void put(void *p, const char *file, int line)
{
	if (p)
		secret_erase(p);
	free(p);
}

/* realloc() would leave a copy behind when it moves the bytes. */
static void *get_again(void *p, size_t n, const char *file, int line)
{
	size_t before = p ? secret_size(p) : 0;
	void *moved;

	if (p && n > 0 && n <= before)
		return p;
	moved = n > 0 ? malloc(n) : NULL;
	if (p && moved)
		memcpy(moved, p, before < n ? before : n);
	if (moved || n == 0)
		put(p, file, line);
	return moved;
}

void tls_library_init(void)
{
	int is_set = CRYPTO_set_mem_functions(get, get_again, put);

	assert(is_set == 1); /* otherwise OpenSSL has allocated before */
	(void)is_set;
}

const char *tls_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION_STRING);
}
