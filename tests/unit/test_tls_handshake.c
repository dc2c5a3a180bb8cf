/*
 * The certificates and keys that a context accepts, and handshakes with OpenSSL's client: the
 * subject of its certificate.
 */

#include "ackd/tls/handshake.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#define SUBJECT_MAX 512

/* A part of a subject. */
struct entry {
	const char *name;
	int type;
	const char *bytes;
	int length;
};

static char path[] = "/tmp/ackd-test-XXXXXX";
static EVP_PKEY *key;

/* Returns a certificate that is valid from @from to @to, in seconds from now. */
static X509 *certificate_valid(long from, long to, const struct entry *entries, size_t n)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);

	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), to);
	X509_set_pubkey(certificate, key);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(X509_NAME_add_entry_by_txt(name, entries[i].name, entries[i].type,
							    (const uint8_t *)entries[i].bytes,
							    entries[i].length, -1, 0),
				 1);
	X509_set_issuer_name(certificate, name);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

static X509 *certificate_of(const struct entry *entries, size_t n)
{
	return certificate_valid(-3600, 3600, entries, n);
}

/* Writes the @n certificates and the key. */
static void write_file(X509 *const *certificates, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (size_t i = 0; i < n; i++)
		PEM_write_X509(file, certificates[i]);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
}

/* Returns a context of the server, which trusts @certificate and also uses it. */
static struct tls_context *context_of(X509 *certificate, bool asks)
{
	const struct tls_settings settings = {
		.certificate = path,
		.client_ca = asks ? path : NULL,
	};
	struct tls_context *context;
	struct tls_fault fault;

	write_file(&certificate, 1);
	assert_int_equal(tls_context_create(&settings, &context, &fault), 0);
	return context;
}

static SSL *client_of(SSL_CTX *context, X509 *certificate)
{
	SSL *client = SSL_new(context);

	SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(client);
	assert_int_equal(SSL_use_certificate(client, certificate), 1);
	assert_int_equal(SSL_use_PrivateKey(client, key), 1);
	return client;
}

/* Makes the handshake of @client and @server. */
static void shake_hands(SSL *client, struct tls_handshake *server)
{
	enum tls_progress progress = TLS_HANDSHAKING;
	const char *reason = NULL;
	const uint8_t *out;
	uint8_t *p;
	size_t n, used;

	for (int i = 0; i < 10 && progress == TLS_HANDSHAKING; i++) {
		SSL_do_handshake(client);
		n = (size_t)BIO_get_mem_data(SSL_get_wbio(client), &p);
		progress = tls_handshake_take(server, p, n, &used, &reason);
		assert_int_equal(used, n);
		(void)BIO_reset(SSL_get_wbio(client));
		out = tls_handshake_output(server, &n);
		BIO_write(SSL_get_rbio(client), out, (int)n);
	}
	assert_int_equal(progress, TLS_ESTABLISHED);
}

/* Checks what a client with a certificate of that subject is called. */
static void check(const struct entry *entries, size_t n, bool asks, const char *expected)
{
	X509 *certificate = certificate_of(entries, n);
	struct tls_context *context = context_of(certificate, asks);
	struct tls_handshake *server = tls_handshake_create(context);
	SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
	SSL *client = client_of(client_context, certificate);
	char subject[SUBJECT_MAX + 1];

	shake_hands(client, server);
	assert_int_equal(tls_handshake_subject(server, subject, sizeof(subject)), 0);
	assert_string_equal(subject, expected);
	SSL_free(client);
	SSL_CTX_free(client_context);
	tls_handshake_destroy(server);
	tls_context_destroy(context);
	X509_free(certificate);
}

#define UTF_8(name, text)                                                                          \
	{                                                                                          \
		name, V_ASN1_UTF8STRING, text, sizeof(text) - 1                                    \
	}

