/*
 * tls_record against OpenSSL: an SSL object is the client. Another one, the server, makes the
 * handshake, and the layer continues its connection. Every suite; in both directions every length
 * of a record; records at every split; KeyUpdates of both ends; padding, alerts and renegotiation.
 * ACKD_TEST_SAMPLE=N makes about one comparison in N.
 */

#include "sample.h"
#include "tls_fixture.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	uint16_t number;
	const char *name; /* OpenSSL's */
} suites[TLS_SUITES] = {
	{0x1301, "TLS_AES_128_GCM_SHA256"},	   {0x1302, "TLS_AES_256_GCM_SHA384"},
	{0x1303, "TLS_CHACHA20_POLY1305_SHA256"},  {0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"},
	{0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"}, {0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"},
	{0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"},   {0xc030, "ECDHE-RSA-AES256-GCM-SHA384"},
	{0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"},
};

/* The last three differ from those before them in the certificate only. */
#define SUITES_APART 6

static struct tls_crypto crypto;
static SSL_CTX *client_context, *server_context;
static uint8_t pattern[TLS_SEAL_MAX];

struct link {
	SSL *client;
	struct tls_receiver server;
	uint8_t wire[TLS_SEALED_MAX(TLS_SEAL_MAX)];
	size_t n_wire;
	uint8_t read[TLS_SEAL_MAX];
};

/* ---- the handshake ---- */

static void use_certificate(EVP_PKEY *key)
{
	X509 *certificate = X509_new();

	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(server_context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server_context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* Receives a line of the key log: the label, the client's random and a secret. */
static void on_key(const SSL *ssl, const char *line)
{
	struct tls_state *state = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ') + 1;
	uint8_t *secret = NULL;

	if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
		secret = state->read_secret;
	else if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
		secret = state->write_secret;
	for (; secret && *hex; hex += 2) {
		const char digits[] = {hex[0], hex[1], '\0'};

		*secret++ = (uint8_t)strtoul(digits, NULL, 16);
	}
}

/* Moves what @from has written to @to. Sets the nonce of the last record. */
static bool move(SSL *from, SSL *to, uint8_t ret_nonce[8])
{
	uint8_t *p;
	long n = BIO_get_mem_data(SSL_get_wbio(from), &p);
	long at = 0, length = 0;

	if (n <= 0)
		return false;
	for (; at < n; at += length)
		length = TLS_HEADER_LENGTH + (p[at + 3] << 8 | p[at + 4]);
	memcpy(ret_nonce, p + n - length + TLS_HEADER_LENGTH, 8);
	BIO_write(SSL_get_rbio(to), p, (int)n);
	BIO_reset(SSL_get_wbio(from));
	return true;
}

static SSL *make_end(SSL_CTX *context, const char *suite)
{
	bool is_13 = strncmp(suite, "TLS_", 4) == 0;
	SSL *ssl = SSL_new(context);

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_min_proto_version(ssl, is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_set_max_proto_version(ssl, is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	assert_int_equal(is_13 ? SSL_set_ciphersuites(ssl, suite) : SSL_set_cipher_list(ssl, suite),
			 1);
	return ssl;
}

/* Fills in the secrets of TLS 1.2. */
static void expand(const SSL *server, struct tls_state *state, const uint8_t nonce[8])
{
	uint8_t master[TLS_MASTER_LENGTH], client_random[32], server_random[32];

	assert_int_equal(
		SSL_SESSION_get_master_key(SSL_get_session(server), master, sizeof(master)),
		sizeof(master));
	SSL_get_client_random(server, client_random, sizeof(client_random));
	SSL_get_server_random(server, server_random, sizeof(server_random));
	assert_int_equal(
		tls_state_expand(state, &crypto, master, client_random, server_random, nonce), 0);
}

static struct link *link_open(const char *suite)
{
	struct link *link = calloc(1, sizeof(*link));
	SSL *server = make_end(server_context, suite);
	struct tls_state state = {0};
	uint8_t client_nonce[8], server_nonce[8];
	bool is_moving = true;

	link->client = make_end(client_context, suite);
	SSL_set_connect_state(link->client);
	SSL_set_accept_state(server);
	SSL_set_app_data(server, &state);
	while (is_moving) {
		SSL_do_handshake(link->client);
		is_moving = move(link->client, server, client_nonce);
		SSL_do_handshake(server);
		is_moving |= move(server, link->client, server_nonce);
	}
	assert_true(SSL_is_init_finished(link->client) && SSL_is_init_finished(server));
	state.suite = (uint16_t)SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(server));
	if (SSL_version(server) == TLS1_2_VERSION)
		expand(server, &state, server_nonce);
	SSL_free(server);
	link->server.channel = tls_fixture_channel(&crypto, &state);
	return link;
}

static void link_close(struct link *link)
{
	SSL_free(link->client);
	tls_receiver_reset(&link->server);
	tls_channel_finish(&link->server.channel, &crypto);
	free(link);
	ERR_clear_error();
}

/* ---- traffic ---- */

/* Takes what the client has written off its BIO. */
static void collect(struct link *link)
{
	int n = BIO_read(SSL_get_wbio(link->client), link->wire + link->n_wire,
			 (int)(sizeof(link->wire) - link->n_wire));

	if (n > 0)
		link->n_wire += (size_t)n;
}

static enum tls_status deliver(struct link *link)
{
	size_t n = link->n_wire;

	link->n_wire = 0;
	return tls_receiver_take(&link->server, &crypto, link->wire, n);
}

static void check_received(struct link *link, size_t n)
{
	assert_int_equal(link->server.n_data, n);
	assert_memory_equal(link->server.data, pattern, n);
	assert_int_equal(link->server.n_kept, 0);
	link->server.n_data = 0;
}

/* Sends @n bytes from the client. */
static void client_sends(struct link *link, size_t n)
{
	assert_int_equal(SSL_write(link->client, pattern, (int)n), n);
	collect(link);
}

static void client_reads(struct link *link, size_t n)
{
	size_t at = 0;

	while (at < n) {
		int part = SSL_read(link->client, link->read + at, (int)(n - at));

		assert_true(part > 0);
		at += (size_t)part;
	}
	assert_memory_equal(link->read, pattern, n);
	assert_int_equal(SSL_pending(link->client), 0);
}

/* Sends @n bytes from the server, and what is due. */
static void server_sends(struct link *link, size_t n)
{
	const struct iovec spans[] = {{pattern, n / 3}, {pattern + n / 3, n - n / 3}};
	uint8_t *out = malloc(TLS_SEALED_MAX(n));
	ssize_t sealed = tls_channel_seal(&link->server.channel, &crypto, spans, 2, out);

	assert_true(sealed >= 0);
	assert_int_equal(BIO_write(SSL_get_rbio(link->client), out, (int)sealed), sealed);
	free(out);
}

static bool is_13(const struct link *link)
{
	return link->server.channel.suite->is_13;
}

/* ---- tests ---- */

static void test_suites(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);
		char name[100] = "";

		assert_int_equal(link->server.channel.suite->number, suites[i].number);
		snprintf(name, sizeof(name), "%s",
			 SSL_CIPHER_standard_name(SSL_get_current_cipher(link->client)));
		assert_string_equal(link->server.channel.suite->name, name);
		client_sends(link, 100);
		assert_int_equal(deliver(link), TLS_OPEN);
		check_received(link, 100);
		server_sends(link, 100);
		client_reads(link, 100);
		link_close(link);
	}
}

static void test_every_length(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);
		size_t step = i < SUITES_APART ? sample_share() : 97;

		for (size_t n = 1 + i % step; n <= TLS_CONTENT_MAX; n += step) {
			client_sends(link, n);
			assert_int_equal(deliver(link), TLS_OPEN);
			check_received(link, n);
			server_sends(link, n);
			client_reads(link, n);
		}
		/* the longest, and several records */
		for (size_t n = TLS_CONTENT_MAX; n <= TLS_SEAL_MAX; n += 3 * TLS_CONTENT_MAX / 2) {
			client_sends(link, n);
			assert_int_equal(deliver(link), TLS_OPEN);
			check_received(link, n);
			server_sends(link, n);
			client_reads(link, n);
		}
		link_close(link);
	}
}

/* Empty records, which OpenSSL does not send, but accepts. */
static void test_empty_records(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);
		size_t n = tls_fixture_forge(&link->server.channel, 23, "", 0, 0, link->wire);

		BIO_write(SSL_get_rbio(link->client), link->wire, (int)n);
		server_sends(link, 10);
		client_reads(link, 10);
		link_close(link);
	}
}

