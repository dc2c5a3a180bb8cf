#pragma once

/* How a TLS handshake ended, for metrics. Also in builds without OpenSSL. */

enum tls_version {
	TLS_VERSION_NONE, /* the handshake ended before a version was agreed on */
	TLS_VERSION_1_2,
	TLS_VERSION_1_3,
	TLS_VERSION_COUNT,
};

enum tls_result {
	TLS_RESULT_SUCCESS,
	TLS_RESULT_NOT_TLS,	       /* the first byte is of another protocol */
	TLS_RESULT_VERSION,	       /* the client has no version that is accepted */
	TLS_RESULT_NOTHING_IN_COMMON,  /* no suite, group, signature or protocol */
	TLS_RESULT_CLIENT_CERTIFICATE, /* there is none, or it is not accepted */
	TLS_RESULT_CLIENT_ALERT,       /* the client ended it, for instance for our certificate */
	TLS_RESULT_PROTOCOL_ERROR,     /* another error of the client */
	TLS_RESULT_CLOSED,	       /* by the client or the network */
	TLS_RESULT_TIMEOUT,
	TLS_RESULT_SERVER_ERROR, /* out of memory, or an error of libcrypto */
	TLS_RESULT_SHUTDOWN,	 /* the daemon stops or restarts */
	TLS_RESULT_COUNT,
};

/* Return the values of labels. Static. */
const char *tls_version_name(enum tls_version version);
const char *tls_result_name(enum tls_result result);
