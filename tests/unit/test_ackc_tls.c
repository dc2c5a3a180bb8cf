/*
 * TLS of a stream of ackc. The server is an SSL object of the test, whose bytes pass through
 * memory. The test sends them to the stream in pieces of a chosen size, and runs the loop after
 * each.
 */

#include "ackc/net/dial.h"
#include "ackc/output/failure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cmocka.h>

#define STEPS_MAX 100000

struct fixture {
	uv_loop_t loop;
	struct addresses addresses;
	struct tls_client *client;
	struct dial *dial;
	struct stream *stream;
	int dial_status; /* 1: none yet */
	char buffer[5];
	char received[256];
	size_t n_received;
	unsigned drained;
	int end; /* the failure of ended(); 0: none yet */

	int listener;
	int fd; /* the server's side; -1: closed */
	size_t piece;
	SSL_CTX *context;
	SSL *ssl;
};

static void on_dialled(void *data, int status, struct stream *stream, uint64_t connect_ns,
		       const struct sockaddr_storage *peer)
{
	struct fixture *f = data;

	f->dial = NULL;
	f->dial_status = status;
	f->stream = stream;
}

static void on_received(void *data, const uint8_t *bytes, size_t n)
{
	struct fixture *f = data;

	assert_true(n <= sizeof(f->buffer) && f->n_received + n < sizeof(f->received));
	memcpy(f->received + f->n_received, bytes, n);
	f->n_received += n;
}

static void on_ended(void *data, int failure)
{
	struct fixture *f = data;

	assert_int_equal(f->end, 0);
	f->end = failure;
}

static void on_drained(void *data, int status)
{
	struct fixture *f = data;

	f->drained++;
}

static void read_stream(struct fixture *f)
{
	static const struct stream_events events = {on_received, on_ended, on_drained};

	stream_read(f->stream, f->buffer, sizeof(f->buffer), &events, f);
}

/* Gives @context a key and a certificate that it has signed itself. */
static void use_certificate(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
				   0);
	X509_set_issuer_name(x, name);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(context, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_in *in;
	struct tls_options options = {.wanted = true, .insecure = true};
	char words[TLS_WORDS_MAX];
	socklen_t n = sizeof(*in);

	assert_non_null(f);
	in = (struct sockaddr_in *)&f->addresses.list[f->addresses.n++];
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&f->loop);
	f->client = tls_client_create(&options, "127.0.0.1", words);
	assert_non_null(f->client);
	f->addresses.tls = f->client;
	f->dial_status = 1;
	f->fd = -1;
	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(f->listener, (struct sockaddr *)in, n), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)in, &n), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	f->context = SSL_CTX_new(TLS_server_method());
	use_certificate(f->context);
	*state = f;
	return 0;
}