static void test_every_split(void **context)
{
	for (unsigned i = 0; i < SUITES_APART; i++) {
		struct link *link = link_open(suites[i].name);
		struct tls_channel start = link->server.channel;
		size_t n;

		client_sends(link, 1);
		client_sends(link, TLS_CONTENT_MAX);
		client_sends(link, 333);
		n = link->n_wire;
		for (size_t split = 0; split <= n; split += 5 * sample_share()) {
			link->server.channel = start;
			assert_int_equal(
				tls_receiver_take(&link->server, &crypto, link->wire, split), 0);
			assert_int_equal(tls_receiver_take(&link->server, &crypto,
							   link->wire + split, n - split),
					 0);
			assert_int_equal(link->server.n_data, 1 + TLS_CONTENT_MAX + 333);
			assert_memory_equal(link->server.data + 1, pattern, TLS_CONTENT_MAX);
			link->server.n_data = 0;
		}
		link_close(link);
	}
}

/* The client changes its key every @interval records, and asks for ours in turn. */
static void check_client_updates(const char *suite, unsigned interval)
{
	struct link *link = link_open(suite);

	for (unsigned k = 0; k < 5 * interval + 20; k++) {
		if (k % interval == 0)
			assert_int_equal(SSL_key_update(link->client,
							k / interval % 2
								? SSL_KEY_UPDATE_REQUESTED
								: SSL_KEY_UPDATE_NOT_REQUESTED),
					 1);
		client_sends(link, 50 + k);
		assert_int_equal(deliver(link), TLS_OPEN);
		check_received(link, 50 + k);
		if (k % 3 == 0) {
			server_sends(link, 20 + k);
			assert_false(tls_channel_is_answer_due(&link->server.channel));
			client_reads(link, 20 + k);
		}
	}
	link_close(link);
}

