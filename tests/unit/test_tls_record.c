/*
 * tls_record: the traces of RFC 8448, and two ends of the layer against each other. Every suite;
 * records at every split; damaged, moved and oversized records; content types, messages and alerts;
 * floods and limits at N and N+1; states. test_tls_openssl.c compares the layer with OpenSSL.
 */

#include "base/list.h"
#include "tls_fixture.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY_UPDATE "\x18\0\0\x01\0"
#define KEY_UPDATE_REQUEST "\x18\0\0\x01\x01"

static struct tls_crypto crypto;

/* Two ends, and the records that are under way. */
struct pair {
	struct tls_channel client;
	struct tls_receiver server;
	uint8_t *wire; /* the most that one call seals */
};

static struct pair pair_open(uint16_t suite)
{
	struct tls_state state = tls_fixture_state(suite, 7);
	struct tls_state peer = tls_fixture_peer(&state);

	return (struct pair){
		.client = tls_fixture_channel(&crypto, &peer),
		.server.channel = tls_fixture_channel(&crypto, &state),
		.wire = malloc(TLS_SEALED_MAX(TLS_SEAL_MAX)),
	};
}

static void pair_close(struct pair *pair)
{
	static const struct tls_channel wiped;

	tls_receiver_reset(&pair->server);
	tls_channel_finish(&pair->server.channel, &crypto);
	tls_channel_finish(&pair->client, &crypto);
	assert_memory_equal(&pair->client, &wiped, sizeof(wiped));
	tls_channel_finish(&pair->client, &crypto);
	free(pair->wire);
}

static size_t seal(struct tls_channel *from, const void *p, size_t n, uint8_t *out)
{
	const struct iovec span = {(void *)(uintptr_t)p, n};
	ssize_t sealed = tls_channel_seal(from, &crypto, &span, 1, out);

	assert_true(sealed >= 0);
	return (size_t)sealed;
}

static enum tls_status take(struct pair *pair, const uint8_t *p, size_t n)
{
	return tls_receiver_take(&pair->server, &crypto, p, n);
}

/* Sends a forged record. */
static enum tls_status forge(struct pair *pair, uint8_t type, const void *content, size_t n,
			     size_t padding)
{
	uint8_t *record = malloc(TLS_RECORD_MAX + n + padding);
	size_t length = tls_fixture_forge(&pair->client, type, content, n, padding, record);
	enum tls_status status = take(pair, record, length);

	free(record);
	return status;
}

/*
 * Checks that the server has ended with @alert. It replies to what came before, sends the alert,
 * and nothing more.
 */
static void check_failed(struct pair *pair, enum tls_alert alert)
{
	struct tls_channel *server = &pair->server.channel;
	struct tls_receiver client = {.channel = pair->client};
	uint8_t out[TLS_SEALED_MAX(5) + TLS_ALERT_MAX];
	size_t n;

	assert_int_equal(server->status, TLS_ERROR);
	assert_int_equal(server->alert, alert);
	assert_non_null(pair->server.last.reason);
	n = seal(server, "reply", 5, out);
	n += tls_channel_seal_alert(server, &crypto, server->alert, out + n);
	assert_int_equal(tls_receiver_take(&client, &crypto, out, n), TLS_PEER_ERROR);
	assert_int_equal(client.n_data, 5);
	assert_int_equal(tls_channel_seal(server, &crypto, NULL, 0, out), -EPIPE);
	assert_int_equal(client.channel.alert, alert);
	assert_int_equal(tls_channel_seal_alert(server, &crypto, TLS_CLOSE_NOTIFY, out), 0);
	/* no alert answers an alert */
	assert_int_equal(tls_channel_seal_alert(&client.channel, &crypto, TLS_CLOSE_NOTIFY, out),
			 0);
	assert_int_equal(tls_channel_seal(&client.channel, &crypto, NULL, 0, out), -EPIPE);
	tls_receiver_reset(&client);
}

static void check_data(struct pair *pair, const void *data, size_t n)
{
	assert_int_equal(pair->server.n_data, n);
	assert_memory_equal(pair->server.data, data, n);
	pair->server.n_data = 0;
}

/* ---- the traces of RFC 8448, section 3 ---- */

static const char client_secret[] =
	"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
static const char server_secret[] =
	"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
static const char client_data[] =
	"1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20"
	"441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
static const char server_data[] =
	"17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb50"
	"1a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
static const char client_alert[] = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
static const char server_alert[] = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

		out[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return n;
}

static void assert_hex(const uint8_t *p, const char *hex)
{
	uint8_t expected[128];
	size_t n = from_hex(hex, expected);

	assert_memory_equal(p, expected, n);
}

static void test_rfc_8448(void **context)
{
	/* the server's record 0 is a session ticket */
	struct tls_state state = {.suite = 0x1301, .write_sequence = 1};
	struct tls_receiver server = {0};
	uint8_t record[128], out[128], data[50];
	size_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	from_hex(client_secret, state.read_secret);
	from_hex(server_secret, state.write_secret);
	server.channel = tls_fixture_channel(&crypto, &state);
	assert_hex(server.channel.read.key, "17422dda596ed5d9acd890e3c63f5051");
	assert_hex(server.channel.read.iv, "5b78923dee08579033e523d9");
	assert_hex(server.channel.write.key, "9f02283b6c9c07efc26bb9f2ac92e356");
	assert_hex(server.channel.write.iv, "cf782b88dd83549aadf1e984");
	n = from_hex(client_data, record);
	assert_int_equal(tls_receiver_take(&server, &crypto, record, n), TLS_OPEN);
	assert_int_equal(server.n_data, sizeof(data));
	assert_memory_equal(server.data, data, sizeof(data));
	n = seal(&server.channel, data, sizeof(data), out);
	assert_int_equal(n, from_hex(server_data, record));
	assert_memory_equal(out, record, n);
	n = tls_channel_seal_alert(&server.channel, &crypto, TLS_CLOSE_NOTIFY, out);
	assert_int_equal(n, from_hex(server_alert, record));
	assert_memory_equal(out, record, n);
	n = from_hex(client_alert, record);
	assert_int_equal(tls_receiver_take(&server, &crypto, record, n), TLS_ENDED);
	tls_receiver_reset(&server);
	tls_channel_finish(&server.channel, &crypto);
}

/* The next secrets, which other implementations derive from those of the RFC. */
static void test_next_secrets(void **context)
{
	const struct tls_suite *suite = tls_suite_find(0x1301);
	struct tls_keys keys = {.sequence = 5};
	uint8_t secret[TLS_SECRET_MAX];

	from_hex(client_secret, secret);
	assert_int_equal(tls_keys_set(&keys, &crypto, suite, secret), 0);
	assert_int_equal(keys.sequence, 5);
	assert_int_equal(tls_keys_update(&keys, &crypto, suite), 0);
	assert_hex(keys.secret, "fcdfcc72725aaee48bf64e4fd8b749cdbdbab39d90da0b26e2245ca6ea167207");
	assert_int_equal(keys.sequence, 0);
	from_hex(server_secret, secret);
	assert_int_equal(tls_keys_set(&keys, &crypto, suite, secret), 0);
	assert_int_equal(tls_keys_update(&keys, &crypto, suite), 0);
	assert_hex(keys.secret, "51921b8aa3001976eb401d0a4319a8516416a6c56001a357e5d162031e84f916");
}

