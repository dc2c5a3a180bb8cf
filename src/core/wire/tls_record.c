#include "core/wire/tls_record.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

enum content_type {
	CONTENT_ALERT = 21,
	CONTENT_HANDSHAKE = 22,
	CONTENT_DATA = 23,
};

/* Handshake messages. */
enum { CLIENT_HELLO = 1, KEY_UPDATE = 24 };

/* The values of a KeyUpdate. */
enum { UPDATE_NOT_REQUESTED, UPDATE_REQUESTED };

enum { LEVEL_WARNING = 1, LEVEL_FATAL = 2 };

#define MESSAGE_HEADER_LENGTH 4

/* From this size on, sealing a span where it is costs less than a copy. */
#define COPY_MAX ((size_t)1024)

/*
 * Records that remain when a connection of TLS 1.2 must be closed. A reply has less than 2^27
 * bytes, in records of at least TLS_FRAGMENT_MIN.
 */
#define RECORDS_RESERVE ((uint64_t)1 << 18)

/* Additional data of TLS 1.2: sequence number, type, version and length. */
#define ADDITIONAL_MAX 13

static_assert(sizeof(struct tls_state) == 128, "struct tls_state has padding or has changed");

const char *tls_alert_name(uint8_t alert)
{
	static const char *const names[] = {
		[0] = "close_notify",
		[10] = "unexpected_message",
		[20] = "bad_record_mac",
		[22] = "record_overflow",
		[40] = "handshake_failure",
		[42] = "bad_certificate",
		[43] = "unsupported_certificate",
		[44] = "certificate_revoked",
		[45] = "certificate_expired",
		[46] = "certificate_unknown",
		[47] = "illegal_parameter",
		[48] = "unknown_ca",
		[49] = "access_denied",
		[50] = "decode_error",
		[51] = "decrypt_error",
		[70] = "protocol_version",
		[71] = "insufficient_security",
		[80] = "internal_error",
		[86] = "inappropriate_fallback",
		[90] = "user_canceled",
		[100] = "no_renegotiation",
		[109] = "missing_extension",
		[110] = "unsupported_extension",
		[112] = "unrecognized_name",
		[113] = "bad_certificate_status_response",
		[115] = "unknown_psk_identity",
		[116] = "certificate_required",
		[120] = "no_application_protocol",
	};

	if (alert >= sizeof(names) / sizeof(*names) || !names[alert])
		return "unknown alert";
	return names[alert];
}

/* ---- state ---- */

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/* The header of the only handshake message that TLS 1.3 permits. */
static const uint8_t key_update_header[MESSAGE_HEADER_LENGTH] = {KEY_UPDATE, 0, 0, 1};

/* Returns whether the incomplete handshake message of @state is one that can be received. */
static bool message_is_valid(const struct tls_state *state, const struct tls_suite *suite)
{
	uint8_t n = state->message_length;

	if (n > (suite->is_13 ? MESSAGE_HEADER_LENGTH : MESSAGE_HEADER_LENGTH - 1))
		return false;
	if (!is_zero(state->message + n, sizeof(state->message) - n))
		return false;
	if (suite->is_13)
		return state->message_left == 0 &&
		       memcmp(state->message, key_update_header, n) == 0;
	if (n > 0)
		return state->message_left == 0 && state->message[0] == CLIENT_HELLO;
	return state->message_left >> 24 == 0;
}

/* Returns whether @secret has its length; zeros are what a handshake without a secret leaves. */
static bool secret_is_valid(const uint8_t secret[TLS_SECRET_MAX], const struct tls_suite *suite)
{
	size_t n = tls_suite_secret_length(suite);

	return !is_zero(secret, n) && is_zero(secret + n, TLS_SECRET_MAX - n);
}

static bool state_is_valid(const struct tls_state *state, const struct tls_suite *suite,
			   uint64_t records_max)
{
	uint64_t first = suite->is_13 ? 0 : 1;

	/* the last record is an alert */
	return state->write_sequence >= first &&
	       state->write_sequence < records_max + state->has_closed &&
	       state->read_sequence >= first && state->read_sequence < UINT64_MAX &&
	       secret_is_valid(state->read_secret, suite) &&
	       secret_is_valid(state->write_secret, suite) && message_is_valid(state, suite) &&
	       state->answer_due <= 1 && state->has_ended <= 1 && state->has_closed <= 1 &&
	       state->idle_records <= TLS_IDLE_RECORDS_MAX && state->fragment <= 4;
}

