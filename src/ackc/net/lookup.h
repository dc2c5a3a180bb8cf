#pragma once

/* Looks up the addresses of a target outside the loop, so that a timeout covers the look-up. */

#include "ackc/net/target.h"
#include "base/address.h"
#include "core/text/printable.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The maximum number of addresses tried per name. */
#define ADDRESSES_MAX 16

struct addresses {
	size_t n;
	struct sockaddr_storage list[ADDRESSES_MAX]; /* in the order to try them */
	struct proxy_choice proxy;
	const struct tls_client *tls; /* NULL: plain text */
};

/* @status is 0, and the look-up has the addresses, or a failure for failure_text(). */
typedef void (*lookup_cb)(void *data, int status);

struct lookup {
	uv_getaddrinfo_t request;
	uv_timer_t timer;
	const struct target *target;
	lookup_cb cb; /* NULL after it was called or cancelled */
	void *data;
	int failure;   /* reported by the timer; or 0 */
	bool blocking; /* the request is in a libuv thread */
	struct addresses addresses;
};

/*
 * Starts looking up @t, which the caller keeps until the callback. @cb is called once, never from
 * within this call. The path of a UNIX socket is handled the same way. @l must stay valid until its
 * timer is closed and it is not blocking any more.
 */
void lookup_start(struct lookup *l, uv_loop_t *loop, const struct target *t, uint64_t timeout_ms,
		  lookup_cb cb, void *data);

/* Cancels a look-up: its callback is not called. Can be called repeatedly. */
void lookup_cancel(struct lookup *l);

/* The buffer size for peer_text(). */
#define PEER_TEXT_MAX PRINTABLE_SIZE(ADDRESS_TEXT_MAX)

/* Formats @a as "127.0.0.1:8080", "[::1]:8080" or "unix:/run/x". All characters are printable. */
void peer_text(const struct sockaddr_storage *a, char ret_text[PEER_TEXT_MAX]);
