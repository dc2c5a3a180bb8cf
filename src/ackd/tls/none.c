#include "ackd/tls/context.h"

#include <errno.h>

int tls_context_create(const struct tls_settings *settings, struct tls_context **ret_context,
		       struct tls_fault *ret_fault)
{
	return -EINVAL; /* the settings are rejected before */
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