static void test_client_updates(void **context)
{
	for (unsigned i = 0; i < 3; i++) {
		check_client_updates(suites[i].name, 1);
		check_client_updates(suites[i].name, 2);
		check_client_updates(suites[i].name, 100);
	}
}

/* Our own KeyUpdates, which OpenSSL answers. */
static void test_own_updates(void **context)
{
	crypto.records_max = 32;
	for (unsigned i = 0; i < 3; i++) {
		struct link *link = link_open(suites[i].name);
		uint8_t secret[TLS_SECRET_MAX];

		memcpy(secret, link->server.channel.read.secret, sizeof(secret));
		for (unsigned k = 0; k < 400; k++) {
			size_t n = k % 5 ? k : 40000;

			if (n == 0)
				continue;
			client_sends(link, n);
			assert_int_equal(deliver(link), TLS_OPEN);
			check_received(link, n);
			server_sends(link, n);
			client_reads(link, n);
		}
		assert_memory_not_equal(secret, link->server.channel.read.secret, sizeof(secret));
		link_close(link);
	}
	crypto.records_max = TLS_RECORDS_MAX;
}

static void test_padding_of_client(void **context)
{
	SSL_CTX_set_block_padding(client_context, 512); /* OpenSSL 3.5 reads it in the handshake */
	for (unsigned i = 0; i < 3; i++) {
		struct link *link = link_open(suites[i].name);

		for (size_t n = 1; n <= TLS_CONTENT_MAX; n += 111) {
			client_sends(link, n);
			assert_true(link->n_wire >= 512);
			assert_int_equal(deliver(link), TLS_OPEN);
			check_received(link, n);
		}
		link_close(link);
	}
	SSL_CTX_set_block_padding(client_context, 0);
}

static void test_closing(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);
		uint8_t out[TLS_ALERT_MAX];
		size_t n;

		client_sends(link, 7);
		assert_int_equal(SSL_shutdown(link->client), 0);
		collect(link);
		assert_int_equal(deliver(link), TLS_ENDED);
		check_received(link, 7);
		/* in TLS 1.3 our side may go on */
		if (is_13(link)) {
			server_sends(link, 9);
			client_reads(link, 9);
		}
		n = tls_channel_seal_alert(&link->server.channel, &crypto, TLS_CLOSE_NOTIFY, out);
		BIO_write(SSL_get_rbio(link->client), out, (int)n);
		assert_int_equal(SSL_shutdown(link->client), 1);
		link_close(link);
	}
}