static void test_subjects(void **state)
{
	const struct entry plain[] = {UTF_8("O", "Example"), UTF_8("CN", "device 7")};
	const struct entry special[] = {UTF_8("CN", " #a,b+c\"d\\e<f>g;h=i ")};
	const struct entry first[] = {UTF_8("CN", "#a")};
	const struct entry other[] = {UTF_8("CN", "J\xc3\xbcrgen \xe2\x82\xac\n\x7f")};
	const struct entry nul[] = {UTF_8("CN", "a\0b")};
	const struct entry wide[] = {{"CN", V_ASN1_BMPSTRING, "\x20\xac", 2}};
	const struct entry unknown[] = {UTF_8("1.2.3", "a")};
	const struct entry latin[] = {{"CN", V_ASN1_T61STRING, "\xfc", 1}};
	check(plain, 2, true, "CN=device 7,O=Example");
	check(plain, 2, false, "");
	check(NULL, 0, true, "");
	check(special, 1, true, "CN=\\ #a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i\\ ");
	check(first, 1, true, "CN=\\#a");
	check(other, 1, true, "CN=J\\C3\\BCrgen \\E2\\82\\AC\\0A\\7F");
	check(nul, 1, true, "CN=a\\00b");
	check(wide, 1, true, "CN=\\E2\\82\\AC");
	check(latin, 1, true, "CN=\\C3\\BC");
	check(unknown, 1, true, "1.2.3=#0C0161");
}

/* A subject of the greatest length is whole; a longer one is cut between two characters. */
static void test_long_subjects(void **state)
{
	char bytes[SUBJECT_MAX + 1], expected[SUBJECT_MAX + 1];
	struct entry entry = {"CN", V_ASN1_UTF8STRING, bytes, 0};

	memset(bytes, 'x', sizeof(bytes));
	memset(expected, 'x', sizeof(expected));
	memcpy(expected, "CN=", 3);
	expected[SUBJECT_MAX] = '\0';
	entry.length = SUBJECT_MAX - 3;
	check(&entry, 1, true, expected);

	entry.length++;
	memcpy(expected + SUBJECT_MAX - 5, "<...>", 6);
	check(&entry, 1, true, expected);

	/* the last place of the text, or the second or third from the end, begins a \NN */
	for (int i = 1; i <= 3; i++) {
		bytes[SUBJECT_MAX - 8 - i] = '\n';
		memcpy(expected + SUBJECT_MAX - 5 - i, i == 3 ? "\\0A<...>" : "<...>",
		       i == 3 ? 9 : 6);
		check(&entry, 1, true, expected);
		bytes[SUBJECT_MAX - 8 - i] = 'x';
	}
	for (int i = 1; i <= 2; i++) {
		memset(expected + 3, 'x', SUBJECT_MAX - 3);
		bytes[SUBJECT_MAX - 8 - i] = ',';
		memcpy(expected + SUBJECT_MAX - 5 - i, i == 2 ? "\\,<...>" : "<...>",
		       i == 2 ? 8 : 6);
		check(&entry, 1, true, expected);
		bytes[SUBJECT_MAX - 8 - i] = 'x';
	}
}

/* Checks the context of @chain: 0 or its problem with the dates. */
static void check_dates(X509 *const *chain, size_t n, const char *problem)
{
	const struct tls_settings settings = {.certificate = path};
	struct tls_context *context = NULL;
	struct tls_fault fault;
	char expected[100];
	int r;

	write_file(chain, n);
	r = tls_context_create(&settings, &context, &fault);
	assert_int_equal(r, problem ? -EINVAL : 0);
	if (problem) {
		snprintf(expected, sizeof(expected), "%s: %s", path, problem);
		assert_string_equal(fault.setting, "tls.certificate");
		assert_string_equal(fault.text, expected);
	}
	tls_context_destroy(context);
}

