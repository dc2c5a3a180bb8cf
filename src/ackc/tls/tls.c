/*
 * The SSL object of a connection reads and writes by a BIO of its own. A read takes the bytes of
 * tls_feed(); if they do not suffice, the BIO asks OpenSSL to retry. OpenSSL keeps the part of a
 * record that it has read, so that nothing is left in the fed bytes. A write passes a record to the
 * callback, which takes all of it.
 */

#include "ackc/output/failure.h"
#include "ackc/tls/internal.h"
#include "core/text/printable.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* The header of a record, and the type of the first handshake message. */
#define FIRST_MAX 6
#define TYPE_FIRST 20 /* of a record: change_cipher_spec */
#define TYPE_LAST 23  /* application_data */
#define TYPE_HANDSHAKE 22
#define CLIENT_HELLO 1

struct tls {
	const struct tls_client *client;
	SSL *ssl;
	tls_send_cb send;
	void *data;
	const uint8_t *fed;
	size_t fed_n;
	size_t wanted;
	int send_failure;
	bool failed; /* nothing can be sent any more */
	bool ended;  /* close_notify was sent */
	uint8_t first[FIRST_MAX];
	size_t first_n;
	char problem[TLS_WORDS_MAX]; /* of the certificate; empty: none */
};

static int transport_read(BIO *bio, char *out, int size)
{
	struct tls *t = BIO_get_data(bio);
	size_t n = (size_t)size < t->fed_n ? (size_t)size : t->fed_n;

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		t->wanted = (size_t)size;
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(out, t->fed, n);
	t->fed += n;
	t->fed_n -= n;
	return (int)n;
}

static int transport_write(BIO *bio, const char *bytes, int n)
{
	struct tls *t = BIO_get_data(bio);
	int r = t->send(t->data, bytes, (size_t)n);

	BIO_clear_retry_flags(bio);
	if (r < 0)
		t->send_failure = r;
	return r < 0 ? -1 : n;
}

static long transport_control(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_transport(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");

	if (method && BIO_meth_set_read(method, transport_read) &&
	    BIO_meth_set_write(method, transport_write) &&
	    BIO_meth_set_ctrl(method, transport_control))
		return method;
	BIO_meth_free(method);
	return NULL;
}

int tls_on_verify(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);

	if (!good && !t->problem[0])
		certificate_problem(store, t->client->name, t->problem);
	return good || t->client->insecure;
}

/* Names the host, unless it is an address (RFC 6066, section 3). */
static bool set_server_name(SSL *ssl, const char *name)
{
	struct in6_addr address;

	if (!name[0] || strchr(name, ':') || inet_pton(AF_INET, name, &address) == 1)
		return true;
	/* what SSL_set_tlsext_host_name() does, which casts const away without this detour */
	return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
			(void *)(uintptr_t)name) == 1;
}

int tls_create(const struct tls_client *c, tls_send_cb send, void *data, struct tls **ret_tls)
{
	struct tls *t = calloc(1, sizeof(*t));
	BIO *bio = BIO_new(c->transport);
	SSL *ssl = SSL_new(c->context);

	if (!t || !bio || !ssl || !set_server_name(ssl, c->name)) {
		ERR_clear_error();
		SSL_free(ssl);
		BIO_free(bio);
		free(t);
		return UV_ENOMEM;
	}
	*t = (struct tls){.client = c, .ssl = ssl, .send = send, .data = data};
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_app_data(ssl, t);
	SSL_set_connect_state(ssl);
	*ret_tls = t;
	return 0;
}

