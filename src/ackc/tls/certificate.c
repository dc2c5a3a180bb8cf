/* Certificates in words. */

#include "ackc/tls/internal.h"
#include "core/text/printable.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define NAME_MAX_BYTES 512
#define SHOWN_NAMES 3 /* of those that a certificate is for */

void certificate_name(const X509_NAME *name, char *out, size_t size)
{
	char text[NAME_MAX_BYTES] = "";
	BIO *memory = BIO_new(BIO_s_mem());
	int n = 0;

	/* Without ESC_MSB, UTF-8 remains as it is. */
	if (memory && name &&
	    X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
		n = BIO_read(memory, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	BIO_free(memory);
	printable_escape(out, size, text);
}

static time_t time_of(const ASN1_TIME *time)
{
	struct tm utc;

	return ASN1_TIME_to_tm(time, &utc) == 1 ? timegm(&utc) : 0;
}

time_t certificate_expires(const X509 *certificate)
{
	return time_of(X509_get0_notAfter(certificate));
}

/* Formats the names that a certificate is for: "a.example, 192.0.2.7 and 3 more". */
struct names {
	char *out;
	size_t size;
	size_t n;
	unsigned count;
};

static void add_name(struct names *names, const char *name)
{
	char escaped[80];
	int n;

	if (++names->count > SHOWN_NAMES)
		return;
	printable_escape(escaped, sizeof(escaped), name);
	n = snprintf(names->out + names->n, names->size - names->n, "%s%s",
		     names->count > 1 ? ", " : "", escaped);
	names->n += (size_t)n < names->size - names->n ? (size_t)n : names->size - names->n - 1;
}

static void add_general_name(struct names *names, const GENERAL_NAME *general)
{
	char text[80] = "";
	int type;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(general, &type);

	if (type == GEN_DNS) {
		/* it may also contain a NUL, after which a name would not be shown */
		size_t n = (size_t)ASN1_STRING_length(value);
		const unsigned char *name = ASN1_STRING_get0_data(value);

		if (n > 0 && !memchr(name, '\0', n))
			snprintf(text, sizeof(text), "%.*s", (int)n, (const char *)name);
		add_name(names, text[0] ? text : "an invalid name");
	} else if (type == GEN_IPADD) {
		/* the certificate may claim any length */
		int n = ASN1_STRING_length(value);

		if (n == 4 || n == 16)
			inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text,
				  sizeof(text));
		add_name(names, text[0] ? text : "an invalid address");
	}
}

static void names_of(const X509 *certificate, char *out, size_t size)
{
	struct names names = {.out = out, .size = size};
	GENERAL_NAMES *list = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	char common[128] = "";

	snprintf(out, size, "no name");
	for (int i = 0; i < sk_GENERAL_NAME_num(list); i++)
		add_general_name(&names, sk_GENERAL_NAME_value(list, i));
	GENERAL_NAMES_free(list);
	if (names.count == 0 &&
	    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, common,
				      sizeof(common)) > 0)
		add_name(&names, common);
	if (names.count > SHOWN_NAMES)
		snprintf(out + names.n, size - names.n, " and %u more", names.count - SHOWN_NAMES);
}

static void time_words(const ASN1_TIME *time, char *out, size_t size)
{
	time_t seconds = time_of(time);
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void certificate_problem(X509_STORE_CTX *store, const char *name, char words[TLS_WORDS_MAX])
{
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	char subject[80];
	char issuer[80];
	char whose[sizeof(subject) + 20] = "the certificate of the server";
	char more[110];

	if (!certificate) {
		snprintf(words, TLS_WORDS_MAX, "the certificate of the server: %s",
			 X509_verify_cert_error_string(error));
		return;
	}
	certificate_name(X509_get_subject_name(certificate), subject, sizeof(subject));
	certificate_name(X509_get_issuer_name(certificate), issuer, sizeof(issuer));
	if (X509_STORE_CTX_get_error_depth(store) > 0)
		snprintf(whose, sizeof(whose), "the certificate of %s", subject);
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		time_words(X509_get0_notAfter(certificate), more, sizeof(more));
		snprintf(words, TLS_WORDS_MAX, "%s expired at %s", whose, more);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		time_words(X509_get0_notBefore(certificate), more, sizeof(more));
		snprintf(words, TLS_WORDS_MAX, "%s is not valid before %s", whose, more);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		snprintf(words, TLS_WORDS_MAX, "%s is self-signed (%s) and not trusted", whose,
			 subject);
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		snprintf(words, TLS_WORDS_MAX,
			 "the certificate of the server has an unknown issuer: %s", subject);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		snprintf(words, TLS_WORDS_MAX, "%s has an unknown issuer: %s", whose, issuer);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		names_of(certificate, more, sizeof(more));
		snprintf(words, TLS_WORDS_MAX, "%s is for %s, not for %s", whose, more, name);
		break;
	case X509_V_ERR_INVALID_PURPOSE:
		snprintf(words, TLS_WORDS_MAX, "%s is not for servers", whose);
		break;
	default:
		snprintf(words, TLS_WORDS_MAX, "%s: %s", whose,
			 X509_verify_cert_error_string(error));
		break;
	}
}
