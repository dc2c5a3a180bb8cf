#pragma once

/*
 * What all workers share: how many connections there may be, in all and from one address, and how
 * much they may hold. Touched when a connection begins or ends, never per message.
 */

#include "base/address.h"
#include "core/session/budget.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* How many connections may be told at a time that there are too many. */
#define LIMITS_REFUSALS_MAX 64

struct limits_address_table;

struct limits {
	struct budget budget;		  /* limits.max_memory */
	_Atomic uint64_t max_connections; /* as fitted under the descriptor limit */
	_Atomic uint64_t max_per_address; /* 0: no limit */
	_Atomic uint64_t open;
	_Atomic uint64_t refusing;
	_Atomic uint64_t numbered;		/* connections numbered so far */
	struct limits_address_table *addresses; /* who has how many */
};

/*
 * Starts with no connection and no place for one, and raises the descriptor limit to the hard one.
 * Returns 0 or a libuv error. limits_finish() accepts what is zeroed.
 */
int limits_init(struct limits *limits, size_t max_memory_bytes);
void limits_finish(struct limits *limits);

/*
 * Raises the descriptor limit to the hard one. Returns how many descriptors it leaves beside
 * @reserve others, at least 1.
 */
uint64_t limits_descriptor_room(uint64_t reserve);

/*
 * Puts max_connections and the per-address limit into effect, @max_connections fitted under the
 * descriptor limit with room for @reserve other descriptors. Returns the number in effect.
 */
uint64_t limits_configure(struct limits *limits, uint64_t max_connections, uint64_t max_per_address,
			  uint64_t reserve);

enum limits_verdict {
	LIMITS_ADMITTED,
	LIMITS_TOO_MANY,
	LIMITS_TOO_MANY_FROM_ADDRESS,
	LIMITS_NO_MEMORY,
};

/*
 * Asks for a place for a connection from @address: an IPv4 address, or the /64 of an IPv6 one;
 * UNIX sockets have no limit of their own. An admitted one is given back with limits_release() for
 * the same address.
 */
enum limits_verdict limits_admit(struct limits *limits, const struct address *address);
void limits_release(struct limits *limits, const struct address *address);

/*
 * Passes the place of a UNIX socket on to @address, so that nobody else gets it in between. What
 * is not LIMITS_ADMITTED has changed nothing.
 */
enum limits_verdict limits_pass_on(struct limits *limits, const struct address *address);

/* Takes and gives back one of the LIMITS_REFUSALS_MAX places for telling a peer that it is refused.
 */
bool limits_refusal_begin(struct limits *limits);
void limits_refusal_end(struct limits *limits);

/* Returns the next connection number, from 1. */
uint64_t limits_number(struct limits *limits);