/* The explicit part counts from the nonce of the handshake, and never leaves its 8 bytes. */
static void test_explicit_nonces(void **context)
{
	const struct tls_suite *suite = tls_suite_find(0xc02f);
	struct tls_keys keys = {.iv = {1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}};
	uint8_t nonce[TLS_NONCE_LENGTH];

	tls_keys_nonce(&keys, suite, nonce);
	assert_hex(nonce, "01020304fffffffffffffffe");
	keys.sequence = 1;
	tls_keys_nonce(&keys, suite, nonce);
	assert_hex(nonce, "01020304ffffffffffffffff");
	keys.sequence = 2;
	tls_keys_nonce(&keys, suite, nonce);
	assert_hex(nonce, "010203040000000000000000");
	keys.sequence = 0x123456;
	tls_keys_nonce(&keys, suite, nonce);
	assert_hex(nonce, "010203040000000000123454");
}

/* ---- data ---- */

/* Sends records of several sizes, which arrive in two parts, cut at each place. */
static void check_splits(uint16_t suite, const size_t *sizes, size_t n_sizes, size_t step)
{
	struct pair pair = pair_open(suite);
	size_t n = 0, n_data = 0;
	uint8_t *data = calloc(1, TLS_SEAL_MAX);
	struct tls_channel start = pair.server.channel;

	for (size_t i = 0; i < TLS_SEAL_MAX; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < n_sizes; i++) {
		n += seal(&pair.client, data + n_data, sizes[i], pair.wire + n);
		n_data += sizes[i];
	}
	for (size_t split = 0; split <= n; split += step) {
		pair.server.channel = start;
		assert_int_equal(take(&pair, pair.wire, split), TLS_OPEN);
		assert_int_equal(take(&pair, pair.wire + split, n - split), TLS_OPEN);
		assert_int_equal(pair.server.n_kept, 0);
		check_data(&pair, data, n_data);
	}
	pair.server.channel = start;
	for (size_t i = 0; i < n && n < 4096; i++)
		assert_int_equal(take(&pair, pair.wire + i, 1), TLS_OPEN);
	if (n < 4096)
		check_data(&pair, data, n_data);
	free(data);
	pair_close(&pair);
}

static void test_splits(void **context)
{
	static const size_t small[] = {1, 15, 16, 17, 200}, large[] = {TLS_CONTENT_MAX, 1};

	for (unsigned i = 0; i < TLS_SUITES; i++) {
		check_splits(tls_suites[i], small, 5, 1);
		check_splits(tls_suites[i], large, 2, 97);
	}
}

/* Replies of many spans, and of the greatest length, arrive whole in as few records as possible. */
static void check_spans(uint16_t suite, size_t n, size_t span_length)
{
	struct pair pair = pair_open(suite);
	uint8_t *data = malloc(n + 1), *out = malloc(TLS_SEALED_MAX(n));
	unsigned n_spans = 0;
	struct iovec *spans = calloc(2 * (n / span_length + 2), sizeof(*spans));
	ssize_t sealed;

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 11 + i / 253);
	for (size_t at = 0; at < n; at += span_length) {
		spans[n_spans++] = (struct iovec){data, 0};
		spans[n_spans++] =
			(struct iovec){data + at, n - at < span_length ? n - at : span_length};
	}
	sealed = tls_channel_seal(&pair.client, &crypto, spans, n_spans, out);
	assert_true(sealed >= 0 && (size_t)sealed <= TLS_SEALED_MAX(n));
	assert_int_equal(take(&pair, out, (size_t)sealed), TLS_OPEN);
	check_data(&pair, data, n);
	assert_int_equal(pair.client.write.sequence - !pair.client.suite->is_13,
			 (n + TLS_CONTENT_MAX - 1) / TLS_CONTENT_MAX);
	free(data);
	free(out);
	free(spans);
	pair_close(&pair);
}

static void test_spans(void **context)
{
	static const size_t lengths[] = {0,	1,     1023,  1024,  1025,
					 16383, 16384, 16385, 65536, TLS_SEAL_MAX};
	static const size_t parts[] = {1, 100, 1023, 1024, 1031, 16384, TLS_SEAL_MAX};

	for (unsigned i = 0; i < TLS_SUITES; i++)
		for (unsigned k = 0; k < sizeof(lengths) / sizeof(*lengths); k++)
			for (unsigned j = lengths[k] > 16385; j < sizeof(parts) / sizeof(*parts);
			     j++)
				check_spans(tls_suites[i], lengths[k], parts[j]);
}

/* Padding and empty records of TLS 1.3 do not change the data. */
static void test_padding(void **context)
{
	static uint8_t data[TLS_CONTENT_MAX];

	for (unsigned i = 0; i < 3; i++) {
		struct pair pair = pair_open(tls_suites[i]);

		memset(data, 0, sizeof(data));
		data[sizeof(data) - 1] = 1;
		for (size_t padding = 0; padding < 300; padding++) {
			assert_int_equal(forge(&pair, 23, data, 3, padding), TLS_OPEN);
			check_data(&pair, "\0\0\0", 3);
		}
		assert_int_equal(forge(&pair, 23, data, 0, TLS_CONTENT_MAX), TLS_OPEN);
		assert_int_equal(forge(&pair, 23, data, 100, TLS_CONTENT_MAX - 100), TLS_OPEN);
		check_data(&pair, data, 100);
		assert_int_equal(forge(&pair, 23, data, sizeof(data), 0), TLS_OPEN);
		check_data(&pair, data, sizeof(data));
		assert_int_equal(forge(&pair, 23, data, 100, TLS_CONTENT_MAX - 99), TLS_ERROR);
		check_failed(&pair, TLS_RECORD_OVERFLOW);
		pair_close(&pair);
	}
}

/* ---- attacks ---- */

/* Returns the alert for a record whose bit @bit was flipped, with enough bytes after it. */
static enum tls_alert alert_for_bit(const struct tls_suite *suite, size_t bit, size_t length)
{
	size_t most = TLS_CONTENT_MAX + TLS_TAG_LENGTH + (suite->is_13 ? 1 : suite->nonce_length);

	if (bit < 8 && (suite->is_13 || bit > 1)) /* 23 becomes 22 or 21, which exist in 1.2 */
		return TLS_UNEXPECTED_MESSAGE;
	if (bit >= 8 && bit < 24 && !suite->is_13)
		return TLS_PROTOCOL_VERSION;
	if (bit >= 24 && bit < 32 && (length ^ (size_t)1 << (bit - 24 + 8)) > most)
		return TLS_RECORD_OVERFLOW;
	return TLS_BAD_RECORD_MAC;
}

static void check_flips(uint16_t suite, size_t n, size_t step)
{
	struct pair pair = pair_open(suite);
	struct tls_channel start = pair.server.channel;
	uint8_t data[300] = "data before the damage";
	size_t before = seal(&pair.client, data, 22, pair.wire);
	size_t length = seal(&pair.client, data, n, pair.wire + before);

	memset(pair.wire + before + length, 0, 2 * TLS_RECORD_MAX);
	for (size_t bit = 0; bit < 8 * length; bit += step) {
		pair.server.channel = start;
		pair.wire[before + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(take(&pair, pair.wire, before + length + TLS_RECORD_MAX),
				 TLS_ERROR);
		check_data(&pair, data, 22);
		check_failed(&pair, alert_for_bit(pair.client.suite, bit, length - 5));
		pair.wire[before + bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* what follows is ignored, even if it is authentic */
		assert_int_equal(take(&pair, pair.wire + before, length), TLS_ERROR);
		check_data(&pair, NULL, 0);
	}
	pair_close(&pair);
}

static void test_every_bit_flipped(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		check_flips(tls_suites[i], 1, 1);
		check_flips(tls_suites[i], 40, 1);
		check_flips(tls_suites[i], 300, 13);
	}
}

/* The contents of a record that is not authentic do not reach the memory of the caller. */
static void test_no_unauthentic_bytes(void **context)
{
	static const char text[] = "sixteen bytes at least";

	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		size_t n = seal(&pair.client, text, sizeof(text), pair.wire);
		struct tls_input input = {NULL, 0, pair.wire, n};
		uint8_t out[128] = {0};

		pair.wire[n - 1] ^= 1;
		assert_int_equal(
			tls_channel_open(&pair.server.channel, &crypto, &input, out).status,
			TLS_ERROR);
		assert_null(memmem(out, sizeof(out), text, 8));
		pair_close(&pair);
	}
}

