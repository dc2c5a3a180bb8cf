/* Without OpenSSL: the client has no TLS. */
#include "tls.h"

#include <stdio.h>

struct tls *tls_create(int fd)
{
	fputs("built without OpenSSL\n", stderr);
	return NULL;
}

void tls_destroy(struct tls *tls)
{
}

int tls_handshake(struct tls *tls)
{
	return -1;
}

int tls_wait(struct tls *tls)
{
	return -1;
}

ssize_t tls_send(struct tls *tls, const uint8_t *p, size_t n, int flags)
{
	return -1;
}

ssize_t tls_recv(struct tls *tls, uint8_t *p, size_t n, int flags)
{
	return -1;
}

void tls_end_output(struct tls *tls)
{
}
