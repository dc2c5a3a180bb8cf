#include "ackd/tls/handshake.h"

#include "ackd/tls/internal.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_HANDSHAKE 22
#define CLIENT_HELLO 1
#define MESSAGE_HEADER_LENGTH 4

struct tls_handshake {
	SSL *ssl;
	struct tls_state state;
	uint8_t header[TLS_HEADER_LENGTH]; /* of the client's current record */
	size_t n_header;		   /* bytes of it so far */
	size_t record_left;		   /* bytes of the record after its header */
	uint8_t last_nonce[8];		   /* see tls_state_expand() */
	enum tls_result result;		   /* after its end */
	bool is_taken;			   /* the output in memory was taken */
};

/* ---- the first record ---- */

size_t tls_first_record(const uint8_t *p, size_t n, struct tls_rejection *ret_rejection)
{
	size_t length = n >= TLS_HEADER_LENGTH ? (size_t)p[3] << 8 | p[4] : MESSAGE_HEADER_LENGTH;
	const uint8_t *message = p + TLS_HEADER_LENGTH;

	if (p[0] != CONTENT_HANDSHAKE) {
		*ret_rejection = (struct tls_rejection){TLS_UNEXPECTED_MESSAGE, TLS_RESULT_NOT_TLS,
							"not a TLS client"};
	} else if (n > 1 && p[1] != 3) {
		*ret_rejection = (struct tls_rejection){TLS_PROTOCOL_VERSION, TLS_RESULT_VERSION,
							"unsupported protocol"};
	} else if (length > TLS_CONTENT_MAX) {
		*ret_rejection = (struct tls_rejection){
			TLS_RECORD_OVERFLOW, TLS_RESULT_PROTOCOL_ERROR, "record too long"};
	} else if (length == 0 || (n > TLS_HEADER_LENGTH && message[0] != CLIENT_HELLO)) {
		*ret_rejection = (struct tls_rejection){
			TLS_UNEXPECTED_MESSAGE, TLS_RESULT_PROTOCOL_ERROR, "not a ClientHello"};
	} else if (n > TLS_HEADER_LENGTH + 3 && length > 3 &&
		   ((size_t)message[1] << 16 | message[2] << 8 | message[3]) >
			   TLS_CLIENT_HELLO_MAX) {
		*ret_rejection = (struct tls_rejection){
			TLS_ILLEGAL_PARAMETER, TLS_RESULT_PROTOCOL_ERROR, "ClientHello too long"};
	} else {
		return TLS_HEADER_LENGTH + length;
	}
	return 0;
}

/* ---- life ---- */

struct tls_handshake *tls_handshake_create(const struct tls_context *context)
{
	struct tls_handshake *handshake = calloc(1, sizeof(*handshake));
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	if (handshake)
		handshake->ssl = SSL_new(context->ssl);
	if (!in || !out || !handshake || !handshake->ssl) {
		BIO_free(in);
		BIO_free(out);
		tls_handshake_destroy(handshake);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_bio(handshake->ssl, in, out);
	SSL_set_app_data(handshake->ssl, handshake);
	SSL_set_accept_state(handshake->ssl);
	return handshake;
}

void tls_handshake_destroy(struct tls_handshake *handshake)
{
	if (!handshake)
		return;
	SSL_free(handshake->ssl);
	tls_state_wipe(&handshake->state);
	free(handshake);
}

/* ---- secrets ---- */

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

void tls_handshake_on_key(const SSL *ssl, const char *line)
{
	static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ";
	static const char server[] = "SERVER_TRAFFIC_SECRET_0 ";
	struct tls_handshake *handshake = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ');
	uint8_t *secret;

	if (strncmp(line, client, strlen(client)) == 0)
		secret = handshake->state.read_secret;
	else if (strncmp(line, server, strlen(server)) == 0)
		secret = handshake->state.write_secret;
	else
		return;
	hex++;
	for (size_t i = 0; i < TLS_SECRET_MAX && hex[0] && hex[1]; i++, hex += 2)
		secret[i] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
}

int tls_handshake_finish(struct tls_handshake *handshake, struct tls_crypto *crypto,
			 struct tls_state *ret_state)
{
	const SSL *ssl = handshake->ssl;
	uint8_t master[TLS_MASTER_LENGTH], client[TLS_RANDOM_LENGTH], server[TLS_RANDOM_LENGTH];
	struct tls_state *state = &handshake->state;
	int r = 0;

