#include "ackd/tls/context.h"

#include <errno.h>

int tls_context_create(const struct tls_settings *settings, struct tls_context **ret_context,
		       struct tls_fault *ret_fault)
{
	return -EINVAL; /* the settings are rejected before */
}

const char *tls_context_warning(const struct tls_context *context)
{
	return NULL;
}

int64_t tls_context_expiry(const struct tls_context *context)
{
	return 0;
}

void tls_context_destroy(struct tls_context *context)
{
}

void tls_library_init(void)
{
}

const char *tls_library_version(void)
{
	return "none";
}
