#pragma once

/*
 * For tests of the record layer: both ends of a connection with chosen secrets, and records of any
 * content, which the layer itself would not send. Errors of libcrypto abort the test.
 */

#include "core/wire/tls_record.h"

/* IANA's numbers of all suites. */
#define TLS_SUITES 9
extern const uint16_t tls_suites[TLS_SUITES];

/* Fills in what a handshake would have negotiated, from @seed. */
struct tls_state tls_fixture_state(uint16_t suite, uint8_t seed);

/* Returns the other end of that connection. */
struct tls_state tls_fixture_peer(const struct tls_state *state);

/* Begins with @state. */
struct tls_channel tls_fixture_channel(struct tls_crypto *crypto, const struct tls_state *state);

/*
 * Seals the @n bytes at @content with the keys that @from writes with, as a record of @type, and in
 * TLS 1.3 with @padding. It may be too long. Returns its length.
 */
size_t tls_fixture_forge(struct tls_channel *from, uint8_t type, const void *content, size_t n,
			 size_t padding, uint8_t *out);

/*
 * The receiving end of a connection, which keeps the beginning of a record. Every call of the layer
 * is made with memory of just the permitted size.
 */
struct tls_receiver {
	struct tls_channel channel;
	struct tls_opened last;
	uint8_t *kept;
	size_t n_kept;
	uint8_t *data; /* all that was received */
	size_t n_data;
	size_t capacity;
};

/* Receives @n bytes, and checks what the layer promises about its result. */
enum tls_status tls_receiver_take(struct tls_receiver *receiver, struct tls_crypto *crypto,
				  const uint8_t *bytes, size_t n);

/* Frees all but the channel, and forgets the data. */
void tls_receiver_reset(struct tls_receiver *receiver);