int tls_state_expand(struct tls_state *state, struct tls_crypto *crypto,
		     const uint8_t master[TLS_MASTER_LENGTH],
		     const uint8_t client_random[TLS_RANDOM_LENGTH],
		     const uint8_t server_random[TLS_RANDOM_LENGTH], const uint8_t first_nonce[8])
{
	const struct tls_suite *suite = tls_suite_find(state->suite);
	int r;

	if (!suite || suite->is_13)
		return -EINVAL;
	*state = (struct tls_state){.suite = suite->number};
	r = tls_keys_expand(crypto, suite, master, client_random, server_random, state->read_secret,
			    state->write_secret);
	if (r < 0)
		return r;
	memcpy(state->write_secret + tls_suite_secret_length(suite) - suite->nonce_length,
	       first_nonce, suite->nonce_length);
	state->read_sequence = 1;
	state->write_sequence = 1;
	return 0;
}

void tls_state_wipe(struct tls_state *state)
{
	OPENSSL_cleanse(state, sizeof(*state));
}

int tls_channel_init(struct tls_channel *channel, struct tls_crypto *crypto,
		     const struct tls_state *state)
{
	const struct tls_suite *suite = tls_suite_find(state->suite);
	int r;

	if (!suite || !state_is_valid(state, suite, crypto->records_max))
		return -EBADMSG;
	*channel = (struct tls_channel){
		.suite = suite,
		.read.sequence = state->read_sequence,
		.write.sequence = state->write_sequence,
		.message_left = state->message_left,
		.message_length = state->message_length,
		.idle_records = state->idle_records,
		.fragment = state->fragment,
		.answer_due = state->answer_due,
		.has_closed = state->has_closed,
		.status = state->has_ended ? TLS_ENDED : TLS_OPEN,
	};
	memcpy(channel->message, state->message, sizeof(channel->message));
	r = tls_keys_set(&channel->read, crypto, suite, state->read_secret);
	if (r == 0)
		r = tls_keys_set(&channel->write, crypto, suite, state->write_secret);
	if (r < 0)
		OPENSSL_cleanse(channel, sizeof(*channel));
	return r;
}

void tls_channel_finish(struct tls_channel *channel, struct tls_crypto *crypto)
{
	if (!channel->suite)
		return;
	tls_keys_forget(&channel->read, crypto, channel->suite);
	tls_keys_forget(&channel->write, crypto, channel->suite);
	OPENSSL_cleanse(channel, sizeof(*channel));
}

void tls_channel_save(const struct tls_channel *channel, struct tls_state *ret_state)
{
	assert(channel->status == TLS_OPEN || channel->status == TLS_ENDED);
	*ret_state = (struct tls_state){
		.read_sequence = channel->read.sequence,
		.write_sequence = channel->write.sequence,
		.message_left = channel->message_left,
		.suite = channel->suite->number,
		.message_length = channel->message_length,
		.answer_due = channel->answer_due,
		.has_ended = channel->status == TLS_ENDED,
		.has_closed = channel->has_closed,
		.idle_records = channel->idle_records,
		.fragment = channel->fragment,
	};
	memcpy(ret_state->message, channel->message, channel->message_length);
	memcpy(ret_state->read_secret, channel->read.secret, TLS_SECRET_MAX);
	memcpy(ret_state->write_secret, channel->write.secret, TLS_SECRET_MAX);
}

/* ---- single records ---- */

/* Returns the most content bytes of a record, in both directions. */
static size_t content_max(const struct tls_channel *channel)
{
	return channel->fragment == 0 ? TLS_CONTENT_MAX : (size_t)256 << channel->fragment;
}

static void put_16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/*
 * Writes the additional data of a record with @header and @content_length bytes of content. Returns
 * its length.
 */