/* Records that are repeated, exchanged, or left out. */
static void test_moved_records(void **context)
{
	static const uint8_t orders[][3] = {{0, 0, 1}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}, {0, 1, 1}};
	static const unsigned n_good[] = {1, 0, 0, 1, 2};

	for (unsigned i = 0; i < TLS_SUITES; i++) {
		for (unsigned k = 0; k < sizeof(orders) / sizeof(*orders); k++) {
			struct pair pair = pair_open(tls_suites[i]);
			uint8_t records[3][64];
			size_t n = 0;

			for (unsigned j = 0; j < 3; j++)
				n = seal(&pair.client, "same", 4, records[j]);
			for (unsigned j = 0; j <= n_good[k]; j++)
				assert_int_equal(take(&pair, records[orders[k][j]], n),
						 j < n_good[k] ? TLS_OPEN : TLS_ERROR);
			assert_int_equal(pair.server.n_data, 4 * n_good[k]);
			check_failed(&pair, TLS_BAD_RECORD_MAC);
			pair_close(&pair);
		}
	}
}

/* A record that ends early is never used; one that claims to be shorter is not authentic. */
static void test_truncated_records(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_channel start = pair.server.channel;
		size_t n = seal(&pair.client, "four", 4, pair.wire);

		for (size_t length = 0; length < n; length++) {
			pair.server.channel = start;
			assert_int_equal(take(&pair, pair.wire, length), TLS_OPEN);
			assert_int_equal(pair.server.n_kept, length);
			check_data(&pair, NULL, 0);
			tls_receiver_reset(&pair.server);
		}
		for (size_t length = TLS_HEADER_LENGTH; length < n; length++) {
			pair.server.channel = start;
			pair.wire[4] = (uint8_t)(length - TLS_HEADER_LENGTH);
			assert_int_equal(take(&pair, pair.wire, length), TLS_ERROR);
			check_data(&pair, NULL, 0);
			check_failed(&pair, TLS_BAD_RECORD_MAC);
		}
		pair_close(&pair);
	}
}

/* The longest content, one byte more, and headers alone that announce too much. */
static void test_record_lengths(void **context)
{
	static uint8_t data[TLS_CONTENT_MAX + 1];

	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		const struct tls_suite *suite = pair.client.suite;
		size_t most =
			TLS_CONTENT_MAX + TLS_TAG_LENGTH + (suite->is_13 ? 1 : suite->nonce_length);
		struct tls_channel start;
		uint8_t header[] = {23, 3, 3, (uint8_t)(most >> 8), (uint8_t)most};

		assert_int_equal(forge(&pair, 23, data, TLS_CONTENT_MAX, 0), TLS_OPEN);
		check_data(&pair, data, TLS_CONTENT_MAX);
		start = pair.server.channel;
		assert_int_equal(take(&pair, header, sizeof(header)), TLS_OPEN);
		assert_int_equal(pair.server.last.record_length, most + TLS_HEADER_LENGTH);
		tls_receiver_reset(&pair.server);
		for (unsigned more = 1; more <= 2; more++) {
			pair.server.channel = start;
			header[3] = (uint8_t)((most + more) >> 8);
			header[4] = (uint8_t)(most + more);
			assert_int_equal(take(&pair, header, sizeof(header)), TLS_ERROR);
			check_failed(&pair, TLS_RECORD_OVERFLOW);
		}
		pair.server.channel = start;
		assert_int_equal(forge(&pair, 23, data, TLS_CONTENT_MAX + 1, 0), TLS_ERROR);
		check_failed(&pair, TLS_RECORD_OVERFLOW);
		check_data(&pair, NULL, 0);
		pair_close(&pair);
	}
}

/* ---- contents ---- */