/* OpenSSL reads our alerts, and we read its. */
static void test_alerts(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);
		uint8_t out[TLS_ALERT_MAX];
		size_t n;

		client_sends(link, 7);
		link->wire[link->n_wire - 1] ^= 1;
		assert_int_equal(deliver(link), TLS_ERROR);
		n = tls_channel_seal_alert(&link->server.channel, &crypto,
					   link->server.channel.alert, out);
		BIO_write(SSL_get_rbio(link->client), out, (int)n);
		assert_true(SSL_read(link->client, link->read, 1) <= 0);
		assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
				 SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
		link_close(link);

		link = link_open(suites[i].name);
		n = tls_fixture_forge(&link->server.channel, 23, "x", 1, 0, link->wire);
		link->wire[n - 1] ^= 1;
		BIO_write(SSL_get_rbio(link->client), link->wire, (int)n);
		assert_true(SSL_read(link->client, link->read, 1) <= 0);
		collect(link);
		assert_int_equal(deliver(link), TLS_PEER_ERROR);
		assert_int_equal(link->server.channel.alert, TLS_BAD_RECORD_MAC);
		link_close(link);
	}
}

/* OpenSSL understands that there is no renegotiation, and gives up. */
static void test_renegotiation_of_client(void **context)
{
	for (unsigned i = 3; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);

		assert_int_equal(SSL_renegotiate(link->client), 1);
		SSL_do_handshake(link->client);
		collect(link);
		assert_int_equal(deliver(link), TLS_OPEN);
		assert_true(tls_channel_is_answer_due(&link->server.channel));
		server_sends(link, 0);
		assert_int_equal(SSL_do_handshake(link->client), -1);
		assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
		link_close(link);
	}
}

/* Nothing that OpenSSL has sealed with the same key has the nonce of one of our records. */
static void test_first_nonce(void **context)
{
	for (unsigned i = 3; i < 5; i++) {
		struct link *link = link_open(suites[i].name);
		static const uint8_t zeros[8];
		uint8_t nonce[TLS_NONCE_LENGTH], first[TLS_NONCE_LENGTH];
		struct tls_keys keys = link->server.channel.write;

		tls_keys_nonce(&keys, link->server.channel.suite, nonce);
		keys.sequence = 0;
		tls_keys_nonce(&keys, link->server.channel.suite, first);
		assert_memory_not_equal(first, nonce, sizeof(nonce));
		assert_memory_not_equal(first + 4, zeros, sizeof(zeros));
		link_close(link);
	}
}

/* The connection changes hands after each record, cut at all places. */
static void test_hand_over(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct link *link = link_open(suites[i].name);

		for (size_t k = 0; k < 120; k++) {
			struct tls_state state;
			size_t cut;

			if (is_13(link) && k % 4 == 0)
				SSL_key_update(link->client, k % 8 ? SSL_KEY_UPDATE_REQUESTED
								   : SSL_KEY_UPDATE_NOT_REQUESTED);
			client_sends(link, 60);
			cut = k % link->n_wire;
			tls_receiver_take(&link->server, &crypto, link->wire, cut);
			tls_channel_save(&link->server.channel, &state);
			tls_channel_finish(&link->server.channel, &crypto);
			link->server.channel = tls_fixture_channel(&crypto, &state);
			tls_receiver_take(&link->server, &crypto, link->wire + cut,
					  link->n_wire - cut);
			link->n_wire = 0;
			check_received(link, 60);
			if (k % 3 == 0) {
				server_sends(link, 30);
				client_reads(link, 30);
			}
		}
		link_close(link);
	}
}

static int set_up(void **context)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
	client_context = SSL_CTX_new(TLS_client_method());
	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_num_tickets(server_context, 0);
	SSL_CTX_set_options(server_context, SSL_OP_NO_TICKET);
	SSL_CTX_set_keylog_callback(server_context, on_key);
	use_certificate(EVP_EC_gen("P-256"));
	use_certificate(EVP_RSA_gen(2048));
	return tls_crypto_init(&crypto);
}

static int tear_down(void **context)
{
	tls_crypto_finish(&crypto);
	SSL_CTX_free(client_context);
	SSL_CTX_free(server_context);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suites),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_empty_records),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_client_updates),
		cmocka_unit_test(test_own_updates),
		cmocka_unit_test(test_padding_of_client),
		cmocka_unit_test(test_closing),
		cmocka_unit_test(test_alerts),
		cmocka_unit_test(test_renegotiation_of_client),
		cmocka_unit_test(test_first_nonce),
		cmocka_unit_test(test_hand_over),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
