/* The certificates of clients: how they are kept, and checked again in the next process. */

#include "conn_tls_fixture.h"

#include "ackd/tls/client.h"
#include "core/wire/tls_record.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

/* ---- authorities and clients ---- */

static time_t time_offset;

/* Replaces libc's, in libcrypto too. */
time_t time(time_t *timer)
{
	struct timespec now;

	timespec_get(&now, TIME_UTC);
	now.tv_sec += time_offset;
	if (timer)
		*timer = now.tv_sec;
	return now.tv_sec;
}

static void add_extension(X509 *certificate, int what, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, what, value);

	assert_non_null(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

/* Returns a certificate that lasts half an hour. Without @issuer, it is that of an authority. */
static X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
			      const char *comment)
{
	static long serial;
	X509 *c = X509_new();

	X509_set_version(c, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(c), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c), issuer ? 1800 : 3600);
	X509_set_pubkey(c, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
				   (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(c, X509_get_subject_name(issuer ? issuer : c));
	if (!issuer)
		add_extension(c, NID_basic_constraints, "critical,CA:TRUE");
	if (comment)
		add_extension(c, NID_netscape_comment, comment);
	assert_true(X509_sign(c, issuer ? issuer_key : key, EVP_sha256()) > 0);
	return c;
}

/* The authorities of tests, whose certificates are in files, and a client of the first. */
static struct {
	EVP_PKEY *keys[2];
	X509 *authorities[2];
	EVP_PKEY *client_key;
	X509 *client;
} pki;

static void write_authorities(const char *name, X509 *first, X509 *second)
{
	char path[100];
	FILE *file;

	in_directory(path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	PEM_write_X509(file, first);
	if (second)
		PEM_write_X509(file, second);
	fclose(file);
}

static void make_pki(void)
{
	X509 *renewed;

	for (int i = 0; i < 2; i++) {
		pki.keys[i] = EVP_EC_gen("P-256");
		pki.authorities[i] = make_certificate(i == 0 ? "first" : "second", pki.keys[i],
						      NULL, NULL, NULL);
	}
	pki.client_key = EVP_EC_gen("P-256");
	pki.client =
		make_certificate("client", pki.client_key, pki.authorities[0], pki.keys[0], NULL);
	renewed = make_certificate("first", pki.keys[0], NULL, NULL, NULL);
	write_authorities("first.pem", pki.authorities[0], NULL);
	write_authorities("renewed.pem", renewed, NULL);
	write_authorities("both.pem", pki.authorities[1], pki.authorities[0]);
	write_authorities("second.pem", pki.authorities[1], NULL);
	X509_free(renewed);
}

static void free_pki(void)
{
	static const char *const files[] = {"first.pem", "renewed.pem", "both.pem", "second.pem"};
	char path[100];

	for (int i = 0; i < 2; i++) {
		EVP_PKEY_free(pki.keys[i]);
		X509_free(pki.authorities[i]);
	}
	EVP_PKEY_free(pki.client_key);
	X509_free(pki.client);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		in_directory(path, files[i]);
		unlink(path);
	}
}

static struct client client_with(int fd, X509 *certificate)
{
	struct client client = client_of(fd);

	SSL_use_certificate(client.ssl, certificate);
	SSL_use_PrivateKey(client.ssl, pki.client_key);
	return client;
}

/* ---- the certificates of clients ---- */

/* Writes a configuration that demands certificates by the authorities in @file, if not NULL. */
static void demand(char text[400], const char *file)
{
	char path[100], group[200] = "";

	in_directory(path, file ? file : "");
	if (file)
		snprintf(group, sizeof(group), "client_ca = \"%s\";", path);
	tls_config(text, "short.pem", group, "reply = \"echo\";");
}

/* The next process checks the client again, before it answers, or soon. */
static void test_client_is_checked_again(void **state)
{
	static const struct {
		const char *before, *after; /* client_ca */
		time_t pause;
		bool is_kept;
	} cases[] = {
		{"first.pem", "first.pem", 0, true},   {"first.pem", "renewed.pem", 0, true},
		{"first.pem", "both.pem", 0, true},    {"first.pem", NULL, 2000, true},
		{"first.pem", "second.pem", 0, false}, {"first.pem", "first.pem", 2000, false},
		{NULL, "first.pem", 0, false},
	};

	for (unsigned i = 0; i < 4 * sizeof(cases) / sizeof(*cases); i++) {
		bool only_12 = i & 1, has_input = i & 2, is_kept = cases[i / 4].is_kept;
		struct client client;
		struct fixture f;
		char text[400];

		demand(text, cases[i / 4].before);
		begin(&f, text);
		client = client_with(connect_client(&f), pki.client);
		if (only_12)
			SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
		handshake(&f, &client);
		if (cases[i / 4].before)
			assert_in_range(budget_used(&f.limits.budget), 1, TLS_CERTIFICATES_MAX);
		demand(text, cases[i / 4].after);
		change_config(&f, text, NULL);
		time_offset = cases[i / 4].pause;
		change_config(&f, text, NULL); /* the first of them has not checked it */
		if (has_input)
			check_echo(&f, &client);
		advance(&f, 100);
		assert_int_equal(queue_length(&f, QUEUE_IDLE), is_kept);
		if (is_kept)
			check_echo(&f, &client);
		else
			expect_close_notify(&client);
		time_offset = 0;
		client_close(&client);
		end(&f);
	}
}

/* Certificates are checked in portions; until then, and amid output, connections continue. */
static void test_many_clients_are_checked_again(void **state)
{
	enum { N = 40 };
	struct client clients[N];
	struct fixture f;
	char text[400];

	demand(text, "first.pem");
	begin(&f, text);
	for (unsigned i = 0; i < N; i++) {
		clients[i] = client_with(connect_client(&f), pki.client);
		handshake(&f, &clients[i]);
	}
	demand(text, "second.pem");
	change_config(&f, text, NULL);
	assert_int_equal(queue_length(&f, QUEUE_IDLE), N);
	advance(&f, 10);
	assert_in_range(queue_length(&f, QUEUE_IDLE), 1, N - 1);
	for (int i = 0; i < 10; i++)
		advance(&f, 10);
	assert_int_equal(queue_length(&f, QUEUE_IDLE), 0);
	for (unsigned i = 0; i < N; i++) {
		expect_close_notify(&clients[i]);
		client_close(&clients[i]);
	}
	end(&f);
}

/* Output that is pending, and the rest of a long reply, come before close_notify. */
static void test_client_is_refused_amid_output(void **state)
{
	static char data[16384];
	struct client client;
	struct fixture f;
	char text[400];

	memset(data, 'x', sizeof(data));
	demand(text, "first.pem");
	begin(&f, text);
	client = client_with(connect_small(&f), pki.client);
	handshake(&f, &client);
	say_tls(&client, data, sizeof(data));
	step(&f);
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
	demand(text, "second.pem");
	change_config(&f, text, NULL);
	advance(&f, 100);
	assert_int_equal(last_conn(&f, QUEUE_IDLE)->state, CONN_SENDING);
	receive(&f, &client, "x", sizeof(data));
	step(&f);
	expect_close_notify(&client);
	client_close(&client);
	end(&f);
}

/* A restart that ends the connection comes before the client has been checked again. */
static void test_unkept_before_the_check(void **state)
{
	char path[100], group[200], text[400];
	struct client client;
	struct fixture f;

	demand(text, "first.pem");
	begin(&f, text);
	client = client_with(connect_client(&f), pki.client);
	handshake(&f, &client);
	in_directory(path, "second.pem");
	snprintf(group, sizeof(group), "client_ca = \"%s\"; keep_connections = false;", path);
	tls_config(text, "short.pem", group, "reply = \"echo\";");
	change_config(&f, text, NULL);
	say_tls(&client, "hello", 5);
	change_config(&f, text, NULL);
	expect_close_notify(&client);
	client_close(&client);
	end(&f);
}

static void too_many_bytes(uint8_t *tls)
{
	memcpy(tls + sizeof(struct tls_state), &(uint64_t){TLS_CERTIFICATES_MAX}, 8);
}

static void endless_bytes(uint8_t *tls)
{
	memcpy(tls + sizeof(struct tls_state), &(uint64_t){UINT64_MAX}, 8);
}

static void bad_certificate(uint8_t *tls)
{
	tls[sizeof(struct tls_state) + 8] ^= 1;
}

static void cut_certificate(uint8_t *tls)
{
	tls[sizeof(struct tls_state)]--; /* the last byte then begins a record */
}

static void test_damaged_certificates(void **state)
{
	static void (*const damages[])(uint8_t *) = {too_many_bytes, endless_bytes, bad_certificate,
						     cut_certificate};

	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		struct client client;
		struct fixture f;
		char text[400];

		demand(text, "first.pem");
		begin(&f, text);
		client = client_with(connect_client(&f), pki.client);
		handshake(&f, &client);
		change_config(&f, text, damages[i]);
		advance(&f, 100);
		assert_int_equal(f.reactor.connections, 0);
		client_close(&client);
		end(&f);
	}
}

