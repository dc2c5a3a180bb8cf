#include "tls_fixture.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

const uint16_t tls_suites[TLS_SUITES] = {
	0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9,
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

struct tls_state tls_fixture_state(uint16_t suite, uint8_t seed)
{
	struct tls_state state = {.suite = suite};
	size_t n = tls_suite_secret_length(tls_suite_find(suite));

	for (size_t i = 0; i < n; i++) {
		state.read_secret[i] = (uint8_t)(seed + 3 * i);
		state.write_secret[i] = (uint8_t)(seed + 128 + 5 * i);
	}
	state.read_sequence = state.write_sequence = tls_suite_find(suite)->is_13 ? 0 : 1;
	return state;
}

struct tls_state tls_fixture_peer(const struct tls_state *state)
{
	struct tls_state peer = *state;

	peer.read_sequence = state->write_sequence;
	peer.write_sequence = state->read_sequence;
	memcpy(peer.read_secret, state->write_secret, TLS_SECRET_MAX);
	memcpy(peer.write_secret, state->read_secret, TLS_SECRET_MAX);
	return peer;
}

struct tls_channel tls_fixture_channel(struct tls_crypto *crypto, const struct tls_state *state)
{
	struct tls_channel channel;

	check(tls_channel_init(&channel, crypto, state) == 0);
	return channel;
}

/* Seals @n bytes of @inner in one call, independently of the layer. */
static void seal(const struct tls_channel *from, const uint8_t *additional, int n_additional,
		 const uint8_t nonce[TLS_NONCE_LENGTH], const uint8_t *inner, size_t n,
		 uint8_t *out)
{
	static const char *const names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[from->suite->aead], NULL);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int length;

	check(cipher && context &&
	      EVP_EncryptInit_ex2(context, cipher, from->write.key, nonce, NULL) == 1 &&
	      EVP_EncryptUpdate(context, NULL, &length, additional, n_additional) == 1 &&
	      (n == 0 || EVP_EncryptUpdate(context, out, &length, inner, (int)n) == 1) &&
	      EVP_EncryptFinal_ex(context, out + n, &length) == 1 &&
	      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_LENGTH, out + n) == 1);
	EVP_CIPHER_CTX_free(context);
	EVP_CIPHER_free(cipher);
}

size_t tls_fixture_forge(struct tls_channel *from, uint8_t type, const void *content, size_t n,
			 size_t padding, uint8_t *out)
{
	const struct tls_suite *suite = from->suite;
	size_t n_inner = n + (suite->is_13 && type ? 1 : 0) + (suite->is_13 ? padding : 0);
	size_t length = suite->nonce_length + n_inner + TLS_TAG_LENGTH;
	uint8_t *inner = calloc(1, n_inner + 1);
	uint8_t nonce[TLS_NONCE_LENGTH], additional[13] = {0};
	uint8_t *body = out + TLS_HEADER_LENGTH;

	check(inner != NULL);
	memcpy(inner, content, n);
	if (suite->is_13)
		inner[n] = type; /* type 0: none */
	out[0] = suite->is_13 ? 23 : type;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(length >> 8);
	out[4] = (uint8_t)length;
	for (unsigned i = 0; i < 8; i++)
		additional[i] = (uint8_t)(from->write.sequence >> (56 - 8 * i));
	memcpy(additional + 8, out, 3);
	additional[11] = (uint8_t)(n >> 8);
	additional[12] = (uint8_t)n;
	tls_keys_nonce(&from->write, suite, nonce);
	memcpy(body, nonce + 4, suite->nonce_length);
	seal(from, suite->is_13 ? out : additional, suite->is_13 ? TLS_HEADER_LENGTH : 13, nonce,
	     inner, n_inner, body + suite->nonce_length);
	free(inner);
	from->write.sequence++;
	return TLS_HEADER_LENGTH + length;
}

static uint8_t *copy_of(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);

	check(copy != NULL);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

static void add_data(struct tls_receiver *receiver, const uint8_t *p, size_t n)
{
	if (n > receiver->capacity - receiver->n_data) {
		receiver->capacity = 2 * (receiver->n_data + n);
		receiver->data = realloc(receiver->data, receiver->capacity);
		check(receiver->data != NULL);
	}
	if (n > 0)
		memcpy(receiver->data + receiver->n_data, p, n);
	receiver->n_data += n;
}

/* Keeps the @n bytes at the end of the input. */
static void keep_rest(struct tls_receiver *receiver, const struct tls_input *input, size_t n)
{
	size_t all = input->n_kept + input->n_bytes;
	uint8_t *kept;

	check(n == all || n <= input->n_bytes);
	if (n == all) {
		kept = copy_of(input->kept, input->n_kept);
		kept = realloc(kept, n + 1);
		check(kept != NULL);
		if (input->n_bytes > 0)
			memcpy(kept + input->n_kept, input->bytes, input->n_bytes);
	} else {
		kept = copy_of(input->bytes + input->n_bytes - n, n);
	}
	free(receiver->kept);
	receiver->kept = kept;
	receiver->n_kept = n;
}

enum tls_status tls_receiver_take(struct tls_receiver *receiver, struct tls_crypto *crypto,
				  const uint8_t *bytes, size_t n)
{
	size_t n_input = receiver->n_kept + n;
	uint8_t *kept = copy_of(receiver->kept, receiver->n_kept);
	uint8_t *copy = copy_of(bytes, n), *out = malloc(n_input > 0 ? n_input : 1);
	struct tls_input input = {kept, receiver->n_kept, copy, n};
	enum tls_status before = receiver->channel.status;
	struct tls_opened *last = &receiver->last;

	check(out != NULL);
	*last = tls_channel_open(&receiver->channel, crypto, &input, out);
	check(last->n <= n_input && (before == TLS_OPEN || last->n == 0));
	check(before == TLS_OPEN || last->status == before);
	check(last->status == receiver->channel.status);
	check(last->status == TLS_OPEN
		      ? last->n_rest < last->record_length && last->record_length <= TLS_RECORD_MAX
		      : last->n_rest == 0);
	check(before != TLS_OPEN || (last->reason != NULL) == (last->status > TLS_ENDED));
	add_data(receiver, out, last->n);
	keep_rest(receiver, &input, last->n_rest);
	free(kept);
	free(copy);
	free(out);
	return last->status;
}

void tls_receiver_reset(struct tls_receiver *receiver)
{
	free(receiver->kept);
	free(receiver->data);
	*receiver = (struct tls_receiver){.channel = receiver->channel};
}
