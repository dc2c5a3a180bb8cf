#include "ackc/tls/internal.h"
#include "core/text/printable.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tls_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION_STRING);
}

bool tls_alpn_is_valid(const char *alpn)
{
	size_t n;

	for (;; alpn += n + 1) {
		n = strcspn(alpn, ",");
		if (n == 0 || n > 255)
			return false;
		if (!alpn[n])
			return true;
	}
}

static bool fail(char words[TLS_WORDS_MAX], const char *option, const char *file,
		 const char *trouble)
{
	char name[100];

	printable_escape(name, sizeof(name), file);
	snprintf(words, TLS_WORDS_MAX, "--%s: %s: %s", option, name, trouble);
	return false;
}

/*
 * Returns why @file cannot be read, as an errno; 0 if it can. A byte of a pipe is not taken for
 * that.
 */
static int why_unreadable(const char *file)
{
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	char byte;
	int error = 0;

	if (fd < 0)
		return errno;
	if (fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) &&
	    read(fd, &byte, 1) < 0)
		error = errno;
	close(fd);
	return error;
}

/*
 * Describes why OpenSSL does not take @file. @missing is what a readable file does not contain, if
 * OpenSSL reports that, or nothing.
 */
static bool fail_file(char words[TLS_WORDS_MAX], const char *option, const char *file,
		      const char *missing)
{
	unsigned long error = ERR_peek_error();
	int library = ERR_GET_LIB(error);
	const char *reason = ERR_reason_error_string(error);
	int unreadable = why_unreadable(file);
	char trouble[64];

	if (!reason || library == ERR_LIB_PEM || library == ERR_LIB_ASN1 ||
	    library == ERR_LIB_OSSL_DECODER)
		reason = missing;
	snprintf(trouble, sizeof(trouble), "%s", unreadable ? strerror(unreadable) : reason);
	trouble[0] = (char)tolower((unsigned char)trouble[0]);
	return fail(words, option, file, trouble);
}

/* A program without a dialogue does not ask for the passphrase of a key. */
static int no_passphrase(char *buffer, int size, int writing, void *data)
{
	*(bool *)data = true;
	return -1;
}

static bool load_own(struct tls_client *c, const struct tls_options *o, char words[TLS_WORDS_MAX])
{
	const char *key = o->key ? o->key : o->cert;
	const char *option = o->key ? "key" : "cert";
	bool encrypted = false;
	bool loaded;

	if (SSL_CTX_use_certificate_chain_file(c->context, o->cert) != 1)
		return fail_file(words, "cert", o->cert, "no certificate in PEM format");
	SSL_CTX_set_default_passwd_cb(c->context, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(c->context, &encrypted);
	ERR_clear_error();
	loaded = SSL_CTX_use_PrivateKey_file(c->context, key, SSL_FILETYPE_PEM) == 1;
	SSL_CTX_set_default_passwd_cb_userdata(c->context, NULL);
	if (encrypted)
		return fail(words, option, key, "the key is encrypted with a passphrase");
	if (!loaded && ERR_GET_LIB(ERR_peek_last_error()) != ERR_LIB_X509)
		return fail_file(words, option, key, "no private key in PEM format");
	if (!loaded || SSL_CTX_check_private_key(c->context) != 1)
		return fail(words, option, key, "the key does not belong to the certificate");
	c->has_certificate = true;
	return true;
}

/* The certificates that are trusted. */
static bool load_trust(struct tls_client *c, const struct tls_options *o, char words[TLS_WORDS_MAX])
{
	if (!o->ca)
		return tls_trust_system(c->context);
	if (SSL_CTX_load_verify_file(c->context, o->ca) != 1) {
		ERR_clear_error(); /* it has no other reason */
		return fail_file(words, "ca", o->ca, "no certificate in PEM format");
	}
	/* Each of them is trusted, whoever has issued it. */
	return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->context),
					   X509_V_FLAG_PARTIAL_CHAIN) == 1;
}

/* Sets the protocols to offer: a length byte before each name replaces the comma after it. */
static bool set_alpn(struct tls_client *c, const char *alpn)
{
	size_t n = strlen(alpn);
	uint8_t *wire = malloc(n + 2);
	bool good = wire;

	for (size_t i = 0, part; good && i <= n; i += part + 1) {
		part = strcspn(alpn + i, ",");
		wire[i] = (uint8_t)part;
		memcpy(wire + i + 1, alpn + i, part);
	}
	good = good && SSL_CTX_set_alpn_protos(c->context, wire, (unsigned)n + 1) == 0;
	free(wire);
	printable_escape(c->alpn, sizeof(c->alpn), alpn);
	return good;
}

/*
 * The name that the certificate must be for: a host name without the dot at its end, or an address
 * without its scope.
 */
static bool set_name(struct tls_client *c, const char *name)
{
	X509_VERIFY_PARAM *verify = SSL_CTX_get0_param(c->context);
	struct in6_addr address;
	size_t n;

	snprintf(c->name, sizeof(c->name), "%s", name);
	n = strlen(c->name);
	if (strchr(c->name, ':'))
		c->name[strcspn(c->name, "%")] = '\0';
	else if (n > 1 && c->name[n - 1] == '.')
		c->name[n - 1] = '\0';
	if (!c->name[0])
		return true;
	if (inet_pton(AF_INET, c->name, &address) == 1 ||
	    inet_pton(AF_INET6, c->name, &address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(verify, c->name) == 1;
	X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(verify, c->name, 0) == 1;
}

static bool prepare(struct tls_client *c, const struct tls_options *o, const char *host,
		    char words[TLS_WORDS_MAX])
{
	tls_prepare_library();
	c->context = SSL_CTX_new(TLS_client_method());
	c->transport = tls_transport();
	if (!c->context || !c->transport)
		return false;
	c->insecure = o->insecure;
	SSL_CTX_set_min_proto_version(c->context, TLS1_2_VERSION);
	SSL_CTX_set_options(c->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_verify(c->context, SSL_VERIFY_PEER, tls_on_verify);
	return set_name(c, o->sni ? o->sni : host) && load_trust(c, o, words) &&
	       (!o->cert || load_own(c, o, words)) && (!o->alpn || set_alpn(c, o->alpn));
}

struct tls_client *tls_client_create(const struct tls_options *options, const char *host,
				     char words[TLS_WORDS_MAX])
{
	struct tls_client *c = calloc(1, sizeof(*c));

	snprintf(words, TLS_WORDS_MAX, "--tls: out of memory, or OpenSSL cannot start");
	if (c && !prepare(c, options, host, words)) {
		tls_client_destroy(c);
		c = NULL;
	}
	ERR_clear_error();
	return c;
}

void tls_client_destroy(struct tls_client *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->context);
	BIO_meth_free(c->transport);
	free(c);
}
