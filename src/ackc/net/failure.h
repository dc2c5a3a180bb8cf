#pragma once

/*
 * Descriptions of network failures. A failure is a negative errno or libuv code, or one of these.
 */

enum {
	FAILURE_LOOKUP_TIMEOUT = -20000, /* the name look-up timed out */
	FAILURE_CONNECT_TIMEOUT,	 /* the connect timed out */
	FAILURE_REPLY_TIMEOUT,		 /* connected, but the reply timed out */
};

/*
 * Returns a description of @failure, without a full stop. It is static, or valid until the next
 * call in the same thread.
 */
const char *failure_text(int failure);

/*
 * Returns the more informative of two failures: "connection refused" by one address of a name is
 * more useful than "network unreachable" for another.
 */
int failure_prefer(int a, int b);

/* More than the highest value of failure_kind(). */
#define FAILURE_KINDS 32

/* Returns a number for @failure. All failures that failure_text() has no words for share one. */
unsigned failure_kind(int failure);