	state->suite = (uint16_t)SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
	if (SSL_version(ssl) == TLS1_2_VERSION) {
		SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
		SSL_get_client_random(ssl, client, sizeof(client));
		SSL_get_server_random(ssl, server, sizeof(server));
		r = tls_state_expand(state, crypto, master, client, server, handshake->last_nonce);
		OPENSSL_cleanse(master, sizeof(master));
	}
	state->fragment = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
	*ret_state = *state;
	return r;
}

/* ---- the client's certificates ---- */

/* Returns the length of the character at @p, which may be escaped as \c or \NN. */
static size_t character_length(const char *p)
{
	if (*p != '\\')
		return 1;
	return isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2]) ? 3 : 2;
}

/* Copies the @n bytes at @text, as many characters as have room. */
static void copy_subject(const char *text, size_t n, char *out, size_t size)
{
	static const char cut[] = "<...>";
	size_t used = 0;

	if (n < size) {
		memcpy(out, text, n);
		out[n] = '\0';
		return;
	}
	while (used + character_length(text + used) + sizeof(cut) <= size)
		used += character_length(text + used);
	memcpy(out, text, used);
	memcpy(out + used, cut, sizeof(cut));
}

int tls_handshake_subject(const struct tls_handshake *handshake, char *out, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(handshake->ssl);
	const X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;
	BIO *text;
	char *p;
	long n;
	int r;

	*out = '\0';
	if (!name)
		return 0;
	text = BIO_new(BIO_s_mem());
	if (!text)
		return -ENOMEM;
	r = X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253);
	n = BIO_get_mem_data(text, &p);
	if (r >= 0)
		copy_subject(n > 0 ? p : "", (size_t)n, out, size);
	BIO_free(text);
	ERR_clear_error();
	return r < 0 ? -ENOMEM : 0;
}

uint8_t *tls_handshake_certificates(const struct tls_handshake *handshake, size_t *ret_n)
{
	X509 *own = SSL_get0_peer_certificate(handshake->ssl);
	STACK_OF(X509) *others = SSL_get_peer_cert_chain(handshake->ssl);
	size_t n = own ? (size_t)i2d_X509(own, NULL) : 0;
	uint8_t *bytes, *p;

	for (int i = 0; i < sk_X509_num(others); i++)
		n += (size_t)i2d_X509(sk_X509_value(others, i), NULL);
	*ret_n = n;
	if (n == 0)
		return NULL;
	bytes = p = malloc(n);
	if (!bytes)
		return NULL;
	i2d_X509(own, &p);
	for (int i = 0; i < sk_X509_num(others); i++)
		i2d_X509(sk_X509_value(others, i), &p);
	return bytes;
}

/* ---- records ---- */

/* Returns how many of the @n bytes at @p, at least 1, are the rest of a record or its header. */
static size_t record_part(struct tls_handshake *handshake, const uint8_t *p, size_t n)
{
	size_t left = TLS_HEADER_LENGTH - handshake->n_header;

	if (left > 0) {
		n = n < left ? n : left;
		memcpy(handshake->header + handshake->n_header, p, n);
		handshake->n_header += n;
		handshake->record_left = (size_t)handshake->header[3] << 8 | handshake->header[4];
	} else {
		n = n < handshake->record_left ? n : handshake->record_left;
		handshake->record_left -= n;
	}
	if (handshake->n_header == TLS_HEADER_LENGTH && handshake->record_left == 0)
		handshake->n_header = 0;
	return n;
}

const uint8_t *tls_handshake_output(struct tls_handshake *handshake, size_t *ret_n)
{
	uint8_t *p;
	long n = BIO_get_mem_data(SSL_get_wbio(handshake->ssl), &p);

	*ret_n = n > 0 && !handshake->is_taken ? (size_t)n : 0;
	handshake->is_taken = true;
	return p;
}