static const struct {
	bool is_13;
	uint8_t type;
	const char *content;
	size_t n;
	enum tls_status status;
	uint8_t alert;
	uint8_t answer_due;
} contents[] = {
	/* data and padding without a type */
	{true, 0, "", 0, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 0, "\0\0\0", 3, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 23, "", 0, TLS_OPEN, 0, 0},
	{false, 23, "", 0, TLS_OPEN, 0, 0},
	/* types that do not exist, or not any more */
	{true, 20, "\1", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 24, "x", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 255, "x", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 20, "\1", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 24, "x", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 0, "x", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	/* empty messages */
	{true, 21, "", 0, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "", 0, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 21, "", 0, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 22, "", 0, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	/* alerts */
	{true, 21, "\1\0", 2, TLS_ENDED, 0, 0},
	{true, 21, "\2\0", 2, TLS_ENDED, 0, 0},
	{true, 21, "\1\x5a", 2, TLS_OPEN, 0, 0},
	{true, 21, "\2\x5a", 2, TLS_OPEN, 0, 0},
	{true, 21, "\1\x64", 2, TLS_PEER_ERROR, 100, 0},
	{true, 21, "\2\x14", 2, TLS_PEER_ERROR, 20, 0},
	{true, 21, "\0\xff", 2, TLS_PEER_ERROR, 255, 0},
	{true, 21, "\1", 1, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 21, "\1\0\1", 3, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 21, "\1\x5a\1\0", 4, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{false, 21, "\1\0", 2, TLS_ENDED, 0, 0},
	{false, 21, "\2\0", 2, TLS_ENDED, 0, 0},
	{false, 21, "\1\x5a", 2, TLS_OPEN, 0, 0},
	{false, 21, "\2\x5a", 2, TLS_PEER_ERROR, 90, 0},
	{false, 21, "\2\xff", 2, TLS_PEER_ERROR, 255, 0},
	{false, 21, "\1\xff", 2, TLS_OPEN, 0, 0},
	{false, 21, "\3\x14", 2, TLS_ERROR, TLS_ILLEGAL_PARAMETER, 0},
	{false, 21, "\0\x14", 2, TLS_ERROR, TLS_ILLEGAL_PARAMETER, 0},
	{false, 21, "\1", 1, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{false, 21, "\1\0\1\0", 4, TLS_ERROR, TLS_DECODE_ERROR, 0},
	/* KeyUpdate, and other messages of TLS 1.3 */
	{true, 22, KEY_UPDATE, 5, TLS_OPEN, 0, 0},
	{true, 22, KEY_UPDATE_REQUEST, 5, TLS_OPEN, 0, 1},
	{true, 22, "\x18\0\0\1\2", 5, TLS_ERROR, TLS_ILLEGAL_PARAMETER, 0},
	{true, 22, "\x18\0\0\1\xff", 5, TLS_ERROR, TLS_ILLEGAL_PARAMETER, 0},
	{true, 22, "\x18\0\0\0", 4, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 22, "\x18\0\0\2\0\0", 6, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 22, "\x18\0\1\1\0", 5, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 22, "\x18\1\0\1\0", 5, TLS_ERROR, TLS_DECODE_ERROR, 0},
	{true, 22, KEY_UPDATE KEY_UPDATE, 10, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, KEY_UPDATE "\0", 6, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "\1\0\0\2\3\3", 6, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "\4\0\0\1\0", 5, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "\x0b\0\0\1\0", 5, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "\x14\0\0\1\0", 5, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{true, 22, "\0", 1, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	/* a renegotiation, and other messages of TLS 1.2 */
	{false, 22, "\1\0\0\2\3\3", 6, TLS_OPEN, 0, 1},
	{false, 22, "\1\0\0\0", 4, TLS_OPEN, 0, 1},
	{false, 22, "\1\0\0\0\1\0\0\0", 8, TLS_OPEN, 0, 1},
	{false, 22, "\1\0\0\1\3\x0b", 6, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 1},
	{false, 22, "\0\0\0\0", 4, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 22, "\x10\0\0\0", 4, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
	{false, 22, KEY_UPDATE, 5, TLS_ERROR, TLS_UNEXPECTED_MESSAGE, 0},
};

static void test_contents(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		for (unsigned k = 0; k < sizeof(contents) / sizeof(*contents); k++) {
			struct pair pair = pair_open(tls_suites[i]);
			struct tls_channel *server = &pair.server.channel;

			if (server->suite->is_13 != contents[k].is_13) {
				pair_close(&pair);
				continue;
			}
			assert_int_equal(forge(&pair, 23, "before", 6, 0), TLS_OPEN);
			assert_int_equal(forge(&pair, contents[k].type, contents[k].content,
					       contents[k].n, 0),
					 contents[k].status);
			check_data(&pair, "before", 6);
			assert_int_equal(server->answer_due, contents[k].answer_due);
			if (contents[k].status == TLS_ERROR)
				check_failed(&pair, contents[k].alert);
			if (contents[k].status == TLS_PEER_ERROR)
				assert_int_equal(server->alert, contents[k].alert);
			pair_close(&pair);
		}
	}
}

/* Data that follow close_notify are ignored, and the own side stays open. */
static void test_close_notify(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_receiver client = {0};
		size_t n = seal(&pair.client, "last", 4, pair.wire);

		client.channel = pair.client;
		n += tls_channel_seal_alert(&pair.client, &crypto, TLS_CLOSE_NOTIFY, pair.wire + n);
		assert_int_equal(tls_channel_seal(&pair.client, &crypto, NULL, 0, pair.wire),
				 -EPIPE);
		memset(pair.wire + n, 0x55, 100);
		assert_int_equal(take(&pair, pair.wire, n + 100), TLS_ENDED);
		check_data(&pair, "last", 4);
		assert_int_equal(take(&pair, pair.wire, 100), TLS_ENDED);
		n = seal(&pair.server.channel, "reply", 5, pair.wire);
		n += tls_channel_seal_alert(&pair.server.channel, &crypto, TLS_CLOSE_NOTIFY,
					    pair.wire + n);
		assert_int_equal(tls_receiver_take(&client, &crypto, pair.wire, n), TLS_ENDED);
		assert_int_equal(client.n_data, 5);
		tls_receiver_reset(&client);
		pair_close(&pair);
	}
}

/* ---- KeyUpdate ---- */

/* Sends a KeyUpdate as the layer itself never does: without being asked. */
static enum tls_status send_key_update(struct pair *pair, const char *message)
{
	enum tls_status status = forge(pair, 22, message, 5, 0);

	assert_int_equal(tls_keys_update(&pair->client.write, &crypto, pair->client.suite), 0);
	return status;
}

static void test_key_updates(void **context)
{
	for (unsigned i = 0; i < 3; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_receiver client = {.channel = pair.client};
		uint8_t secret[TLS_SECRET_MAX];
		size_t n;

		for (unsigned k = 0; k < 300; k++) {
			assert_int_equal(
				send_key_update(&pair, k % 3 ? KEY_UPDATE : KEY_UPDATE_REQUEST),
				TLS_OPEN);
			assert_int_equal(forge(&pair, 23, "data", 4, k), TLS_OPEN);
			check_data(&pair, "data", 4);
		}
		/* a hundred requests have one answer, before the next data */
		memcpy(secret, pair.server.channel.write.secret, sizeof(secret));
		assert_true(tls_channel_is_answer_due(&pair.server.channel));
		n = seal(&pair.server.channel, "reply", 5, pair.wire);
		assert_false(tls_channel_is_answer_due(&pair.server.channel));
		assert_memory_not_equal(secret, pair.server.channel.write.secret, sizeof(secret));
		assert_int_equal(pair.server.channel.write.sequence, 1);
		assert_int_equal(tls_receiver_take(&client, &crypto, pair.wire, n), TLS_OPEN);
		assert_int_equal(client.n_data, 5);
		assert_false(tls_channel_is_answer_due(&client.channel));
		/* an answer without data */
		assert_int_equal(send_key_update(&pair, KEY_UPDATE_REQUEST), TLS_OPEN);
		n = seal(&pair.server.channel, NULL, 0, pair.wire);
		assert_int_equal(n, TLS_HEADER_LENGTH + 5 + 1 + TLS_TAG_LENGTH);
		assert_int_equal(tls_receiver_take(&client, &crypto, pair.wire, n), TLS_OPEN);
		assert_int_equal(client.channel.read.sequence, 0);
		tls_receiver_reset(&client);
		pair_close(&pair);
	}
}

/* After the own end there is no answer, so a caller need not send it. */
static void test_no_answer_after_the_end(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_channel *server = &pair.server.channel;
		bool is_13 = server->suite->is_13;
		const char *request = is_13 ? KEY_UPDATE_REQUEST : "\1\0\0\1\0";

		assert_int_equal(forge(&pair, 22, request, 5, 0), TLS_OPEN);
		assert_true(tls_channel_is_answer_due(server));
		if (is_13)
			tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
		tls_channel_seal_alert(server, &crypto, TLS_CLOSE_NOTIFY, pair.wire);
		assert_false(tls_channel_is_answer_due(server));
		assert_int_equal(forge(&pair, 22, request, 5, 0), TLS_OPEN);
		assert_false(tls_channel_is_answer_due(server));
		pair_close(&pair);

		pair = pair_open(tls_suites[i]);
		assert_int_equal(forge(&pair, 22, request, 5, 0), TLS_OPEN);
		if (is_13)
			tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
		assert_int_equal(forge(&pair, 21, "\2\x50", 2, 0), TLS_PEER_ERROR);
		assert_false(tls_channel_is_answer_due(&pair.server.channel));
		pair_close(&pair);
	}
}

/* A KeyUpdate that is spread over records, at each place; and one that is interrupted. */
static void test_cut_key_updates(void **context)
{
	for (unsigned split = 1; split < 5; split++) {
		struct pair pair = pair_open(0x1302);

		assert_int_equal(forge(&pair, 22, KEY_UPDATE_REQUEST, split, 0), TLS_OPEN);
		assert_int_equal(forge(&pair, 22, &KEY_UPDATE_REQUEST[split], 5 - split, 3),
				 TLS_OPEN);
		tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
		assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_OPEN);
		check_data(&pair, "data", 4);
		assert_int_equal(forge(&pair, 22, KEY_UPDATE, split, 0), TLS_OPEN);
		assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_ERROR);
		check_failed(&pair, TLS_UNEXPECTED_MESSAGE);
		check_data(&pair, NULL, 0);
		pair_close(&pair);
	}
}

/* After a KeyUpdate, a record with the old key is not authentic. */
static void test_old_key(void **context)
{
	struct pair pair = pair_open(0x1301);

	assert_int_equal(forge(&pair, 22, KEY_UPDATE, 5, 0), TLS_OPEN);
	assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_ERROR);
	check_failed(&pair, TLS_BAD_RECORD_MAC);
	pair_close(&pair);
}

/* The same without having received a KeyUpdate. */
static void test_new_key_too_early(void **context)
{
	struct pair pair = pair_open(0x1301);

	tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
	assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_ERROR);
	check_failed(&pair, TLS_BAD_RECORD_MAC);
	pair_close(&pair);
}

