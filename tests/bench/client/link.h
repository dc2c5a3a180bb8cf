#pragma once

/*
 * A connection to the server, with or without TLS. The functions take the flags of send(2) and
 * recv(2) and return as they do.
 */

#include "client.h"

/* The most bytes of data in a record. */
#define TLS_DATA_MAX 16384

struct tls; /* private to tls.c */

struct link {
	int fd;
	struct tls *tls; /* or NULL */
};

/*
 * Connects, and begins the TLS handshake if @options wants one. Returns 0, or 1 after reporting the
 * error; then there is nothing to close.
 */
int link_begin(struct link *link, const struct options *options);

/* Completes the handshake, if any. Returns 0, or 1 after reporting the error. */
int link_establish(struct link *link);

/* Both. On failure there is nothing to close. */
int link_open(struct link *link, const struct options *options);

/*
 * Sends. With TLS, a call that fails with EAGAIN has taken the bytes, and must be repeated with the
 * same ones; any other call takes all.
 */
ssize_t link_send(struct link *link, const uint8_t *p, size_t n, int flags);

/* Receives. With TLS, @n is more than TLS_DATA_MAX. */
ssize_t link_recv(struct link *link, uint8_t *p, size_t n, int flags);

/* Ends the output: with TLS by close_notify. */
void link_end_output(struct link *link);

void link_close(struct link *link);

/*
 * Exchanges one message of the corpus, which begins at line @start, on a blocking connection.
 * Returns 0, or an exit status after reporting the error.
 */
int exchange(struct link *link, const struct corpus *corpus, size_t start, size_t lines);
