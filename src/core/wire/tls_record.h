#pragma once

/*
 * The record layer of an established TLS connection: received records in, data out; replies in,
 * records out. The handshake is not made here; its result is a struct tls_state. There is no I/O
 * and no allocation.
 *
 *   RFC 8446 5, 5.1  TLS 1.3: content types, fragments, legacy version (ignored)
 *   RFC 8446 5.2     sealed records, their additional data and their length limit
 *   RFC 8446 5.4     padding; empty handshake messages and alerts
 *   RFC 8446 4.6.3   KeyUpdate; 5.1: it must end with its record
 *   RFC 8446 5.5     limits on key usage
 *   RFC 8446 6       alerts: close_notify and user_canceled end or announce; all others are errors
 *   RFC 5246 6.2     TLS 1.2: records and their additional data (6.2.3.3)
 *   RFC 5246 7.2     alerts: the level decides; no_renegotiation
 *   RFC 6066 4       max_fragment_length, in both directions
 *
 * Four decisions where the RFCs leave a choice:
 *
 * - A record that is longer than 2^14 bytes of content can be is a record_overflow as soon as its
 *   header is read. The RFCs permit longer records, but no content that would fill them, because
 *   there is no compression. A padded record of TLS 1.3 is subject to the same limit (5.4).
 * - An alert that is cut, or joined with another, is a decode_error in both versions.
 * - A client that begins a renegotiation in TLS 1.2 receives the warning no_renegotiation, and may
 *   go on. Other handshake messages end the connection with unexpected_message.
 * - More than TLS_IDLE_RECORDS_MAX records one after another without data (empty records,
 *   KeyUpdates, warnings, renegotiations) end the connection with unexpected_message.
 *
 * Both ends of a connection can be made with it; tests do so.
 */

#include "core/wire/tls_keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TLS_HEADER_LENGTH 5

/* The most content bytes of a record. */
#define TLS_CONTENT_MAX ((size_t)1 << 14)

/* The least content bytes to which a client can limit records (RFC 6066 4). */
#define TLS_FRAGMENT_MIN ((size_t)512)

/* The most bytes that a record takes beyond its content. */
#define TLS_OVERHEAD_MAX (TLS_HEADER_LENGTH + 8 + TLS_TAG_LENGTH)

/* The longest record that is accepted, header included; tls_record_max() is that of a suite. */
#define TLS_RECORD_MAX (TLS_CONTENT_MAX + TLS_OVERHEAD_MAX)

static inline size_t tls_record_max(const struct tls_suite *suite)
{
	size_t beside = suite->is_13 ? 1 : suite->nonce_length;

	return TLS_HEADER_LENGTH + beside + TLS_CONTENT_MAX + TLS_TAG_LENGTH;
}

/* The most records without data one after another. */
#define TLS_IDLE_RECORDS_MAX 32

/* The most bytes at a time that tls_channel_seal() takes. */
#define TLS_SEAL_MAX ((size_t)256 * 1024)

/*
 * The space that tls_channel_seal() needs for @n bytes: the records, which may be short, and one
 * more for a KeyUpdate or a no_renegotiation.
 */
#define TLS_SEALED_MAX(n)                                                                          \
	((n) + ((n) / TLS_FRAGMENT_MIN + 1) * TLS_OVERHEAD_MAX + 2 * TLS_OVERHEAD_MAX)

/* The space that tls_channel_seal_alert() needs. */
#define TLS_ALERT_MAX (2 + TLS_OVERHEAD_MAX)

/* Alerts that this layer sends, or that callers need. */
enum tls_alert {
	TLS_CLOSE_NOTIFY = 0,
	TLS_UNEXPECTED_MESSAGE = 10,
	TLS_BAD_RECORD_MAC = 20,
	TLS_RECORD_OVERFLOW = 22,
	TLS_ILLEGAL_PARAMETER = 47,
	TLS_DECODE_ERROR = 50,
	TLS_PROTOCOL_VERSION = 70,
	TLS_INTERNAL_ERROR = 80,
	TLS_USER_CANCELED = 90,
	TLS_NO_RENEGOTIATION = 100,
};

/* Returns the RFCs' name of an alert, or "unknown alert". Static. */
const char *tls_alert_name(uint8_t alert);

/* The receiving direction. */
enum tls_status {
	TLS_OPEN,	/* it continues */
	TLS_ENDED,	/* close_notify: the end of input */
	TLS_PEER_ERROR, /* the peer has sent the error alert: close without sending anything */
	TLS_ERROR,	/* send the alert, then close */
};

/*
 * A connection as plain data without padding: what the handshake has negotiated, or what a process
 * leaves to the next one. Secrets are as in struct tls_keys. Unused bytes of a secret are 0, and
 * not all of the others. Numbers use the machine's representation. In TLS 1.2 the sequence numbers
 * are at least 1, because the handshake took record 0.
 */
struct tls_state {
	uint64_t read_sequence;
	uint64_t write_sequence;
	uint8_t read_secret[TLS_SECRET_MAX];
	uint8_t write_secret[TLS_SECRET_MAX];
	uint32_t message_left; /* TLS 1.2: bytes to skip of a handshake message */
	uint16_t suite;
	uint8_t message_length; /* received bytes of an incomplete handshake message ... */
	uint8_t message[4];	/* ... and these */
	uint8_t answer_due;	/* 0 or 1: see tls_channel_is_answer_due() */
	uint8_t has_ended;	/* 0 or 1: close_notify was received */
	uint8_t has_closed;	/* 0 or 1: nothing is sent any more, because close_notify was */
	uint8_t idle_records;
	uint8_t fragment; /* max_fragment_length of RFC 6066: 1 (512 bytes) to 4, or 0 */
};