/* ---- TLS 1.2: renegotiation ---- */

static void test_renegotiation(void **context)
{
	static const uint8_t hello[300] = {1, 0, 1, 0x28};

	for (unsigned i = 3; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_receiver client = {.channel = pair.client};
		uint8_t idle;
		size_t n;

		/* cut in the header and in the body, with data between the parts */
		assert_int_equal(forge(&pair, 22, hello, 2, 0), TLS_OPEN);
		assert_false(tls_channel_is_answer_due(&pair.server.channel));
		assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_OPEN);
		assert_int_equal(forge(&pair, 22, hello + 2, 100, 0), TLS_OPEN);
		assert_true(tls_channel_is_answer_due(&pair.server.channel));
		assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_OPEN);
		assert_int_equal(forge(&pair, 22, hello + 102, 198, 0), TLS_OPEN);
		assert_int_equal(pair.server.channel.message_left, 0);
		check_data(&pair, "datadata", 8);
		idle = client.channel.idle_records;
		n = seal(&pair.server.channel, "reply", 5, pair.wire);
		assert_int_equal(tls_receiver_take(&client, &crypto, pair.wire, n), TLS_OPEN);
		assert_int_equal(client.n_data, 5);
		assert_int_equal(client.channel.idle_records, idle);
		assert_int_equal(pair.server.channel.write.sequence, 3);
		assert_false(tls_channel_is_answer_due(&pair.server.channel));
		/* the client may go on */
		assert_int_equal(forge(&pair, 23, "more", 4, 0), TLS_OPEN);
		check_data(&pair, "more", 4);
		tls_receiver_reset(&client);
		pair_close(&pair);
	}
}

/* ---- floods and limits ---- */

static const struct {
	bool is_13;
	uint8_t type;
	const char *content;
	size_t n;
} floods[] = {
	{true, 23, "", 0},	    {true, 21, "\1\x5a", 2},
	{true, 22, KEY_UPDATE, 5},  {true, 22, KEY_UPDATE_REQUEST, 5},
	{false, 23, "", 0},	    {false, 21, "\1\x64", 2},
	{false, 22, "\1\0\0\0", 4},
};

static void test_floods(void **context)
{
	for (unsigned i = 0; i < sizeof(floods) / sizeof(*floods); i++) {
		struct pair pair = pair_open(floods[i].is_13 ? 0x1301 : 0xc02f);

		for (unsigned k = 0; k < 3 * TLS_IDLE_RECORDS_MAX + 1; k++) {
			/* data end a row of records without data */
			if (k % TLS_IDLE_RECORDS_MAX == 0)
				assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_OPEN);
			assert_int_equal(
				forge(&pair, floods[i].type, floods[i].content, floods[i].n, 0),
				TLS_OPEN);
			if (floods[i].type == 22 && floods[i].is_13)
				tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
		}
		for (unsigned k = 1; k < TLS_IDLE_RECORDS_MAX; k++)
			assert_int_equal(forge(&pair, 23, "", 0, 0), TLS_OPEN);
		assert_int_equal(forge(&pair, floods[i].type, floods[i].content, floods[i].n, 0),
				 TLS_ERROR);
		check_failed(&pair, TLS_UNEXPECTED_MESSAGE);
		pair_close(&pair);
	}
}

/* No key of TLS 1.3 seals more records than permitted, and the peer follows. */
static void test_own_key_updates(void **context)
{
	static uint8_t data[TLS_SEAL_MAX];

	crypto.records_max = 32;
	for (unsigned i = 0; i < 3; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_receiver client = {.channel = pair.client};
		uint64_t last = 0, n_updates = 0;

		for (unsigned k = 0; k < 200; k++) {
			size_t n = seal(&pair.server.channel, data, k % 7 ? k : sizeof(data),
					pair.wire);

			assert_true(n <= TLS_SEALED_MAX(k % 7 ? k : sizeof(data)));
			assert_int_equal(tls_receiver_take(&client, &crypto, pair.wire, n),
					 TLS_OPEN);
			assert_true(client.channel.read.sequence <= crypto.records_max - 2);
			if (client.channel.read.sequence < last) {
				n_updates++;
				/* the peer is asked to change its key, too */
				assert_true(client.channel.answer_due);
				n = seal(&client.channel, NULL, 0, pair.wire);
				assert_int_equal(take(&pair, pair.wire, n), TLS_OPEN);
				assert_false(pair.server.channel.answer_due);
				pair.server.channel.idle_records = 0;
			}
			last = client.channel.read.sequence;
			client.n_data = 0;
		}
		assert_true(n_updates > 15);
		/* an alert has room after the last record */
		while (pair.server.channel.write.sequence + 2 < crypto.records_max)
			seal(&pair.server.channel, data, 1, pair.wire);
		assert_int_not_equal(tls_channel_seal_alert(&pair.server.channel, &crypto,
							    TLS_CLOSE_NOTIFY, pair.wire),
				     0);
		tls_receiver_reset(&client);
		pair_close(&pair);
	}
	crypto.records_max = TLS_RECORDS_MAX;
}

/* In TLS 1.2 it asks for the end of the connection, and then stops. */
static void test_worn_keys(void **context)
{
	static uint8_t data[3 * TLS_CONTENT_MAX];
	const struct iovec one = {data, 1}, three = {data, sizeof(data)};

	crypto.records_max = 100;
	for (unsigned i = 3; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_channel *server = &pair.server.channel;

		while (server->write.sequence < 100 - 50) {
			assert_false(tls_channel_must_close(server, &crypto));
			seal(server, data, 1, pair.wire);
		}
		assert_true(tls_channel_must_close(server, &crypto));
		while (server->write.sequence < 97)
			seal(server, data, 1, pair.wire);
		/* records 97 and 98 are left, and 99 for the alert */
		assert_int_equal(tls_channel_seal(server, &crypto, &three, 1, pair.wire),
				 -EOVERFLOW);
		assert_int_equal(server->write.sequence, 97);
		seal(server, data, sizeof(data) - TLS_CONTENT_MAX, pair.wire);
		assert_int_equal(tls_channel_seal(server, &crypto, &one, 1, pair.wire), -EOVERFLOW);
		server->answer_due = true;
		assert_int_equal(tls_channel_seal(server, &crypto, NULL, 0, pair.wire), -EOVERFLOW);
		assert_int_not_equal(
			tls_channel_seal_alert(server, &crypto, TLS_CLOSE_NOTIFY, pair.wire), 0);
		assert_int_equal(server->write.sequence, 100);
		pair_close(&pair);
	}
	crypto.records_max = TLS_RECORDS_MAX;
}

static void test_last_sequence_number(void **context)
{
	struct pair pair = pair_open(0x1303);

	pair.server.channel.read.sequence = UINT64_MAX - 1;
	pair.client.write.sequence = UINT64_MAX - 1;
	assert_int_equal(forge(&pair, 23, "last", 4, 0), TLS_OPEN);
	check_data(&pair, "last", 4);
	pair.client.write.sequence = UINT64_MAX;
	assert_int_equal(forge(&pair, 23, "more", 4, 0), TLS_ERROR);
	check_failed(&pair, TLS_INTERNAL_ERROR);
	pair_close(&pair);
}

/* ---- states ---- */

