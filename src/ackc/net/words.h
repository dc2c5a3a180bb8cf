#pragma once

/* Failures of the network in words. A negative errno or libuv code, or one of these, is a failure.
 */

enum {
	FAILURE_LOOKUP_TIMEOUT = -20000, /* the name was not looked up in time */
	FAILURE_CONNECT_TIMEOUT,	 /* nobody answered the connect in time */
	FAILURE_REPLY_TIMEOUT,		 /* connected, but no reply in time */
};

/* Returns what @failure means, without a full stop; static or good until the next call of a thread.
 */
const char *words_for(int failure);

/*
 * Returns which of two failures says more to a person: of the addresses of one name, a refusal by
 * one is worth more than that this host cannot reach the other.
 */
int words_more_telling(int a, int b);
