/*
 * OpenSSL works on memory here, and this file on the socket, so that all records of a message are
 * sent in one piece, as a message without TLS is.
 */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* The same suite for all servers. */
#define SUITE "TLS_AES_256_GCM_SHA384"

struct tls {
	int fd;
	SSL *ssl;
	BIO *in;
	BIO *out;
	size_t taken; /* bytes of a message whose records have not all been sent */
	size_t sent;  /* bytes of its records */
};

static SSL_CTX *shared_context(void)
{
	static SSL_CTX *context;

	if (context)
		return context;
	context = SSL_CTX_new(TLS_client_method());
	if (context) {
		SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
		SSL_CTX_set_ciphersuites(context, SUITE);
		SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
		SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	}
	return context;
}

struct tls *tls_create(int fd)
{
	SSL_CTX *context = shared_context();
	struct tls *tls = calloc(1, sizeof *tls);

	if (!context || !tls)
		goto fail;
	tls->fd = fd;
	tls->ssl = SSL_new(context);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out)
		goto fail;
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_connect_state(tls->ssl);
	return tls;

fail:
	fputs("OpenSSL failed\n", stderr);
	free(tls);
	return NULL;
}

void tls_destroy(struct tls *tls)
{
	SSL_free(tls->ssl);
	free(tls);
}

/* Sends what OpenSSL has written. Returns 0, or -1 with errno. */
static int flush(struct tls *tls, int flags)
{
	char *p;
	size_t n = (size_t)BIO_get_mem_data(tls->out, &p);

	if (n == 0)
		return 0;
	while (tls->sent < n) {
		ssize_t sent = send(tls->fd, p + tls->sent, n - tls->sent, MSG_NOSIGNAL | flags);

		if (sent < 0)
			return -1;
		tls->sent += (size_t)sent;
	}
	tls->sent = 0;
	(void)BIO_reset(tls->out);
	return 0;
}

/* Receives for OpenSSL. Returns as recv(2) does. */
static ssize_t fill(struct tls *tls, int flags)
{
	static uint8_t buffer[256 * 1024];
	ssize_t n = recv(tls->fd, buffer, sizeof buffer, flags);

	if (n > 0)
		BIO_write(tls->in, buffer, (int)n);
	return n;
}

int tls_handshake(struct tls *tls)
{
	int r = SSL_do_handshake(tls->ssl);

	if (flush(tls, 0) < 0)
		return -1;
	if (r == 1)
		return 1;
	if (SSL_get_error(tls->ssl, r) == SSL_ERROR_WANT_READ)
		return 0;
	ERR_print_errors_fp(stderr);
	return -1;
}

int tls_wait(struct tls *tls)
{
	return fill(tls, 0) > 0 ? 0 : -1;
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

	for (;;) {
		int r = SSL_read(tls->ssl, p + got, (int)(n - got));
		ssize_t filled;

		if (r > 0) {
			got += (size_t)r;
			if (got < n)
				continue;
		}
		if (got > 0)
			return (ssize_t)got;
		if (SSL_get_error(tls->ssl, r) == SSL_ERROR_ZERO_RETURN)
			return 0;
		if (SSL_get_error(tls->ssl, r) != SSL_ERROR_WANT_READ) {
			errno = EPROTO;
			return -1;
		}
		filled = fill(tls, flags);
		if (filled <= 0)
			return filled;
	}
}

void tls_end_output(struct tls *tls)
{
	SSL_shutdown(tls->ssl);
	flush(tls, 0);
}