/* A connection goes on from a state, amid a record and amid a handshake message. */
static void test_saved_states(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		bool is_13 = pair.client.suite->is_13;
		const char *message = is_13 ? KEY_UPDATE_REQUEST : "\1\0\0\1\0";

		for (unsigned k = 0; k < 20; k++) {
			struct tls_state state, again;
			size_t part = 1 + k % 4;
			size_t n = seal(&pair.client, "some data", 9, pair.wire);

			assert_int_equal(take(&pair, pair.wire, k), TLS_OPEN);
			tls_channel_save(&pair.server.channel, &state);
			tls_channel_finish(&pair.server.channel, &crypto);
			pair.server.channel = tls_fixture_channel(&crypto, &state);
			tls_channel_save(&pair.server.channel, &again);
			assert_memory_equal(&state, &again, sizeof(state));
			assert_int_equal(take(&pair, pair.wire + k, n - k), TLS_OPEN);
			check_data(&pair, "some data", 9);
			assert_int_equal(forge(&pair, 22, message, part, 0), TLS_OPEN);
			tls_channel_save(&pair.server.channel, &state);
			pair.server.channel = tls_fixture_channel(&crypto, &state);
			assert_int_equal(forge(&pair, 22, message + part, 5 - part, 0), TLS_OPEN);
			if (is_13)
				tls_keys_update(&pair.client.write, &crypto, pair.client.suite);
			assert_true(pair.server.channel.answer_due);
		}
		pair_close(&pair);
	}
}

/* The count of records without data, and both ends, are parts of a state. */
static void test_saved_ends(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_channel *server = &pair.server.channel;
		struct tls_state state;

		for (unsigned k = 0; k < TLS_IDLE_RECORDS_MAX; k++)
			assert_int_equal(forge(&pair, 23, "", 0, 0), TLS_OPEN);
		tls_channel_save(server, &state);
		*server = tls_fixture_channel(&crypto, &state);
		assert_int_equal(forge(&pair, 23, "", 0, 0), TLS_ERROR);
		pair_close(&pair);

		pair = pair_open(tls_suites[i]);
		tls_channel_seal_alert(server, &crypto, TLS_CLOSE_NOTIFY, pair.wire);
		tls_channel_save(server, &state);
		*server = tls_fixture_channel(&crypto, &state);
		assert_int_equal(tls_channel_seal(server, &crypto, NULL, 0, pair.wire), -EPIPE);
		assert_int_equal(forge(&pair, 21, "\1", 2, 0), TLS_ENDED);
		tls_channel_save(server, &state);
		*server = tls_fixture_channel(&crypto, &state);
		assert_int_equal(forge(&pair, 23, "data", 4, 0), TLS_ENDED);
		check_data(&pair, NULL, 0);
		pair_close(&pair);
	}
}

static void check_state(const struct tls_state *state, int expected)
{
	struct tls_channel channel = {0};

	assert_int_equal(tls_channel_init(&channel, &crypto, state), expected);
	tls_channel_finish(&channel, &crypto);
}

#define CHECK_CHANGED(state, change, expected)                                                     \
	do {                                                                                       \
		struct tls_state changed = *(state);                                               \
		changed.change;                                                                    \
		check_state(&changed, expected);                                                   \
	} while (0)

static void test_invalid_states(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct tls_state state = tls_fixture_state(tls_suites[i], 3);
		bool is_13 = tls_suite_find(state.suite)->is_13;
		size_t n = tls_suite_secret_length(tls_suite_find(state.suite));
		uint8_t secret[TLS_SECRET_MAX];

		check_state(&state, 0);
		CHECK_CHANGED(&state, write_sequence = TLS_RECORDS_MAX - 1, 0);
		CHECK_CHANGED(&state, write_sequence = TLS_RECORDS_MAX, -EBADMSG);
		CHECK_CHANGED(&state, read_sequence = UINT64_MAX - 1, 0);
		CHECK_CHANGED(&state, read_sequence = UINT64_MAX, -EBADMSG);
		CHECK_CHANGED(&state, read_sequence = 0, is_13 ? 0 : -EBADMSG);
		CHECK_CHANGED(&state, write_sequence = 0, is_13 ? 0 : -EBADMSG);
		CHECK_CHANGED(&state, answer_due = 1, 0);
		CHECK_CHANGED(&state, answer_due = 2, -EBADMSG);
		CHECK_CHANGED(&state, has_ended = 2, -EBADMSG);
		CHECK_CHANGED(&state, has_closed = 2, -EBADMSG);
		CHECK_CHANGED(&state, idle_records = TLS_IDLE_RECORDS_MAX, 0);
		CHECK_CHANGED(&state, idle_records = TLS_IDLE_RECORDS_MAX + 1, -EBADMSG);
		CHECK_CHANGED(&state, fragment = 4, 0);
		CHECK_CHANGED(&state, fragment = 5, -EBADMSG);
		CHECK_CHANGED(&state, message[0] = 1, -EBADMSG);
		CHECK_CHANGED(&state, message_left = (1 << 24) - 1, is_13 ? -EBADMSG : 0);
		CHECK_CHANGED(&state, message_left = 1 << 24, -EBADMSG);
		CHECK_CHANGED(&state, message_length = 5, -EBADMSG);
		for (size_t k = n; k < TLS_SECRET_MAX; k++) {
			CHECK_CHANGED(&state, read_secret[k] = 1, -EBADMSG);
			CHECK_CHANGED(&state, write_secret[k] = 1, -EBADMSG);
		}
		/* a handshake that has left no secret */
		memcpy(secret, state.read_secret, n);
		memset(state.read_secret, 0, n);
		check_state(&state, -EBADMSG);
		memcpy(state.read_secret, secret, n);
		memset(state.write_secret, 0, n);
		check_state(&state, -EBADMSG);
		CHECK_CHANGED(&state, write_secret[n - 1] = 1, 0);
		memcpy(state.write_secret, secret, n);
		state.message_length = 1;
		CHECK_CHANGED(&state, message[0] = 24, is_13 ? 0 : -EBADMSG);
		CHECK_CHANGED(&state, message[0] = 1, is_13 ? -EBADMSG : 0);
		state.message[0] = is_13 ? 24 : 1;
		CHECK_CHANGED(&state, message[1] = 1, -EBADMSG);
		CHECK_CHANGED(&state, message_left = 1, -EBADMSG);
		state.message_length = 4;
		state.message[3] = 1;
		check_state(&state, is_13 ? 0 : -EBADMSG);
	}
}

static void test_unknown_suites(void **context)
{
	struct tls_state state = tls_fixture_state(0x1301, 3);
	unsigned n = 0;

	for (unsigned number = 0; number <= UINT16_MAX; number++) {
		state.suite = (uint16_t)number;
		if (tls_suite_find(state.suite)) {
			n++;
			continue;
		}
		check_state(&state, -EBADMSG);
	}
	assert_int_equal(n, TLS_SUITES);
	state.suite = 0x1301;
	assert_int_equal(tls_state_expand(&state, &crypto, state.read_secret, state.read_secret,
					  state.read_secret, state.read_secret),
			 -EINVAL);
}

/* A state of another process may contain anything as the beginning of a record. */
static void test_kept_whole_record(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		size_t n = seal(&pair.client, "data", 4, pair.wire);
		struct tls_input input = {pair.wire, n, NULL, 0};
		uint8_t out[128];
		struct tls_opened opened =
			tls_channel_open(&pair.server.channel, &crypto, &input, out);

		assert_int_equal(opened.status, TLS_ERROR);
		assert_int_equal(opened.n, 0);
		assert_int_equal(opened.n_rest, 0);
		pair_close(&pair);
	}
}

static void test_wiped_state(void **context)
{
	static const struct tls_state zeros;
	struct tls_state state = tls_fixture_state(0x1302, 9);

	tls_state_wipe(&state);
	assert_memory_equal(&state, &zeros, sizeof(state));
	check_state(&state, -EBADMSG);
}