static int additional_data(const struct tls_keys *keys, const struct tls_suite *suite,
			   const uint8_t header[TLS_HEADER_LENGTH], size_t content_length,
			   uint8_t ret_data[ADDITIONAL_MAX])
{
	if (suite->is_13) {
		memcpy(ret_data, header, TLS_HEADER_LENGTH);
		return TLS_HEADER_LENGTH;
	}
	for (unsigned i = 0; i < 8; i++)
		ret_data[i] = (uint8_t)(keys->sequence >> (56 - 8 * i));
	memcpy(ret_data + 8, header, 3);
	put_16(ret_data + 11, content_length);
	return ADDITIONAL_MAX;
}

/*
 * Begins a record with a context that has the key. Returns whether libcrypto has succeeded, as the
 * functions below do.
 */
static bool cipher_begin(EVP_CIPHER_CTX *context, const uint8_t *nonce, const uint8_t *additional,
			 int n_additional)
{
	int n;

	return EVP_CipherInit_ex2(context, NULL, NULL, nonce, -1, NULL) == 1 &&
	       EVP_CipherUpdate(context, NULL, &n, additional, n_additional) == 1;
}

/* Seals or opens @n bytes. @out is @in, or does not overlap with it. */
static bool cipher_update(EVP_CIPHER_CTX *context, uint8_t *out, const uint8_t *in, size_t n)
{
	int n_out;

	return n == 0 || EVP_CipherUpdate(context, out, &n_out, in, (int)n) == 1;
}

/* Ends a record: with a tag that opening compares, or that sealing writes. */
static bool cipher_check(EVP_CIPHER_CTX *context, uint8_t tag[TLS_TAG_LENGTH])
{
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, TLS_TAG_LENGTH),
		OSSL_PARAM_construct_end(),
	};
	uint8_t none[EVP_MAX_BLOCK_LENGTH];
	int n;

	return EVP_CIPHER_CTX_set_params(context, parameters) == 1 &&
	       EVP_CipherFinal_ex(context, none, &n) == 1;
}

static bool cipher_finish(EVP_CIPHER_CTX *context, uint8_t ret_tag[TLS_TAG_LENGTH])
{
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, ret_tag,
						  TLS_TAG_LENGTH),
		OSSL_PARAM_construct_end(),
	};
	uint8_t none[EVP_MAX_BLOCK_LENGTH];
	int n;

	return EVP_CipherFinal_ex(context, none, &n) == 1 &&
	       EVP_CIPHER_CTX_get_params(context, parameters) == 1;
}

/* ---- open ---- */

/* A call of tls_channel_open(). */
struct opening {
	struct tls_channel *channel;
	struct tls_crypto *crypto;
	EVP_CIPHER_CTX *context; /* has the key while a record is opened */
	const struct tls_input *input;
	uint8_t *out;
	size_t n; /* bytes of data so far */
	const char *reason;
};

/* Ends the connection with an error. Returns false. */
static bool fail(struct opening *o, enum tls_alert alert, const char *reason)
{
	o->channel->status = TLS_ERROR;
	o->channel->alert = (uint8_t)alert;
	o->reason = reason;
	return false;
}

/* Returns the input at @at, and in *@n, at least 1, how many of the next *@n bytes are there. */
static const uint8_t *input_at(const struct tls_input *input, size_t at, size_t *n)
{
	if (at >= input->n_kept)
		return input->bytes + (at - input->n_kept);
	if (*n > input->n_kept - at)
		*n = input->n_kept - at;
	return input->kept + at;
}

static void input_copy(const struct tls_input *input, size_t at, uint8_t *ret_bytes, size_t n)
{
	while (n > 0) {
		size_t part = n;
		const uint8_t *p = input_at(input, at, &part);

		memcpy(ret_bytes, p, part);
		ret_bytes += part;
		at += part;
		n -= part;
	}
}

/* Opens the @n bytes at @at of the input. */
static bool input_open(struct opening *o, size_t at, size_t n)
{
	uint8_t *out = o->out + o->n;

	while (n > 0) {
		size_t part = n;
		const uint8_t *p = input_at(o->input, at, &part);

		if (!cipher_update(o->context, out, p, part))
			return false;
		out += part;
		at += part;
		n -= part;
	}
	return true;
}