/* Finds the nonce in the last record of the output. */
static void note_last_nonce(struct tls_handshake *handshake)
{
	uint8_t *p;
	long n = BIO_get_mem_data(SSL_get_wbio(handshake->ssl), &p), length;

	for (; n > TLS_HEADER_LENGTH; p += length, n -= length) {
		length = TLS_HEADER_LENGTH + (p[3] << 8 | p[4]);
		if (n == length && n >= TLS_HEADER_LENGTH + 8)
			memcpy(handshake->last_nonce, p + TLS_HEADER_LENGTH, 8);
	}
}

/* Returns the result for which OpenSSL reports @error; 0: none, because the client has left. */
static enum tls_result result_of(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	if (error == 0)
		return TLS_RESULT_CLOSED;
	if (reason == ERR_R_MALLOC_FAILURE)
		return TLS_RESULT_SERVER_ERROR;
	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return TLS_RESULT_PROTOCOL_ERROR;
	if (reason >= SSL_AD_REASON_OFFSET)
		return TLS_RESULT_CLIENT_ALERT;
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_INAPPROPRIATE_FALLBACK:
		return TLS_RESULT_VERSION;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return TLS_RESULT_NOTHING_IN_COMMON;
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return TLS_RESULT_CLIENT_CERTIFICATE;
	}
	return TLS_RESULT_PROTOCOL_ERROR;
}

/* Ends @handshake for the first error that OpenSSL reports. Returns its reason. */
static const char *refuse(struct tls_handshake *handshake)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	handshake->result = result_of(error);
	ERR_clear_error();
	return reason ? reason : "TLS handshake failed";
}

enum tls_result tls_handshake_result(const struct tls_handshake *handshake)
{
	return handshake->result;
}

enum tls_version tls_handshake_version(const struct tls_handshake *handshake)
{
	static const uint8_t none[TLS_RANDOM_LENGTH];
	uint8_t random[TLS_RANDOM_LENGTH];

	/* before it has read a ClientHello, OpenSSL reports its own newest version */
	SSL_get_client_random(handshake->ssl, random, sizeof(random));
	if (memcmp(random, none, sizeof(none)) == 0 || handshake->result == TLS_RESULT_VERSION)
		return TLS_VERSION_NONE;
	switch (SSL_version(handshake->ssl)) {
	case TLS1_2_VERSION:
		return TLS_VERSION_1_2;
	case TLS1_3_VERSION:
		return TLS_VERSION_1_3;
	}
	return TLS_VERSION_NONE;
}

/*
 * Returns the state after OpenSSL has seen more input. It must have consumed all of it, or the keys
 * of the record layer would not fit.
 */
static enum tls_progress progress(struct tls_handshake *handshake, const char **ret_reason)
{
	int r, error;

	ERR_clear_error();
	r = SSL_do_handshake(handshake->ssl);
	error = SSL_get_error(handshake->ssl, r);
	if (r == 1 && handshake->n_header == 0 && !SSL_has_pending(handshake->ssl) &&
	    BIO_pending(SSL_get_rbio(handshake->ssl)) == 0) {
		note_last_nonce(handshake);
		handshake->result = TLS_RESULT_SUCCESS;
		return TLS_ESTABLISHED;
	}
	if (r != 1 && error == SSL_ERROR_WANT_READ)
		return TLS_HANDSHAKING;
	handshake->result = TLS_RESULT_PROTOCOL_ERROR;
	*ret_reason =
		r == 1 ? "data in the same record as the end of the handshake" : refuse(handshake);
	return TLS_REFUSED;
}

enum tls_progress tls_handshake_take(struct tls_handshake *handshake, const uint8_t *p, size_t n,
				     size_t *ret_used, const char **ret_reason)
{
	enum tls_progress result = TLS_HANDSHAKING;
	size_t used = 0;

	if (handshake->is_taken)
		(void)BIO_reset(SSL_get_wbio(handshake->ssl));
	handshake->is_taken = false;
	while (used < n && result == TLS_HANDSHAKING) {
		size_t part = record_part(handshake, p + used, n - used);

		if (BIO_write(SSL_get_rbio(handshake->ssl), p + used, (int)part) != (int)part) {
			*ret_reason = "out of memory";
			handshake->result = TLS_RESULT_SERVER_ERROR;
			result = TLS_REFUSED;
			break;
		}
		used += part;
		result = progress(handshake, ret_reason);
	}
	*ret_used = used;
	return result;
}