/* A system may lack an AEAD. */
static void test_absent_aead(void **context)
{
	struct tls_state state = tls_fixture_state(0x1303, 9);
	struct tls_contexts *contexts = &crypto.aeads[TLS_CHACHA20_POLY1305];
	EVP_CIPHER *saved = contexts->cipher;

	contexts->cipher = NULL;
	check_state(&state, -ENOTSUP);
	contexts->cipher = saved;
	check_state(&state, 0);
}

/* ---- memory ---- */

static unsigned long n_allocations, failing; /* the number of the one that fails; 0: none */

/* The memory that libcrypto holds, in a list. */
struct block {
	struct list node;
	size_t n;
	_Alignas(16) uint8_t bytes[];
};

static struct list blocks = {&blocks, &blocks};

static void *counted_malloc(size_t n, const char *file, int line)
{
	struct block *block;

	if (++n_allocations == failing || n == 0)
		return NULL;
	block = calloc(1, sizeof(*block) + n); /* for valgrind, as all of it is searched */
	assert_non_null(block);
	block->n = n;
	list_append(&blocks, &block->node);
	return block->bytes;
}

static struct block *block_of(void *p)
{
	return (struct block *)((uint8_t *)p - offsetof(struct block, bytes));
}

static void counted_free(void *p, const char *file, int line)
{
	if (!p)
		return;
	list_remove(&block_of(p)->node);
	free(block_of(p));
}

static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
	void *new = counted_malloc(n, file, line);

	if (new &&p)
		memcpy(new, p, block_of(p)->n < n ? block_of(p)->n : n);
	if (new || n == 0)
		counted_free(p, file, line);
	return new;
}

/*
 * Returns whether libcrypto holds a key, as it is or as 32-bit words of the other byte order: some
 * ciphers on some processors convert it.
 */
static bool libcrypto_holds(const uint8_t *key, size_t n)
{
	uint8_t words[TLS_SECRET_MAX];
	struct block *block;

	for (size_t i = 0; i < n; i++)
		words[i] = key[i ^ 3];
	list_for_each (block, &blocks, node)
		if (memmem(block->bytes, block->n, key, n) ||
		    memmem(block->bytes, block->n, words, n))
			return true;
	return false;
}

/* The contexts have the keys of the last connection, and lose them with it. */
static void test_keys_are_forgotten(void **context)
{
	tls_crypto_finish(&crypto); /* other tests leave keys */
	assert_int_equal(tls_crypto_init(&crypto), 0);
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		struct tls_keys read = pair.server.channel.read, write = pair.server.channel.write;
		size_t n = seal(&pair.client, "data", 4, pair.wire);
		assert_int_equal(take(&pair, pair.wire, n), TLS_OPEN);
		assert_true(libcrypto_holds(read.key, pair.client.suite->key_length));
		if (pair.client.suite->is_13)
			send_key_update(&pair, KEY_UPDATE_REQUEST);
		seal(&pair.server.channel, "reply", 5, pair.wire);
		pair_close(&pair);
		assert_false(libcrypto_holds(read.key, 16));
		assert_false(libcrypto_holds(write.key, 16));
		assert_false(libcrypto_holds(read.secret, 16));
		assert_false(libcrypto_holds(write.secret, 16));
	}
}

/* Some connections, whose keys are too many for the contexts of libcrypto. */
#define CROWD (TLS_CONTEXTS / 4 + 8)

static void crowd_exchange(struct tls_receiver *client, struct tls_receiver *server, uint8_t number)
{
	const uint8_t message[] = {'m', number};
	uint8_t wire[64];
	size_t n = seal(&client->channel, message, 2, wire);

	assert_int_equal(tls_receiver_take(server, &crypto, wire, n), TLS_OPEN);
	n = seal(&server->channel, server->data, server->n_data, wire);
	assert_int_equal(tls_receiver_take(client, &crypto, wire, n), TLS_OPEN);
	assert_int_equal(client->n_data, 2);
	assert_memory_equal(client->data, message, 2);
	tls_receiver_reset(client);
	tls_receiver_reset(server);
}

static void crowd_leave(struct tls_receiver *end)
{
	struct tls_keys read = end->channel.read, write = end->channel.write;

	tls_channel_finish(&end->channel, &crypto);
	assert_false(libcrypto_holds(read.key, 16));
	assert_false(libcrypto_holds(write.key, 16));
}

static void test_more_keys_than_contexts(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct tls_receiver clients[CROWD] = {0}, servers[CROWD] = {0};

		for (unsigned k = 0; k < CROWD; k++) {
			struct tls_state state =
				tls_fixture_state(tls_suites[i], (uint8_t)(10 + k));
			struct tls_state peer;

			/* else a key, and any byte before it, could look like another key */
			state.read_secret[1] = state.write_secret[1] = 0xff;
			peer = tls_fixture_peer(&state);
			servers[k].channel = tls_fixture_channel(&crypto, &state);
			clients[k].channel = tls_fixture_channel(&crypto, &peer);
			for (unsigned j = 0; j <= k; j++)
				crowd_exchange(&clients[j], &servers[j], (uint8_t)j);
		}
		/* both ends have the same keys, so both leave before the search */
		for (unsigned k = 0; k < CROWD; k++) {
			for (unsigned j = k; j < CROWD; j++)
				crowd_exchange(&clients[j], &servers[j], (uint8_t)j);
			tls_channel_finish(&clients[k].channel, &crypto);
			crowd_leave(&servers[k]);
		}
	}
}

/* Both ends of a connection that begins, changes keys and ends at any time beside others. */
struct flow {
	struct tls_receiver client, server;
};

/* No two connections have the same keys. */
static void flow_begin(struct flow *flow, uint32_t random)
{
	static uint32_t number;
	struct tls_state state = tls_fixture_state(tls_suites[random % TLS_SUITES], 1), peer;

	number++;
	memcpy(state.read_secret, &number, sizeof(number));
	memcpy(state.write_secret, &number, sizeof(number));
	peer = tls_fixture_peer(&state);
	flow->server.channel = tls_fixture_channel(&crypto, &state);
	flow->client.channel = tls_fixture_channel(&crypto, &peer);
}

static void flow_end(struct flow *flow)
{
	struct tls_keys keys = flow->server.channel.read;

	tls_channel_finish(&flow->client.channel, &crypto);
	crowd_leave(&flow->server);
	assert_false(libcrypto_holds(keys.secret, 16));
	tls_receiver_reset(&flow->client);
	tls_receiver_reset(&flow->server);
}

static void flow_update(struct flow *flow, bool is_requested)
{
	struct tls_channel *client = &flow->client.channel;
	uint8_t record[64];
	size_t n;

	if (!client->suite->is_13)
		return;
	n = tls_fixture_forge(client, 22, is_requested ? KEY_UPDATE_REQUEST : KEY_UPDATE, 5, 0,
			      record);
	assert_int_equal(tls_keys_update(&client->write, &crypto, client->suite), 0);
	assert_int_equal(tls_receiver_take(&flow->server, &crypto, record, n), TLS_OPEN);
}

/* No connection ever works with the keys of another, or with its own earlier ones. */
static void test_contexts_at_random(void **context)
{
	static struct flow flows[TLS_CONTEXTS];
	uint32_t random = 1;

	for (unsigned i = 0; i < TLS_CONTEXTS; i++)
		flow_begin(&flows[i], i);
	for (unsigned k = 0; k < 5000; k++) {
		struct flow *flow;

		random = random * 1664525 + 1013904223;
		flow = &flows[(random >> 8) % TLS_CONTEXTS];
		if (random >> 28 == 0) {
			flow_end(flow);
			flow_begin(flow, random >> 16);
		} else if (random >> 28 <= 2) {
			flow_update(flow, random >> 28 == 1);
		}
		crowd_exchange(&flow->client, &flow->server, (uint8_t)k);
	}
	for (unsigned i = 0; i < TLS_CONTEXTS; i++)
		flow_end(&flows[i]);
}

