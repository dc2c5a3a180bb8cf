/* A build without OpenSSL: there are no settings, so that the other functions are never called. */

#include "ackc/tls/tls.h"

#include <errno.h>
#include <stdio.h>

struct tls_client *tls_client_create(const struct tls_options *options, const char *host,
				     char words[TLS_WORDS_MAX])
{
	snprintf(words, TLS_WORDS_MAX, "--tls: this ackc was built without TLS");
	return NULL;
}

void tls_client_destroy(struct tls_client *c)
{
}

int tls_create(const struct tls_client *c, tls_send_cb send, void *data, struct tls **ret_tls)
{
	return -ENOTSUP;
}

void tls_destroy(struct tls *t)
{
}

void tls_feed(struct tls *t, const uint8_t *bytes, size_t n)
{
}

size_t tls_wanted(const struct tls *t)
{
	return 0;
}

int tls_handshake(struct tls *t)
{
	return -ENOTSUP;
}

ssize_t tls_read(struct tls *t, void *out, size_t n)
{
	return -ENOTSUP;
}

int tls_write(struct tls *t, const void *bytes, size_t n)
{
	return -ENOTSUP;
}

void tls_end(struct tls *t)
{
}

void tls_describe(const struct tls *t, struct tls_facts *ret)
{
	*ret = (struct tls_facts){0};
}

const char *tls_library_version(void)
{
	return "none";
}

bool tls_alpn_is_valid(const char *alpn)
{
	return true;
}
