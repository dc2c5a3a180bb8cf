#include "conn_tls_fixture.h"

#include "ackd/conn/handover.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>

static char directory[] = "/tmp/ackd-test-XXXXXX";
static SSL_CTX *client_context;

/* Copies of the certificate that make the server's flight longer than a small buffer. */
#define CHAIN_LENGTH 100

/* ---- files ---- */

void in_directory(char path[100], const char *name)
{
	snprintf(path, 100, "%s/%s", directory, name);
}

static void write_files(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	char path[100];
	FILE *file;

	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	for (int i = 0; i < 2; i++) {
		in_directory(path, i == 0 ? "short.pem" : "long.pem");
		file = fopen(path, "w");
		assert_non_null(file);
		for (int k = 0; k < (i == 0 ? 1 : CHAIN_LENGTH); k++)
			PEM_write_X509(file, certificate);
		PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
		fclose(file);
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void tls_config(char text[400], const char *file, const char *group, const char *more)
{
	char path[100];

	in_directory(path, file);
	assert_in_range(
		snprintf(text, 400, "tls = { certificate = \"%s\"; %s }; %s", path, group, more), 1,
		399);
}

void begin_tls_group(struct fixture *f, const char *group)
{
	char text[400];

	tls_config(text, "short.pem", group, "");
	begin(f, text);
}

void begin_tls(struct fixture *f, const char *file, const char *more)
{
	char text[400];

	tls_config(text, file, "", more);
	begin(f, text);
}

/* ---- the limit of records ---- */

uint64_t records_max = TLS_RECORDS_MAX;
int crypto_error;

int __real_tls_crypto_init(struct tls_crypto *crypto);
int __wrap_tls_crypto_init(struct tls_crypto *crypto);
int __wrap_tls_crypto_init(struct tls_crypto *crypto)
{
	int r = __real_tls_crypto_init(crypto);

	if (r == 0 && crypto_error < 0) {
		tls_crypto_finish(crypto);
		return crypto_error;
	}
	crypto->records_max = records_max;
	return r;
}

/* ---- the client ---- */

struct client client_of(int fd)
{
	struct client client = {SSL_new(client_context), fd};

	SSL_set_fd(client.ssl, fd);
	SSL_set_connect_state(client.ssl);
	return client;
}

void client_close(struct client *client)
{
	SSL_free(client->ssl);
	close(client->fd);
	ERR_clear_error();
}

void handshake(struct fixture *f, struct client *client)
{
	for (int i = 0; i < STEPS_MAX && !SSL_is_init_finished(client->ssl); i++) {
		SSL_do_handshake(client->ssl);
		step(f);
	}
	assert_true(SSL_is_init_finished(client->ssl));
	step(f);
}

struct client served_client_12(struct fixture *f, int fd, bool only_12)
{
	struct client client = client_of(fd);

	if (only_12)
		SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
	handshake(f, &client);
	return client;
}

struct client served_client(struct fixture *f, int fd)
{
	return served_client_12(f, fd, false);
}

void say_tls(struct client *client, const void *bytes, size_t n)
{
	assert_int_equal(SSL_write(client->ssl, bytes, (int)n), n);
}

void send_bytes(struct client *client, const void *bytes, size_t n)
{
	assert_int_equal(write(client->fd, bytes, n), n);
}

size_t fill_socket(struct fixture *f, struct client *client, const char *text, size_t n)
{
	char *data = malloc(n);
	size_t sent = 0;
	int r = 1;

	assert_non_null(data);
	for (size_t i = 0; i < n; i++)
		data[i] = text[i % 16];
	SSL_set_mode(client->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
	while (r > 0) {
		/* in records of 16 KiB, but for the last */
		r = SSL_write(client->ssl, data + sent, (int)(n - sent) & ~15);
		sent += r > 0 ? (size_t)r : 0;
		step(f);
	}
	free(data);
	return sent;
}

void receive(struct fixture *f, struct client *client, const char *text, size_t n)
{
	size_t length = strlen(text);
	char bytes[1000];

	for (size_t at = 0; at < n;) {
		size_t part = n - at < sizeof(bytes) ? n - at : sizeof(bytes);
		int got = SSL_read(client->ssl, bytes, (int)part);

		if (got <= 0) {
			assert_int_equal(SSL_get_error(client->ssl, got), SSL_ERROR_WANT_READ);
			step(f);
			continue;
		}
		for (int i = 0; i < got; i++)
			assert_int_equal(bytes[i], text[(at + (size_t)i) % length]);
		at += (size_t)got;
	}
}

void check_echo(struct fixture *f, struct client *client)
{
	say_tls(client, "hello", 5);
	step(f);
	receive(f, client, "hello", 5);
}

void change_config(struct fixture *f, const char *text, void (*damage)(uint8_t *tls))
{
	struct takeover_connection from;
	struct takeover takeover;
	struct handover handover;
	int writing, reading;

	assert_int_equal(handover_queue(&writing, &reading), 0);
	handover_init(&handover, writing, &f->limits, 1);
	while (reactor_hand_over(&f->reactor, &handover))
		step(f);
	handover_complete(&handover);
	step(f);
	assert_int_equal(f->reactor.connections, 0);
	budget_give(&f->limits.budget, budget_used(&f->limits.budget));
	end(f);
	assert_int_equal(takeover_receive(reading, 100, &takeover), 0);
	begin(f, text);
	while (takeover_take(&takeover, &from)) {
		struct state_connection state = state_read(from.connection);
		uint8_t *tls = malloc(state.record.tls_length + 1);

		assert_non_null(tls);
		memcpy(tls, state.tls, state.record.tls_length);
		if (damage)
			damage(tls);
		state.tls = tls;
		conn_restore(f->listener, from.fd, &state);
		from.fd = -1;
		free(tls);
		takeover_release(&from);
	}
	takeover_finish(&takeover);
	handover_finish(&handover);
	close(reading);
	step(f);
}

void change_process(struct fixture *f, const char *file, const char *more)
{
	char text[400];

	tls_config(text, file, "", more);
	change_config(f, text, NULL);
}

/* ---- expectations ---- */

void check_counts(const struct fixture *f, size_t n)
{
	assert_int_equal(last_conn(f, QUEUE_IDLE)->session.place.received, n);
	assert_int_equal(last_conn(f, QUEUE_IDLE)->sent, n);
}

unsigned count_in(const struct fixture *f, enum conn_state state)
{
	const struct conn *c;
	unsigned n = 0;

	list_for_each (c, &f->listener->queues[QUEUE_HANDSHAKE].conns, node)
		n += c->state == state;
	return n;
}

void expect_alert(struct fixture *f, struct client *client, int reason)
{
	char byte;
	int n = -1;

	for (int i = 0; i < 10 && n < 0; i++) {
		step(f);
		n = SSL_read(client->ssl, &byte, 1);
		if (n < 0 && SSL_get_error(client->ssl, n) != SSL_ERROR_WANT_READ)
			break;
	}
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), reason);
	ERR_clear_error();
}

void expect_close_notify(struct client *client)
{
	char byte;

	assert_int_equal(SSL_read(client->ssl, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(client->ssl) & SSL_RECEIVED_SHUTDOWN,
			 SSL_RECEIVED_SHUTDOWN);
}

/* ---- life ---- */

int conn_tls_set_up(void **state)
{
	assert_non_null(mkdtemp(directory));
	client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_cert_list(client_context, 1 << 20);
	write_files();
	return 0;
}

int conn_tls_tear_down(void **state)
{
	char path[100];

	SSL_CTX_free(client_context);
	in_directory(path, "short.pem");
	unlink(path);
	in_directory(path, "long.pem");
	unlink(path);
	return rmdir(directory);
}
