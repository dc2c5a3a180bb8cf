#pragma once

/*
 * Descriptions of network failures. A failure is a negative errno or libuv code, or one of these.
 */

enum {
	FAILURE_LOOKUP_TIMEOUT = -20000, /* the name look-up timed out */
	FAILURE_CONNECT_TIMEOUT,	 /* the connect timed out */
	FAILURE_HANDSHAKE_TIMEOUT,	 /* connected, but the TLS handshake timed out */
	FAILURE_REPLY_TIMEOUT,		 /* connected, but the reply timed out */
	FAILURE_CUT,			 /* TLS: the connection ended without close_notify */
	/* These have a description by failure_describe(). */
	FAILURE_CERTIFICATE, /* the server's certificate is not accepted */
	FAILURE_NO_TLS,	     /* the server does not speak TLS */
	FAILURE_TLS,	     /* any other failure of TLS, such as an alert */
};

/*
 * Returns a description of @failure, without a full stop. It is static, or valid until the next
 * call in the same thread.
 */
const char *failure_text(int failure);

/*
 * Sets the description of a failure of TLS in this thread, until the next call. Returns @failure,
 * which must be passed to failure_text() before that.
 */
__attribute__((format(printf, 2, 3))) int failure_describe(int failure, const char *format, ...);

/*
 * Returns the more informative of two failures: "connection refused" by one address of a name is
 * more useful than "network unreachable" for another.
 */
int failure_prefer(int a, int b);

/* More than the highest value of failure_kind(). */
#define FAILURE_KINDS 32

/* Returns a number for @failure. All failures that failure_text() has no words for share one. */
unsigned failure_kind(int failure);