/* Checks a header of a record with @length bytes after it. */
static bool check_header(struct opening *o, const uint8_t header[TLS_HEADER_LENGTH], size_t length)
{
	const struct tls_suite *suite = o->channel->suite;
	size_t overhead = suite->is_13 ? 1 : suite->nonce_length;

	if (header[0] != CONTENT_DATA &&
	    (suite->is_13 || (header[0] != CONTENT_ALERT && header[0] != CONTENT_HANDSHAKE)))
		return fail(o, TLS_UNEXPECTED_MESSAGE, "unexpected record type");
	if (!suite->is_13 && (header[1] != 3 || header[2] != 3))
		return fail(o, TLS_PROTOCOL_VERSION, "wrong version in a record");
	if (length > content_max(o->channel) + overhead + TLS_TAG_LENGTH)
		return fail(o, TLS_RECORD_OVERFLOW, "record too long");
	return true;
}

/* Counts a record without data. */
static bool take_idle(struct opening *o)
{
	if (o->channel->idle_records == TLS_IDLE_RECORDS_MAX)
		return fail(o, TLS_UNEXPECTED_MESSAGE, "too many records without data");
	o->channel->idle_records++;
	return true;
}

/* Takes a part of a KeyUpdate, the only handshake message of TLS 1.3 that is expected. */
static bool take_key_update(struct opening *o, const uint8_t *p, size_t n)
{
	struct tls_channel *c = o->channel;

	for (size_t i = 0; i < n; i++) {
		uint8_t k = c->message_length;

		if (k < MESSAGE_HEADER_LENGTH) {
			if (p[i] != key_update_header[k])
				return k == 0 ? fail(o, TLS_UNEXPECTED_MESSAGE,
						     "unexpected handshake message")
					      : fail(o, TLS_DECODE_ERROR,
						     "KeyUpdate of a wrong length");
			c->message[c->message_length++] = p[i];
			continue;
		}
		if (p[i] > UPDATE_REQUESTED)
			return fail(o, TLS_ILLEGAL_PARAMETER, "KeyUpdate with an unknown value");
		if (i + 1 < n)
			return fail(o, TLS_UNEXPECTED_MESSAGE, "KeyUpdate does not end its record");
		if (tls_keys_update(&c->read, o->crypto, c->suite) < 0)
			return fail(o, TLS_INTERNAL_ERROR, "libcrypto failed");
		c->message_length = 0;
		c->answer_due |= p[i] == UPDATE_REQUESTED;
	}
	return true;
}

/* Takes a part of a ClientHello, which begins a renegotiation. */
static bool take_client_hello(struct opening *o, const uint8_t *p, size_t n)
{
	struct tls_channel *c = o->channel;

	while (n > 0) {
		size_t skip = n < c->message_left ? n : c->message_left;

		p += skip;
		n -= skip;
		c->message_left -= (uint32_t)skip;
		if (n == 0)
			break;
		if (c->message_length == 0 && *p != CLIENT_HELLO)
			return fail(o, TLS_UNEXPECTED_MESSAGE, "unexpected handshake message");
		c->message[c->message_length++] = *p++;
		n--;
		if (c->message_length == MESSAGE_HEADER_LENGTH) {
			c->message_left = (uint32_t)c->message[1] << 16 |
					  (uint32_t)c->message[2] << 8 | c->message[3];
			c->message_length = 0;
			c->answer_due = true;
		}
	}
	return true;
}

static bool take_alert(struct opening *o, const uint8_t *p, size_t n)
{
	struct tls_channel *c = o->channel;

	if (n != 2)
		return fail(o, TLS_DECODE_ERROR, "alert of a wrong length");
	if (p[1] == TLS_CLOSE_NOTIFY) {
		c->status = TLS_ENDED;
		return true;
	}
	if (!c->suite->is_13 && p[0] != LEVEL_WARNING && p[0] != LEVEL_FATAL)
		return fail(o, TLS_ILLEGAL_PARAMETER, "alert of an unknown level");
	if (c->suite->is_13 ? p[1] == TLS_USER_CANCELED : p[0] == LEVEL_WARNING)
		return take_idle(o);
	c->status = TLS_PEER_ERROR;
	c->alert = p[1];
	o->reason = "the peer sent an alert";
	return true;
}