/*
 * Prepares @state->suite's other members for the server's end of a TLS 1.2 connection after its
 * handshake, which took record 0 in both directions. @first_nonce are the 8 bytes after the header
 * of the record with the server's Finished; they matter only with AES-GCM. Returns 0, -EINVAL for a
 * suite of another version, or -ENOTSUP if libcrypto fails.
 */
int tls_state_expand(struct tls_state *state, struct tls_crypto *crypto,
		     const uint8_t master[TLS_MASTER_LENGTH],
		     const uint8_t client_random[TLS_RANDOM_LENGTH],
		     const uint8_t server_random[TLS_RANDOM_LENGTH], const uint8_t first_nonce[8]);

/* Overwrites a state that is not needed any more. */
void tls_state_wipe(struct tls_state *state);

/* One connection. It contains secrets; tls_channel_finish() wipes them. */
struct tls_channel {
	const struct tls_suite *suite;
	struct tls_keys read;
	struct tls_keys write;
	uint32_t message_left; /* these as in struct tls_state */
	uint8_t message_length;
	uint8_t message[4];
	uint8_t idle_records;
	uint8_t fragment;
	bool answer_due : 1;
	bool has_closed : 1;
	uint8_t status; /* enum tls_status */
	uint8_t alert;	/* with TLS_PEER_ERROR and TLS_ERROR */
};

/*
 * Begins with @state, every member of which is checked, and which the caller then wipes. Returns 0,
 * -EBADMSG if the state is invalid, or -ENOTSUP if libcrypto fails or lacks the suite; then there
 * is nothing to finish.
 */
int tls_channel_init(struct tls_channel *channel, struct tls_crypto *crypto,
		     const struct tls_state *state);

/* Wipes the secrets, those in the contexts of @crypto included. */
void tls_channel_finish(struct tls_channel *channel, struct tls_crypto *crypto);

/*
 * Saves what the next process needs, besides the beginning of a record that the caller keeps. There
 * was no error.
 */
void tls_channel_save(const struct tls_channel *channel, struct tls_state *ret_state);

/*
 * Received bytes: the beginning of a record that was kept, if any, and those after it. A whole
 * record that was kept is an internal_error, so bytes from another process need no check.
 */
struct tls_input {
	const uint8_t *kept;
	size_t n_kept;
	const uint8_t *bytes;
	size_t n_bytes;
};

struct tls_opened {
	enum tls_status status;
	/* why the status has become TLS_ERROR or TLS_PEER_ERROR in this call: in words, static */
	const char *reason;
	size_t n; /* bytes of data; they come before what the status reports */
	/*
	 * With TLS_OPEN, the number of bytes at the end of the input that begin a record. The
	 * caller keeps them and passes them to the next call. If these are the n_kept + n_bytes
	 * bytes of the whole input, only the new ones must be copied.
	 */
	size_t n_rest;
	/* The length of the record that they begin, or TLS_HEADER_LENGTH if not known yet. */
	size_t record_length;
};

/*
 * Opens all complete records of the input, and writes their data to @out, which must not overlap
 * with the input. @out has space for as many bytes as the input; bytes after the data may have been
 * overwritten. After a status other than TLS_OPEN, further input is ignored.
 */
struct tls_opened tls_channel_open(struct tls_channel *channel, struct tls_crypto *crypto,
				   const struct tls_input *input, uint8_t *out);

/*
 * Returns whether the peer waits for an answer: the KeyUpdate that it has requested, or
 * no_renegotiation. The next tls_channel_seal() sends it, even without data. Until there is data to
 * send, the RFCs do not require the KeyUpdate, but a peer may wait for it.
 */
static inline bool tls_channel_is_answer_due(const struct tls_channel *channel)
{
	return channel->answer_due && !channel->has_closed && channel->status != TLS_PEER_ERROR;
}

/*
 * Seals the bytes of @spans, at most TLS_SEAL_MAX, in as few records as possible, after an answer
 * that is due. Writes them to @out (TLS_SEALED_MAX() bytes), which must not overlap with the spans.
 * In TLS 1.3 it sends a KeyUpdate before the limit of records for a key; the KeyUpdate requests one
 * from the peer. Returns the number of bytes, or
 *   -EPIPE      an alert or a failure has ended the output, or the peer has sent an error
 *   -EOVERFLOW  TLS 1.2: the key may not seal as many records; see tls_channel_must_close()
 *   -ENOTSUP    libcrypto fails; this ends the output
 * After -EOVERFLOW the caller sends an alert, and nothing else. TLS_ERROR does not end the output:
 * replies to the data before the error come before its alert.
 */
ssize_t tls_channel_seal(struct tls_channel *channel, struct tls_crypto *crypto,
			 const struct iovec *spans, unsigned n_spans, uint8_t *out);

/*
 * Seals an alert, the last record, and writes it to @out (TLS_ALERT_MAX bytes). Its level is fatal,
 * except for close_notify. Returns the number of bytes, 0 if the output has ended, the peer has
 * sent an error, or libcrypto fails.
 */
size_t tls_channel_seal_alert(struct tls_channel *channel, struct tls_crypto *crypto, uint8_t alert,
			      uint8_t *out);

/*
 * Returns whether the connection must be closed soon, in an orderly way: in TLS 1.2 a key cannot be
 * replaced. Enough records are left for the replies to what has been read, even if these are the
 * longest that are possible.
 */
bool tls_channel_must_close(const struct tls_channel *channel, const struct tls_crypto *crypto);