/* Every certificate that clients receive counts. */
static void test_dates(void **state)
{
	X509 *valid = certificate_valid(-100, 100, NULL, 0);
	X509 *expired = certificate_valid(-100, -1, NULL, 0);
	X509 *early = certificate_valid(100, 200, NULL, 0);

	check_dates((X509 *[]){valid, valid, valid}, 3, NULL);
	check_dates((X509 *[]){expired}, 1, "the certificate has expired");
	check_dates((X509 *[]){early, valid}, 2, "the certificate is not valid yet");
	check_dates((X509 *[]){valid, expired}, 2,
		    "certificate 2 of the file, which is sent to clients too, has expired");
	check_dates((X509 *[]){valid, valid, early}, 3,
		    "certificate 3 of the file, which is sent to clients too, is not valid yet");
	X509_free(valid);
	X509_free(expired);
	X509_free(early);
}

/* The first certificate to expire counts, wherever it is in the chain. */
static void test_expiry(void **state)
{
	static const long times[][3] = {{100, 200, 300}, {200, 100, 300}, {200, 300, 100}};
	const struct tls_settings settings = {.certificate = path};

	for (size_t i = 0; i < 3; i++) {
		struct tls_context *context;
		struct tls_fault fault;
		X509 *chain[3];
		int64_t before = time(NULL), after;

		for (size_t k = 0; k < 3; k++)
			chain[k] = certificate_valid(-100, times[i][k], NULL, 0);
		after = time(NULL);
		write_file(chain, 3);
		assert_int_equal(tls_context_create(&settings, &context, &fault), 0);
		assert_in_range(tls_context_expiry(context), before + 100, after + 100);
		tls_context_destroy(context);
		for (size_t k = 0; k < 3; k++)
			X509_free(chain[k]);
	}
}

/* Checks who can do what with a key of that mode, according to the warning; NULL: there is none. */
static void check_warning(mode_t mode, const char *words)
{
	const struct tls_settings settings = {.certificate = path};
	struct tls_context *context;
	struct tls_fault fault;
	char expected[200];

	assert_int_equal(chmod(path, mode), 0);
	assert_int_equal(tls_context_create(&settings, &context, &fault), 0);
	if (words) {
		snprintf(expected, sizeof(expected),
			 "tls.certificate: %s: %s the key (mode %04o); allowed: mode 0600, or 0640 "
			 "if root owns the file",
			 path, words, mode);
		assert_string_equal(tls_context_warning(context), expected);
	} else {
		assert_null(tls_context_warning(context));
	}
	tls_context_destroy(context);
}

static void test_readable_keys(void **state)
{
	X509 *certificate = certificate_of(NULL, 0);

	write_file(&certificate, 1);
	check_warning(0400, NULL);
	check_warning(0600, NULL);
	check_warning(0610, NULL);
	check_warning(0602, "every user can change");
	check_warning(0604, "every user can read");
	check_warning(0644, "every user can read");
	check_warning(0620, "the group can change");
	X509_free(certificate);
}

/* An administrator may choose a group, anybody else may not. Only root can test both. */
static void test_group_of_the_key(void **state)
{
	X509 *certificate = certificate_of(NULL, 0);

	write_file(&certificate, 1);
	check_warning(0640, NULL);
	check_warning(0660, "the group can change");
	assert_int_equal(chown(path, 1, 0), 0);
	check_warning(0600, NULL);
	check_warning(0640, "the group can read");
	assert_int_equal(chown(path, 0, 0), 0);
	X509_free(certificate);
}

static int start(void **state)
{
	int fd = mkstemp(path);

	key = EVP_EC_gen("P-256");
	return fd < 0 || close(fd) < 0 || !key;
}

static int finish(void **state)
{
	EVP_PKEY_free(key);
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dates),	      cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_readable_keys), cmocka_unit_test(test_group_of_the_key),
		cmocka_unit_test(test_subjects),      cmocka_unit_test(test_long_subjects),
	};

	if (geteuid() != 0)
		cmocka_set_skip_filter("test_group_of_the_key");
	return cmocka_run_group_tests(tests, start, finish);
}