void tls_destroy(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

void tls_feed(struct tls *t, const uint8_t *bytes, size_t n)
{
	size_t part = FIRST_MAX - t->first_n < n ? FIRST_MAX - t->first_n : n;

	memcpy(t->first + t->first_n, bytes, part);
	t->first_n += part;
	t->fed = bytes;
	t->fed_n = n;
	t->wanted = 0;
}

size_t tls_wanted(const struct tls *t)
{
	return t->wanted;
}

/* Describes a fatal alert of the server (RFC 8446, section 6). */
static int alert_failure(const struct tls *t, int alert)
{
	switch (alert) {
	case SSL_AD_CERTIFICATE_REQUIRED:
		return failure_describe(FAILURE_TLS,
					"the server demands a client certificate (--cert)");
	case SSL_AD_HANDSHAKE_FAILURE:
		return failure_describe(
			FAILURE_TLS, "the server ended the TLS handshake: no common parameters%s",
			t->client->has_certificate
				? ""
				: ", or it demands a client certificate (--cert)");
	case SSL_AD_UNKNOWN_CA:
		return failure_describe(FAILURE_TLS,
					"the server does not know the issuer of the client "
					"certificate");
	case SSL_AD_CERTIFICATE_EXPIRED:
		return failure_describe(FAILURE_TLS,
					"the server reports: the client certificate has expired");
	case SSL_AD_BAD_CERTIFICATE:
		return failure_describe(FAILURE_TLS,
					"the server reports: the client certificate is bad");
	case SSL_AD_PROTOCOL_VERSION:
		return failure_describe(FAILURE_TLS, "the server speaks neither TLS 1.2 nor 1.3");
	case SSL_AD_NO_APPLICATION_PROTOCOL:
		return failure_describe(FAILURE_TLS, "the server accepts no protocol of --alpn %s",
					t->client->alpn);
	case SSL_AD_UNRECOGNIZED_NAME:
		return failure_describe(FAILURE_TLS, "the server does not know the name %s (--sni)",
					t->client->name);
	default:
		return failure_describe(FAILURE_TLS, "the server sent the TLS alert \"%s\"",
					SSL_alert_desc_string_long(alert));
	}
}

/* Returns the failure of the last operation, which returned @r; 0 if it must be retried. */
static int failure_of(struct tls *t, int r)
{
	unsigned long error = ERR_peek_error();
	int reason = ERR_GET_REASON(error);
	const char *words = ERR_reason_error_string(error);

	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		/*
		 * OpenSSL does not notice that an alert could not be sent. Other failures show in
		 * reading, after the last data.
		 */
		t->failed = t->failed || t->send_failure == UV_ENOBUFS;
		return t->send_failure == UV_ENOBUFS ? UV_ENOBUFS : 0;
	case SSL_ERROR_ZERO_RETURN:
		return UV_EOF;
	case SSL_ERROR_SYSCALL:
		t->failed = true;
		return t->send_failure ? t->send_failure : UV_EPROTO;
	default:
		break;
	}
	t->failed = true;
	ERR_clear_error();
	if (t->problem[0] && !t->client->insecure)
		return failure_describe(FAILURE_CERTIFICATE, "%s", t->problem);
	if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return alert_failure(t, reason - SSL_AD_REASON_OFFSET);
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return alert_failure(t, SSL_AD_PROTOCOL_VERSION);
	return failure_describe(FAILURE_TLS, "TLS error: %s", words ? words : "unknown");
}

/* Returns whether the bytes received so far can be the beginning of TLS records. */
static bool is_tls(const struct tls *t)
{
	return (t->first_n < 1 || (t->first[0] >= TYPE_FIRST && t->first[0] <= TYPE_LAST)) &&
	       (t->first_n < 2 || t->first[1] == 3);
}

int tls_handshake(struct tls *t)
{
	int r;

	if (!is_tls(t))
		return FAILURE_NO_TLS;
	if (t->first_n == FIRST_MAX && t->first[0] == TYPE_HANDSHAKE && t->first[5] == CLIENT_HELLO)
		return failure_describe(
			FAILURE_TLS,
			"the server does not speak TLS: it echoed the beginning of the handshake");
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	return r == 1 ? 1 : failure_of(t, r);
}

ssize_t tls_read(struct tls *t, void *out, size_t n)
{
	int r;

	ERR_clear_error();
	r = SSL_read(t->ssl, out, n < INT32_MAX ? (int)n : INT32_MAX);
	return r > 0 ? r : failure_of(t, r);
}

int tls_write(struct tls *t, const void *bytes, size_t n)
{
	size_t written;
	int r;

	if (t->failed || t->ended)
		return UV_EPIPE;
	ERR_clear_error();
	r = SSL_write_ex(t->ssl, bytes, n, &written);
	if (r == 1)
		return 0;
	r = failure_of(t, r);
	return r ? r : failure_describe(FAILURE_TLS, "TLS error: the server interrupts writing");
}

void tls_end(struct tls *t)
{
	if (t->failed || t->ended || !SSL_is_init_finished(t->ssl))
		return;
	t->ended = true;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void tls_describe(const struct tls *t, struct tls_facts *ret)
{
	X509 *certificate = SSL_get0_peer_certificate(t->ssl);
	const char *version = SSL_get_version(t->ssl);
	const unsigned char *alpn;
	unsigned alpn_n;
	char copy[64];

	*ret = (struct tls_facts){0};
	snprintf(ret->version, sizeof(ret->version), "TLS %s",
		 strncmp(version, "TLSv", 4) == 0 ? version + 4 : version);
	snprintf(ret->cipher, sizeof(ret->cipher), "%s", SSL_get_cipher_name(t->ssl));
	SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_n);
	snprintf(copy, sizeof(copy), "%.*s", (int)alpn_n, (const char *)alpn);
	printable_escape(ret->alpn, sizeof(ret->alpn), copy);
	if (certificate) {
		certificate_name(X509_get_subject_name(certificate), ret->subject,
				 sizeof(ret->subject));
		certificate_name(X509_get_issuer_name(certificate), ret->issuer,
				 sizeof(ret->issuer));
		ret->expires = certificate_expires(certificate);
	}
	snprintf(ret->problem, sizeof(ret->problem), "%s", t->problem);
}
