/*
 * OpenSSL works on memory here, and this file on the socket, so that all records of a message are
 * sent in one piece, as a message without TLS is. The client must not be slower than the fastest
 * server. Otherwise the server waits for it, and pays for being woken rather than for TLS. So
 * OpenSSL keeps its buffers, its BIO copies nothing that it reads, and SSL_read() is called only
 * for bytes that have arrived.
 */
#include "tls.h"

#include "link.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The same suite for all servers. */
#define SUITE "TLS_AES_256_GCM_SHA384"

struct tls {
	int fd;
	SSL *ssl;
	uint8_t *out; /* records to be sent */
	size_t n_out;
	size_t capacity;
	size_t sent;  /* of @out */
	size_t taken; /* bytes of a message whose records have not all been sent */
};

/* Received bytes that OpenSSL has not read yet. Each call reads all that it has received. */
static struct {
	const uint8_t *p;
	size_t n;
} input;

static int on_write(BIO *bio, const char *p, int n)
{
	struct tls *tls = BIO_get_data(bio);
	size_t needed = tls->n_out + (size_t)n;

	if (needed > tls->capacity) {
		uint8_t *grown = realloc(tls->out, 2 * needed);

		if (!grown)
			return -1;
		tls->out = grown;
		tls->capacity = 2 * needed;
	}
	memcpy(tls->out + tls->n_out, p, (size_t)n);
	tls->n_out = needed;
	return n;
}

static int on_read(BIO *bio, char *p, int n)
{
	BIO_clear_retry_flags(bio);
	if (input.n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if ((size_t)n > input.n)
		n = (int)input.n;
	memcpy(p, input.p, (size_t)n);
	input.p += n;
	input.n -= (size_t)n;
	return n;
}

static long on_control(BIO *bio, int command, long number, void *p)
{
	(void)bio;
	(void)number;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

static BIO *create_bio(struct tls *tls)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bench");
		if (!method)
			return NULL;
		BIO_meth_set_write(method, on_write);
		BIO_meth_set_read(method, on_read);
		BIO_meth_set_ctrl(method, on_control);
	}
	bio = BIO_new(method);
	if (bio) {
		BIO_set_data(bio, tls);
		BIO_set_init(bio, 1);
	}
	return bio;
}

static SSL_CTX *shared_context(void)
{
	static SSL_CTX *context;

	if (context)
		return context;
	context = SSL_CTX_new(TLS_client_method());
	if (context) {
		SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
		SSL_CTX_set_ciphersuites(context, SUITE);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	}
	return context;
}

struct tls *tls_create(int fd)
{
	SSL_CTX *context = shared_context();
	struct tls *tls = calloc(1, sizeof *tls);
	BIO *bio = NULL;

	if (context && tls) {
		tls->fd = fd;
		tls->ssl = SSL_new(context);
		bio = create_bio(tls);
	}
	if (!bio || !tls->ssl) {
		fputs("OpenSSL failed\n", stderr);
		exit(1);
	}
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_connect_state(tls->ssl);
	return tls;
}

void tls_destroy(struct tls *tls)
{
	SSL_free(tls->ssl);
	free(tls->out);
	free(tls);
}

/* Sends what OpenSSL has written. Returns 0, or -1 with errno. */
static int flush(struct tls *tls, int flags)
{
	while (tls->sent < tls->n_out) {
		ssize_t sent = send(tls->fd, tls->out + tls->sent, tls->n_out - tls->sent,
				    MSG_NOSIGNAL | flags);

		if (sent < 0)
			return -1;
		tls->sent += (size_t)sent;
	}
	tls->sent = tls->n_out = 0;
	return 0;
}

/* Receives for OpenSSL, at most @n bytes. Returns as recv(2) does. */
static ssize_t fill(struct tls *tls, size_t n, int flags)
{
	static uint8_t buffer[256 * 1024];
	ssize_t received;

	if (n > sizeof buffer)
		n = sizeof buffer;
	received = recv(tls->fd, buffer, n, flags);
	if (received > 0) {
		input.p = buffer;
		input.n = (size_t)received;
	}
	return received;
}

int tls_handshake(struct tls *tls)
{
	int r = SSL_do_handshake(tls->ssl);
	char c;

	if (flush(tls, 0) < 0)
		return -1;
	/* tickets may follow */
	if (r == 1 && input.n > 0 && SSL_peek(tls->ssl, &c, 1) <= 0 && input.n == 0)
		return 1;
	if (r == 1 && input.n == 0)
		return 1;
	if (r != 1 && SSL_get_error(tls->ssl, r) == SSL_ERROR_WANT_READ)
		return 0;
	ERR_print_errors_fp(stderr);
	return -1;
}

int tls_wait(struct tls *tls)
{
	return fill(tls, SIZE_MAX, 0) > 0 ? 0 : -1;
}

ssize_t tls_send(struct tls *tls, const uint8_t *p, size_t n, int flags)
{
	if (tls->taken == 0) {
		if (SSL_write(tls->ssl, p, (int)n) != (int)n) {
			errno = EPROTO;
			return -1;
		}
		tls->taken = n;
	}
	if (flush(tls, flags) < 0)
		return -1;
	n = tls->taken;
	tls->taken = 0;
	return (ssize_t)n;
}

ssize_t tls_recv(struct tls *tls, uint8_t *p, size_t n, int flags)
{
	size_t got = 0;

	while (got == 0) {
		/* there must be room for the data of the record that OpenSSL has in part, too */
		ssize_t filled = fill(tls, n - TLS_DATA_MAX, flags);

		if (filled <= 0)
			return filled;
		while (input.n > 0) {
			int r = SSL_read(tls->ssl, p + got, (int)(n - got));

			if (r > 0) {
				got += (size_t)r;
			} else if (SSL_get_error(tls->ssl, r) == SSL_ERROR_ZERO_RETURN) {
				return (ssize_t)got;
			} else if (SSL_get_error(tls->ssl, r) != SSL_ERROR_WANT_READ) {
				errno = EPROTO;
				return -1;
			}
		}
	}
	return (ssize_t)got;
}

void tls_end_output(struct tls *tls)
{
	SSL_shutdown(tls->ssl);
	flush(tls, 0);
}