static void close_server(struct fixture *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Closes everything; the loop must then end. */
static int teardown(void **state)
{
	struct fixture *f = *state;

	dial_cancel(f->dial);
	stream_close(f->stream);
	assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	close_server(f);
	close(f->listener);
	SSL_free(f->ssl);
	SSL_CTX_free(f->context);
	tls_client_destroy(f->client);
	free(f);
	return 0;
}

/* Passes at most a piece in each direction, and runs the loop. */
static void step(struct fixture *f)
{
	char bytes[4096];
	ssize_t n = recv(f->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	int sent;

	if (n > 0)
		BIO_write(SSL_get_rbio(f->ssl), bytes, (int)n);
	sent = BIO_read(SSL_get_wbio(f->ssl), bytes,
			(int)(f->piece < sizeof(bytes) ? f->piece : sizeof(bytes)));
	if (sent > 0)
		assert_int_equal(send(f->fd, bytes, (size_t)sent, MSG_NOSIGNAL), sent);
	uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Passes everything that the server has written, and what the client says to that. */
static void pass(struct fixture *f)
{
	for (unsigned quiet = 0; quiet < 20; quiet++) {
		if (BIO_pending(SSL_get_wbio(f->ssl)) > 0)
			quiet = 0;
		step(f);
	}
}

static void start(struct fixture *f, size_t piece, int version)
{
	f->piece = piece;
	SSL_CTX_set_min_proto_version(f->context, version);
	SSL_CTX_set_max_proto_version(f->context, version);
	f->ssl = SSL_new(f->context);
	SSL_set_bio(f->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	assert_int_equal(dial_start(&f->loop, &f->addresses, 20000, on_dialled, f, &f->dial), 0);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	f->fd = accept(f->listener, NULL, NULL);
	assert_true(f->fd >= 0);
	/* Without it, a record may wait for the acknowledgement of the previous one. */
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void shake_hands(struct fixture *f)
{
	int accepted = 0;

	for (unsigned i = 0; i < STEPS_MAX && (f->dial_status == 1 || accepted != 1); i++) {
		accepted = SSL_accept(f->ssl);
		step(f);
	}
	assert_int_equal(f->dial_status, 0);
	assert_int_equal(accepted, 1);
}

static void server_writes(struct fixture *f, const char *text)
{
	assert_int_equal(SSL_write(f->ssl, text, (int)strlen(text)), (int)strlen(text));
	pass(f);
}

static void server_reads(struct fixture *f, const char *text)
{
	char got[64] = "";

	pass(f);
	assert_int_equal(SSL_read(f->ssl, got, sizeof(got) - 1), (int)strlen(text));
	assert_string_equal(got, text);
}

/* Greeting, tickets, messages, key updates and both ends of a connection. */
static void converse(struct fixture *f, size_t piece, int version)
{
	struct tls_facts facts;

	start(f, piece, version);
	shake_hands(f);
	assert_true(stream_tls_facts(f->stream, &facts));
	assert_string_equal(facts.version, version == TLS1_3_VERSION ? "TLS 1.3" : "TLS 1.2");
	assert_string_equal(facts.subject, "CN=test");
	assert_non_null(strstr(facts.problem, "self-signed"));
	read_stream(f);
	server_writes(f, "greeting");
	assert_int_equal(stream_write(f->stream, "question", 8), 0);
	server_reads(f, "question");
	for (int i = 0; version == TLS1_3_VERSION && i < 2; i++) {
		SSL_key_update(f->ssl, i ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		assert_int_equal(SSL_do_handshake(f->ssl), 1);
		server_writes(f, "+");
		assert_int_equal(stream_write(f->stream, "new key", 7), 0);
		server_reads(f, "new key");
	}
	stream_half_close(f->stream);
	pass(f);
	assert_int_equal(SSL_read(f->ssl, &(char){0}, 1), 0);
	assert_int_equal(SSL_get_shutdown(f->ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	if (version == TLS1_3_VERSION)
		server_writes(f, "last"); /* 1.2 permits nothing after a close_notify */
	assert_int_equal(f->end, 0);
	SSL_shutdown(f->ssl);
	pass(f);
	assert_int_equal(f->end, UV_EOF);
	assert_int_not_equal(stream_write(f->stream, "x", 1), 0);
	assert_string_equal(f->received, version == TLS1_3_VERSION ? "greeting++last" : "greeting");
	assert_int_equal(f->drained, 0);
}

static void test_single_bytes_with_tls_1_3(void **state)
{
	converse(*state, 1, TLS1_3_VERSION);
}

static void test_single_bytes_with_tls_1_2(void **state)
{
	converse(*state, 1, TLS1_2_VERSION);
}

static void test_large_pieces(void **state)
{
	converse(*state, 4096, TLS1_3_VERSION);
}

/* The greeting arrives together with the end of the handshake, before anybody reads. */
static void test_data_waits_for_the_reader(void **state)
{
	struct fixture *f = *state;

	start(f, 4096, TLS1_2_VERSION);
	while (f->dial_status == 1) {
		/* the greeting follows the Finished of the server immediately */
		if (SSL_accept(f->ssl) == 1)
			assert_int_equal(SSL_write(f->ssl, "greeting", 8), 8);
		step(f);
	}
	pass(f);
	assert_int_equal(f->n_received, 0);
	read_stream(f);
	pass(f);
	assert_memory_equal(f->received, "greeting", 8);
}

/* Every part of the last record may be missing; the text of it is not delivered. */
static void test_end_without_close_notify(void **state)
{
	struct fixture *f = *state;

	start(f, 4096, TLS1_3_VERSION);
	shake_hands(f);
	read_stream(f);
	server_writes(f, "one");
	SSL_write(f->ssl, "two", 3);
	f->piece = 10;
	step(f);
	close_server(f);
	for (unsigned i = 0; i < STEPS_MAX && f->end == 0; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(f->end, FAILURE_CUT);
	assert_string_equal(f->received, "one");
}

/* The write fails before the reply and the close_notify are read: the input was lost. */
static void test_failed_write_is_the_cause_of_the_end(void **state)
{
	struct fixture *f = *state;
	struct linger reset = {.l_onoff = 1};
	char bytes[256];
	int n;

	start(f, 4096, TLS1_3_VERSION);
	shake_hands(f);
	read_stream(f);
	pass(f);
	SSL_write(f->ssl, "reply", 5);
	SSL_shutdown(f->ssl);
	n = BIO_read(SSL_get_wbio(f->ssl), bytes, sizeof(bytes));
	assert_int_equal(send(f->fd, bytes, (size_t)n, 0), n);
	assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close_server(f);
	assert_true(stream_write(f->stream, "lost", 4) < 0);
	for (unsigned i = 0; i < STEPS_MAX && f->end == 0; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_string_equal(f->received, "reply");
	assert_true(f->end == UV_ECONNRESET || f->end == UV_EPIPE);
}

/* A server may not let the client collect answers without a bound: it demands, and never reads. */
static void test_own_bytes_are_bounded(void **state)
{
	struct fixture *f = *state;
	char bytes[256];

	setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
	start(f, 4096, TLS1_2_VERSION);
	shake_hands(f);
	read_stream(f);
	pass(f);
	setsockopt(stream_socket(f->stream), SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
	for (unsigned i = 0; i < STEPS_MAX && f->end == 0; i++) {
		int n;

		/* the client answers a HelloRequest with the warning no_renegotiation */
		assert_int_equal(SSL_renegotiate(f->ssl), 1);
		assert_int_equal(SSL_do_handshake(f->ssl), 1);
		n = BIO_read(SSL_get_wbio(f->ssl), bytes, sizeof(bytes));
		assert_true(n > 0);
		assert_int_equal(send(f->fd, bytes, (size_t)n, MSG_NOSIGNAL), n);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f->end, UV_ENOBUFS);
}

static void test_changed_record_is_a_failure(void **state)
{
	struct fixture *f = *state;
	char record[64];
	int n;

	start(f, 4096, TLS1_3_VERSION);
	shake_hands(f);
	read_stream(f);
	pass(f);
	SSL_write(f->ssl, "text", 4);
	n = BIO_read(SSL_get_wbio(f->ssl), record, sizeof(record));
	record[n - 1] ^= 1;
	assert_int_equal(send(f->fd, record, (size_t)n, 0), n);
	pass(f);
	assert_int_equal(f->end, FAILURE_TLS);
	assert_int_equal(f->n_received, 0);
	assert_int_not_equal(stream_write(f->stream, "x", 1), 0);
	assert_true(stream_is_broken(f->stream));
	/* The server gets the alert. */
	assert_int_equal(SSL_read(f->ssl, record, sizeof(record)), 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
			 SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC);
}

static void test_handshake_can_be_cancelled(void **state)
{
	struct fixture *f = *state;

	start(f, 1, TLS1_3_VERSION);
	for (unsigned i = 0; i < 200; i++) {
		SSL_accept(f->ssl);
		step(f);
	}
	dial_cancel(f->dial);
	f->dial = NULL;
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->dial_status, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_single_bytes_with_tls_1_3, setup, teardown),
		cmocka_unit_test_setup_teardown(test_single_bytes_with_tls_1_2, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_data_waits_for_the_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_without_close_notify, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_write_is_the_cause_of_the_end, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_own_bytes_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed_record_is_a_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handshake_can_be_cancelled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
