#include "ackd/tls/result.h"

const char *tls_version_name(enum tls_version version)
{
	static const char *const names[] = {
		[TLS_VERSION_NONE] = "none",
		[TLS_VERSION_1_2] = "1.2",
		[TLS_VERSION_1_3] = "1.3",
	};

	return names[version];
}

const char *tls_result_name(enum tls_result result)
{
	static const char *const names[] = {
		[TLS_RESULT_SUCCESS] = "success",
		[TLS_RESULT_NOT_TLS] = "not_tls",
		[TLS_RESULT_VERSION] = "unsupported_version",
		[TLS_RESULT_NOTHING_IN_COMMON] = "nothing_in_common",
		[TLS_RESULT_CLIENT_CERTIFICATE] = "client_certificate",
		[TLS_RESULT_CLIENT_ALERT] = "client_alert",
		[TLS_RESULT_PROTOCOL_ERROR] = "protocol_error",
		[TLS_RESULT_CLOSED] = "closed",
		[TLS_RESULT_TIMEOUT] = "timeout",
		[TLS_RESULT_SERVER_ERROR] = "server_error",
		[TLS_RESULT_SHUTDOWN] = "shutdown",
	};

	return names[result];
}
