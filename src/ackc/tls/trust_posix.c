#include "ackc/tls/internal.h"

void tls_prepare_library(void)
{
}

bool tls_trust_system(SSL_CTX *context)
{
	return SSL_CTX_set_default_verify_paths(context) == 1;
}