/* The longest certificates that a client may present. */
static void test_certificates_max(void **state)
{
	/* beside them: two lengths, and in TLS 1.3 those of a context and of extensions */
	static const int beside[] = {3 + 3 + 1 + 2, 3 + 3};
	static char comment[TLS_CERTIFICATES_MAX + 1];

	for (int i = 0; i < 4; i++) {
		bool only_12 = i & 1, is_too_long = i & 2;
		int length = TLS_CERTIFICATES_MAX - beside[only_12] + is_too_long;
		int n = 16000;
		struct client client;
		struct fixture f;
		X509 *certificate = NULL;
		char text[400];

		for (int k = 0; k < 50 && (!certificate || i2d_X509(certificate, NULL) != length);
		     k++) {
			if (certificate)
				n += length - i2d_X509(certificate, NULL);
			X509_free(certificate);
			memset(comment, 'c', sizeof(comment));
			comment[n] = '\0';
			certificate = make_certificate("client", pki.client_key, pki.authorities[0],
						       pki.keys[0], comment);
		}
		assert_int_equal(i2d_X509(certificate, NULL), length);
		demand(text, "first.pem");
		begin(&f, text);
		client = client_with(connect_client(&f), certificate);
		if (only_12)
			SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
		for (int k = 0; k < 10; k++) {
			SSL_do_handshake(client.ssl);
			step(&f);
		}
		assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), is_too_long);
		if (!is_too_long) {
			assert_int_equal(budget_used(&f.limits.budget),
					 length + (int)strlen("CN=client"));
			check_echo(&f, &client);
			change_config(&f, text, NULL);
			check_echo(&f, &client);
		}
		client_close(&client);
		X509_free(certificate);
		end(&f);
	}
}

/* The budget has no room for a certificate. */
static void test_no_memory_for_a_certificate(void **state)
{
	struct client client;
	struct fixture f;
	char text[400];

	demand(text, "first.pem");
	begin(&f, text);
	client = client_with(connect_client(&f), pki.client);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(client.ssl);
		step(&f);
		step(&f);
		if (i == 0) /* the ClientHello has been answered */
			take_memory(&f, (size_t)i2d_X509(pki.client, NULL) - 1);
	}
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_MEMORY), 1);
	give_memory(&f);
	client_close(&client);
	end(&f);
}

static int set_up(void **state)
{
	conn_tls_set_up(state);
	make_pki();
	return 0;
}

static int tear_down(void **state)
{
	free_pki();
	return conn_tls_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_is_checked_again),
		cmocka_unit_test(test_many_clients_are_checked_again),
		cmocka_unit_test(test_client_is_refused_amid_output),
		cmocka_unit_test(test_unkept_before_the_check),
		cmocka_unit_test(test_damaged_certificates),
		cmocka_unit_test(test_certificates_max),
		cmocka_unit_test(test_no_memory_for_a_certificate),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