/* Takes the content of a record, the @n bytes at @p, which follow the data at o->out. */
static bool take_content(struct opening *o, uint8_t type, const uint8_t *p, size_t n)
{
	bool is_13 = o->channel->suite->is_13;

	if (is_13 && o->channel->message_length > 0 && type != CONTENT_HANDSHAKE)
		return fail(o, TLS_UNEXPECTED_MESSAGE, "record amid a handshake message");
	if (type == CONTENT_DATA) {
		if (n == 0)
			return take_idle(o);
		o->n += n;
		o->channel->idle_records = 0;
		return true;
	}
	if (type != CONTENT_ALERT && type != CONTENT_HANDSHAKE)
		return fail(o, TLS_UNEXPECTED_MESSAGE, "unexpected content type");
	if (n == 0)
		return fail(o, TLS_UNEXPECTED_MESSAGE, "empty alert or handshake record");
	if (type == CONTENT_ALERT)
		return take_alert(o, p, n);
	return take_idle(o) && (is_13 ? take_key_update(o, p, n) : take_client_hello(o, p, n));
}

/* Writes the nonce with which the peer has sealed the record at @at of the input. */
static void sender_nonce(const struct opening *o, size_t at, uint8_t ret_nonce[TLS_NONCE_LENGTH])
{
	const struct tls_channel *c = o->channel;
	size_t explicit = c->suite->nonce_length;

	tls_keys_nonce(&c->read, c->suite, ret_nonce);
	input_copy(o->input, at + TLS_HEADER_LENGTH, ret_nonce + TLS_NONCE_LENGTH - explicit,
		   explicit);
}

/* Opens the complete record at @at of the input, with @length bytes after its header. */
static bool open_record(struct opening *o, size_t at, const uint8_t header[TLS_HEADER_LENGTH],
			size_t length)
{
	struct tls_keys *keys = &o->channel->read;
	const struct tls_suite *suite = o->channel->suite;
	size_t begin = at + TLS_HEADER_LENGTH + suite->nonce_length;
	uint8_t nonce[TLS_NONCE_LENGTH], tag[TLS_TAG_LENGTH], additional[ADDITIONAL_MAX];
	uint8_t *content = o->out + o->n;
	uint8_t type = header[0];
	size_t n;
	int n_additional;

	if (keys->sequence == UINT64_MAX)
		return fail(o, TLS_INTERNAL_ERROR, "too many records");
	if (length < (size_t)suite->nonce_length + TLS_TAG_LENGTH)
		return fail(o, TLS_BAD_RECORD_MAC, "record too short");
	n = length - suite->nonce_length - TLS_TAG_LENGTH;
	sender_nonce(o, at, nonce);
	input_copy(o->input, begin + n, tag, sizeof(tag));
	n_additional = additional_data(keys, suite, header, n, additional);
	o->context = tls_keys_context(keys, o->crypto, suite, false);
	if (!o->context || !cipher_begin(o->context, nonce, additional, n_additional) ||
	    !input_open(o, begin, n)) {
		OPENSSL_cleanse(content, n);
		return fail(o, TLS_INTERNAL_ERROR, "libcrypto failed");
	}
	if (!cipher_check(o->context, tag)) {
		OPENSSL_cleanse(content, n);
		return fail(o, TLS_BAD_RECORD_MAC, "record not authentic");
	}
	keys->sequence++;
	if (suite->is_13) {
		while (n > 0 && content[n - 1] == 0)
			n--;
		if (n == 0)
			return fail(o, TLS_UNEXPECTED_MESSAGE, "record without a content type");
		type = content[--n];
	}
	return take_content(o, type, content, n);
}

