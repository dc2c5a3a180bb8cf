/* Handshakes of the server with OpenSSL's client: the subject of the client's certificate. */

#include "ackd/tls/handshake.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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

static X509 *certificate_of(const struct entry *entries, size_t n)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);

	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
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

/* Returns a context of the server, which trusts @certificate and also uses it. */
static struct tls_context *context_of(X509 *certificate, bool asks)
{
	const struct tls_settings settings = {
		.certificate = path,
		.client_ca = asks ? path : NULL,
	};
	struct tls_context *context;
	struct tls_fault fault;
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	PEM_write_X509(file, certificate);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
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
		cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_long_subjects),
	};

	return cmocka_run_group_tests(tests, start, finish);
}