static void test_no_allocation_per_message(void **context)
{
	for (unsigned i = 0; i < TLS_SUITES; i++) {
		struct pair pair = pair_open(tls_suites[i]);
		unsigned long before = n_allocations;

		for (unsigned k = 0; k < 100; k++) {
			size_t n = seal(&pair.client, "message", 7, pair.wire);

			assert_int_equal(take(&pair, pair.wire, n), TLS_OPEN);
			check_data(&pair, "message", 7);
		}
		assert_int_equal(n_allocations, before);
		pair_close(&pair);
	}
}

/* Memory runs out in the first connection of a thread. The next one works if there is the AEAD. */
static void test_failing_contexts(void **context)
{
	struct tls_state state = tls_fixture_state(0x1301, 9);
	unsigned n_failed = 0;
	bool is_last = false;

	for (unsigned long k = 1; !is_last; k++) {
		struct tls_crypto other;
		struct tls_channel channel = {0};
		int r, again = 0;

		failing = n_allocations + k;
		r = tls_crypto_init(&other);
		if (r == 0)
			r = again = tls_channel_init(&channel, &other, &state);
		is_last = n_allocations < failing;
		failing = 0;
		n_failed += r != 0;
		assert_true(r == 0 || r == -ENOMEM || r == -ENOTSUP);
		assert_true(r == 0 || !is_last);
		if (again != 0 && other.aeads[TLS_AES_128_GCM].cipher)
			assert_int_equal(tls_channel_init(&channel, &other, &state), 0);
		tls_channel_finish(&channel, &other);
		tls_crypto_finish(&other);
	}
	assert_true(n_failed > TLS_CONTEXTS);
}

/* Answers the KeyUpdate @record, with an allocation failing. Returns whether none did. */
static bool check_failing_key_update(struct pair *pair, const uint8_t *record, size_t n,
				     unsigned long after)
{
	struct tls_receiver client = {.channel = pair->client};
	bool has_failed;
	ssize_t sealed = -1;
	enum tls_status status;

	failing = n_allocations + after;
	status = take(pair, record, n);
	has_failed = n_allocations >= failing;
	if (status == TLS_OPEN) {
		failing = n_allocations + after;
		sealed = tls_channel_seal(&pair->server.channel, &crypto, NULL, 0, pair->wire);
		has_failed |= n_allocations >= failing;
	}
	failing = 0;
	if (status != TLS_OPEN) {
		check_failed(pair, TLS_INTERNAL_ERROR);
	} else if (sealed < 0) {
		assert_int_equal(sealed, -ENOTSUP);
	} else { /* then both ends have the same keys */
		size_t more = seal(&pair->server.channel, "reply", 5, pair->wire + sealed);

		assert_int_equal(
			tls_receiver_take(&client, &crypto, pair->wire, (size_t)sealed + more),
			TLS_OPEN);
		assert_int_equal(client.n_data, 5);
		tls_keys_update(&pair->client.write, &crypto, pair->client.suite);
		assert_int_equal(forge(pair, 23, "data", 4, 0), TLS_OPEN);
	}
	tls_receiver_reset(&client);
	return !has_failed;
}

/* A KeyUpdate that cannot be followed is an error, and so is one that cannot be sent. */
static void test_failing_key_updates(void **context)
{
	bool is_last = false;

	for (unsigned long after = 1; !is_last; after++) {
		struct pair pair = pair_open(0x1301);
		uint8_t record[64];
		size_t n = tls_fixture_forge(&pair.client, 22, KEY_UPDATE_REQUEST, 5, 0, record);

		is_last = check_failing_key_update(&pair, record, n, after);
		pair_close(&pair);
	}
}

/*
 * A key that cannot be replaced stays, with its sequence number: no nonce is used twice. After the
 * failure not even an alert is sealed, because the peer waits for a record that is lost.
 */
static void test_failing_own_key_updates(void **context)
{
	unsigned n_failed = 0;
	bool is_last = false;

	for (unsigned long after = 1; !is_last; after++) {
		struct pair pair = pair_open(0x1301);
		struct tls_channel *server = &pair.server.channel;
		struct tls_keys before;
		ssize_t sealed;

		seal(server, "data", 4, pair.wire);
		before = server->write;
		server->answer_due = true;
		failing = n_allocations + after;
		sealed = tls_channel_seal(server, &crypto, NULL, 0, pair.wire);
		is_last = n_allocations < failing;
		failing = 0;
		if (sealed < 0) {
			n_failed++;
			assert_int_equal(sealed, -ENOTSUP);
			assert_int_equal(server->write.sequence, before.sequence + 1);
			before.sequence++;
			assert_memory_equal(&server->write, &before, sizeof(before));
			assert_int_equal(tls_channel_seal_alert(server, &crypto, TLS_CLOSE_NOTIFY,
								pair.wire),
					 0);
			assert_int_equal(tls_channel_seal(server, &crypto, NULL, 0, pair.wire),
					 -EPIPE);
		}
		pair_close(&pair);
	}
	assert_true(n_failed > 5);
}

static void test_alert_names(void **context)
{
	assert_string_equal(tls_alert_name(TLS_CLOSE_NOTIFY), "close_notify");
	assert_string_equal(tls_alert_name(TLS_BAD_RECORD_MAC), "bad_record_mac");
	assert_string_equal(tls_alert_name(120), "no_application_protocol");
	assert_string_equal(tls_alert_name(121), "unknown alert");
	assert_string_equal(tls_alert_name(1), "unknown alert");
	assert_string_equal(tls_alert_name(255), "unknown alert");
}

static int set_up(void **context)
{
	return tls_crypto_init(&crypto);
}

static int tear_down(void **context)
{
	tls_crypto_finish(&crypto);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_8448),
		cmocka_unit_test(test_next_secrets),
		cmocka_unit_test(test_explicit_nonces),
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_every_bit_flipped),
		cmocka_unit_test(test_no_unauthentic_bytes),
		cmocka_unit_test(test_moved_records),
		cmocka_unit_test(test_truncated_records),
		cmocka_unit_test(test_record_lengths),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_close_notify),
		cmocka_unit_test(test_key_updates),
		cmocka_unit_test(test_no_answer_after_the_end),
		cmocka_unit_test(test_cut_key_updates),
		cmocka_unit_test(test_old_key),
		cmocka_unit_test(test_new_key_too_early),
		cmocka_unit_test(test_renegotiation),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_own_key_updates),
		cmocka_unit_test(test_worn_keys),
		cmocka_unit_test(test_last_sequence_number),
		cmocka_unit_test(test_saved_states),
		cmocka_unit_test(test_saved_ends),
		cmocka_unit_test(test_invalid_states),
		cmocka_unit_test(test_unknown_suites),
		cmocka_unit_test(test_kept_whole_record),
		cmocka_unit_test(test_wiped_state),
		cmocka_unit_test(test_absent_aead),
		cmocka_unit_test(test_keys_are_forgotten),
		cmocka_unit_test(test_more_keys_than_contexts),
		cmocka_unit_test(test_contexts_at_random),
		cmocka_unit_test(test_no_allocation_per_message),
		cmocka_unit_test(test_failing_contexts),
		cmocka_unit_test(test_failing_key_updates),
		cmocka_unit_test(test_failing_own_key_updates),
		cmocka_unit_test(test_alert_names),
	};

	if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