struct tls_opened tls_channel_open(struct tls_channel *channel, struct tls_crypto *crypto,
				   const struct tls_input *input, uint8_t *out)
{
	struct opening o = {
		.channel = channel,
		.crypto = crypto,
		.input = input,
		.out = out,
	};
	size_t at = 0, end = input->n_kept + input->n_bytes;
	size_t record_length = TLS_HEADER_LENGTH;

	while (channel->status == TLS_OPEN && end - at >= TLS_HEADER_LENGTH) {
		uint8_t header[TLS_HEADER_LENGTH];
		size_t length;

		input_copy(input, at, header, sizeof(header));
		length = (size_t)header[3] << 8 | header[4];
		if (!check_header(&o, header, length))
			break;
		if (at + TLS_HEADER_LENGTH + length <= input->n_kept) {
			fail(&o, TLS_INTERNAL_ERROR, "a whole record was kept");
			break;
		}
		if (end - at - TLS_HEADER_LENGTH < length) {
			record_length = TLS_HEADER_LENGTH + length;
			break;
		}
		if (!open_record(&o, at, header, length))
			break;
		at += TLS_HEADER_LENGTH + length;
	}
	if (channel->status == TLS_ERROR)
		ERR_clear_error();
	return (struct tls_opened){
		.status = channel->status,
		.reason = o.reason,
		.n = o.n,
		.n_rest = channel->status == TLS_OPEN ? end - at : 0,
		.record_length = record_length,
	};
}

/* ---- seal ---- */

/* A call of tls_channel_seal(). */
struct sealing {
	struct tls_channel *channel;
	struct tls_crypto *crypto;
	EVP_CIPHER_CTX *context;  /* has the key while a record is sealed */
	const struct iovec *span; /* the next bytes to seal: span[0] from offset */
	size_t offset;
	uint8_t *out; /* where the next record begins */
};

/* Returns the next *@n bytes to seal; as many as are in one piece, at least 1. */
static const uint8_t *next_piece(struct sealing *s, size_t *n)
{
	const uint8_t *p;

	while (s->offset == s->span->iov_len) {
		s->span++;
		s->offset = 0;
	}
	p = (const uint8_t *)s->span->iov_base + s->offset;
	if (*n > s->span->iov_len - s->offset)
		*n = s->span->iov_len - s->offset;
	s->offset += *n;
	return p;
}

/*
 * Seals the next @n bytes, then in TLS 1.3 the content type, at @out. Small pieces are first copied
 * there, so that they and the type are sealed in one call.
 */
static bool seal_content(struct sealing *s, uint8_t type, size_t n, uint8_t *out)
{
	uint8_t *copied = out; /* from here to @out bytes are copied, but not sealed */

	while (n > 0) {
		size_t length = n;
		const uint8_t *p = next_piece(s, &length);

		if (length < COPY_MAX) {
			memcpy(out, p, length);
			out += length;
		} else {
			if (!cipher_update(s->context, copied, copied, (size_t)(out - copied)) ||
			    !cipher_update(s->context, out, p, length))
				return false;
			out += length;
			copied = out;
		}
		n -= length;
	}
	if (s->channel->suite->is_13)
		*out++ = type;
	return cipher_update(s->context, copied, copied, (size_t)(out - copied));
}

/* Seals the next @n bytes as a record. Returns 0 or -ENOTSUP. */
static int seal_record(struct sealing *s, uint8_t type, size_t n)
{
	struct tls_keys *keys = &s->channel->write;
	const struct tls_suite *suite = s->channel->suite;
	size_t explicit = suite->nonce_length;
	size_t sealed_length = n + (suite->is_13 ? 1 : 0) + TLS_TAG_LENGTH;
	uint8_t nonce[TLS_NONCE_LENGTH], additional[ADDITIONAL_MAX];
	uint8_t *header = s->out;
	uint8_t *body = header + TLS_HEADER_LENGTH + explicit;
	int n_additional;

	header[0] = suite->is_13 ? CONTENT_DATA : type;
	header[1] = 3;
	header[2] = 3;
	put_16(header + 3, explicit + sealed_length);
	tls_keys_nonce(keys, suite, nonce);
	memcpy(header + TLS_HEADER_LENGTH, nonce + TLS_NONCE_LENGTH - explicit, explicit);
	n_additional = additional_data(keys, suite, header, n, additional);
	/* even if this fails, no other record may have the same nonce */
	keys->sequence++;
	s->context = tls_keys_context(keys, s->crypto, suite, true);
	if (!s->context || !cipher_begin(s->context, nonce, additional, n_additional) ||
	    !seal_content(s, type, n, body) ||
	    !cipher_finish(s->context, body + sealed_length - TLS_TAG_LENGTH)) {
		ERR_clear_error();
		return -ENOTSUP;
	}
	s->out = body + sealed_length;
	return 0;
}

