#pragma once

/* For tls.c and tls_handshake.c: what a connection with TLS and its thread have. */

#include "ackd/conn/conn.h"
#include "ackd/conn/reactor.h"
#include "ackd/tls/handshake.h"

/*
 * How often a thread looks for places, and checks certificates. Places are shared by all threads,
 * and none wakes another.
 */
#define TICK_MS 10

/* The least memory for the beginning of a record, or of a message of the handshake. */
#define KEPT_MIN 512

/* The working memory of a thread. */
struct conn_tls_memory {
	/* the handshakes, as struct conn_tls, in the order in which they came there */
	struct list waiting;   /* for a place, in CONN_WAITING */
	struct list ready;     /* for their step, in CONN_WAITING */
	struct list asking;    /* for input of their client, or for room in the socket */
	struct list unchecked; /* struct conn_tls whose certificates have to be checked again */
	struct tls_crypto crypto;
	uint8_t data[SESSION_READ_MAX + TLS_RECORD_MAX];   /* of one read */
	uint8_t sealed[TLS_SEALED_MAX(SESSION_REPLY_MAX)]; /* to be sent immediately */
	size_t n_answers;
	struct answer {
		struct conn *conn;
		struct iovec bytes; /* in @sealed_answers */
	} answers[TURN_READS_MAX];  /* to be sent at the end of the turn */
	size_t n_sealed;
	uint8_t sealed_answers[2 * TURN_BYTES_MAX];
};

struct conn_tls {
	struct list node;		 /* in one of these lists, or empty */
	struct tls_handshake *handshake; /* NULL before and after it */
	uint64_t begun_ns;		 /* when the client could begin: uv_hrtime() */
	uint64_t asked_ms;		 /* when the handshake began to wait for its client */
	struct tls_channel channel;
	const struct tls_suite *suite; /* also after the channel's end */
	bool has_place;		       /* of limits.max_handshakes */
	bool is_established;	       /* CONN_FLIGHT: after it the handshake is complete */
	bool is_cut;		       /* nothing more can be sent; see conn_tls_cut_output() */
	uint8_t *kept;		       /* the beginning of a record */
	uint32_t n_kept;
	uint32_t kept_capacity; /* charged to the budget */
	uint32_t n_certificates;
	uint8_t *certificates; /* of the client, see tls/client.h; charged to the budget; or NULL */
};

/* It follows the connection. */
static inline struct conn_tls *tls_of(const struct conn *c)
{
	return (struct conn_tls *)(uintptr_t)(c + 1);
}

/* ---- tls_handshake.c ---- */

/* Takes input of the handshake. If there is enough for a step, it waits for that. */
void conn_tls_collect(struct conn *c, const uint8_t *data, size_t n);

/*
 * Gives places to handshakes that have waited for one, if necessary those of slow clients. Returns
 * whether none waits.
 */
bool conn_tls_admit_waiting(struct reactor *reactor);

/*
 * Removes @c from the lists of its thread. If it is in its handshake, or waits for it, ends that,
 * counts @result and releases the place.
 */
void conn_tls_end_handshake(struct conn *c, enum tls_result result);

/* ---- tls.c ---- */

/* Takes the client's @n bytes of certificates. Returns 0, or -ENOBUFS after freeing them. */
int conn_tls_keep_certificates(struct conn *c, uint8_t *certificates, size_t n);
