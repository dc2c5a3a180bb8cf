#pragma once

/* TLS of the client, by OpenSSL's own record layer. See link.h for the calls. */

#include <stdint.h>
#include <sys/types.h>

struct tls;

/* Returns the client's end on the connected socket @fd, or NULL after reporting the error. */
struct tls *tls_create(int fd);
void tls_destroy(struct tls *tls);

/* Returns 1 when the handshake is complete, 0 when the server must answer, or -1. */
int tls_handshake(struct tls *tls);

/* Waits for more bytes of the handshake. Returns 0 or -1. */
int tls_wait(struct tls *tls);

ssize_t tls_send(struct tls *tls, const uint8_t *p, size_t n, int flags);

ssize_t tls_recv(struct tls *tls, uint8_t *p, size_t n, int flags);
void tls_end_output(struct tls *tls);