/* Seals a record of @n bytes at @p, amid the spans. */
static int seal_message(struct sealing *s, uint8_t type, const uint8_t *p, size_t n)
{
	const struct iovec message = {(void *)(uintptr_t)p, n}, *span = s->span;
	size_t offset = s->offset;
	int r;

	s->span = &message;
	s->offset = 0;
	r = seal_record(s, type, n);
	s->span = span;
	s->offset = offset;
	return r;
}

/* Sends a KeyUpdate and changes to the next key. */
static int seal_key_update(struct sealing *s, uint8_t request)
{
	const uint8_t message[] = {KEY_UPDATE, 0, 0, 1, request};
	int r = seal_message(s, CONTENT_HANDSHAKE, message, sizeof(message));

	if (r == 0)
		r = tls_keys_update(&s->channel->write, s->crypto, s->channel->suite);
	s->channel->answer_due = false; /* any KeyUpdate is an answer */
	return r;
}

static int seal_answer(struct sealing *s)
{
	static const uint8_t no_renegotiation[] = {LEVEL_WARNING, TLS_NO_RENEGOTIATION};

	if (s->channel->suite->is_13)
		return seal_key_update(s, UPDATE_NOT_REQUESTED);
	s->channel->answer_due = false;
	return seal_message(s, CONTENT_ALERT, no_renegotiation, sizeof(no_renegotiation));
}

static struct sealing sealing_begin(struct tls_channel *channel, struct tls_crypto *crypto,
				    uint8_t *out)
{
	return (struct sealing){
		.channel = channel,
		.crypto = crypto,
		.out = out,
	};
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

ssize_t tls_channel_seal(struct tls_channel *channel, struct tls_crypto *crypto,
			 const struct iovec *spans, unsigned n_spans, uint8_t *out)
{
	struct sealing s = sealing_begin(channel, crypto, out);
	bool is_13 = channel->suite->is_13;
	size_t left = 0, most = content_max(channel), n_records;
	int r = 0;

	for (unsigned i = 0; i < n_spans; i++)
		left += spans[i].iov_len;
	assert(left <= TLS_SEAL_MAX);
	n_records = (left + most - 1) / most + channel->answer_due;
	if (channel->has_closed || channel->status == TLS_PEER_ERROR)
		return -EPIPE;
	/* one record is reserved for an alert, and in TLS 1.3 one for a KeyUpdate */
	if (!is_13 && channel->write.sequence + n_records >= crypto->records_max)
		return -EOVERFLOW;
	s.span = spans;
	if (channel->answer_due)
		r = seal_answer(&s);
	while (left > 0 && r == 0) {
		size_t n = min_size(left, most);

		if (is_13 && channel->write.sequence + 2 >= crypto->records_max)
			r = seal_key_update(&s, UPDATE_REQUESTED);
		if (r == 0)
			r = seal_record(&s, CONTENT_DATA, n);
		left -= n;
	}
	if (r < 0) {
		/* the peer could open no later record, because some that were sealed are lost */
		channel->has_closed = true;
		return r;
	}
	return s.out - out;
}

size_t tls_channel_seal_alert(struct tls_channel *channel, struct tls_crypto *crypto, uint8_t alert,
			      uint8_t *out)
{
	struct sealing s = sealing_begin(channel, crypto, out);
	const uint8_t message[] = {alert == TLS_CLOSE_NOTIFY ? LEVEL_WARNING : LEVEL_FATAL, alert};

	if (channel->has_closed || channel->status == TLS_PEER_ERROR)
		return 0;
	channel->has_closed = true;
	if (seal_message(&s, CONTENT_ALERT, message, sizeof(message)) < 0)
		return 0;
	return (size_t)(s.out - out);
}

bool tls_channel_must_close(const struct tls_channel *channel, const struct tls_crypto *crypto)
{
	uint64_t half = crypto->records_max / 2; /* if a test has lowered it */
	uint64_t reserve = RECORDS_RESERVE < half ? RECORDS_RESERVE : half;

	return !channel->suite->is_13 && channel->write.sequence + reserve >= crypto->records_max;
}
