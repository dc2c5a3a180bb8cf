#pragma once

/*
 * Limits shared by all workers: the number of connections, in total and per client address, and the
 * memory budget. Used when a connection begins or ends, never per message.
 */

#include "base/address.h"
#include "core/session/budget.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The reason why a connection was not served. */
enum refusal {
	REFUSAL_NONE,	     /* it is served */
	REFUSAL_DENIED,	     /* allow, deny, proxies */
	REFUSAL_CONNECTIONS, /* max_connections */
	REFUSAL_PER_ADDRESS, /* max_connections_per_address */
	REFUSAL_MEMORY,	     /* out of memory */
	REFUSAL_PROXY,	     /* no valid PROXY header */
	REFUSAL_TLS,	     /* no valid TLS handshake */
	REFUSAL_COUNT,
};

/* Returns the description used in the log and the metrics. Static. */
const char *refusal_name(enum refusal refusal);

/* The most refused connections at a time that receive a NAK. */
#define LIMITS_REFUSALS_MAX 64

struct limits_address_table;

struct limits {
	struct budget budget;		  /* limits.max_memory */
	_Atomic uint64_t max_connections; /* in effect, after fitting to the descriptor limit */
	_Atomic uint64_t max_per_address; /* 0: no limit */
	_Atomic uint64_t open;
	_Atomic uint64_t refusing;
	_Atomic uint64_t max_handshakes;
	_Atomic uint64_t handshakes;		/* TLS handshakes under way */
	_Atomic uint64_t numbered;		/* connections numbered so far */
	struct limits_address_table *addresses; /* connections per address */
};

/*
 * Initializes @limits with max_connections 0 and raises the soft descriptor limit to the hard one.
 * Returns 0 or a libuv error. limits_finish() accepts a zeroed struct.
 */
int limits_init(struct limits *limits, size_t max_memory_bytes);
void limits_finish(struct limits *limits);

/*
 * Raises the soft descriptor limit to the hard one. Returns how many descriptors remain besides
 * @reserve others, at least 1.
 */
uint64_t limits_descriptor_room(uint64_t reserve);

/*
 * Puts both limits into effect. @max_connections is reduced to fit the descriptor limit with
 * @reserve other descriptors. Returns the number in effect.
 */
uint64_t limits_configure(struct limits *limits, uint64_t max_connections, uint64_t max_per_address,
			  uint64_t reserve);

/*
 * Reserves a place for a connection from @address. The per-address limit counts an IPv4 address or
 * the /64 of an IPv6 address; UNIX sockets have none. limits_release() returns the place of an
 * admitted connection, with the same address.
 */
enum refusal limits_admit(struct limits *limits, const struct address *address);
void limits_release(struct limits *limits, const struct address *address);

/*
 * Transfers the place of a UNIX socket to @address, without releasing it in between. Any other
 * result than REFUSAL_NONE changes nothing.
 */
enum refusal limits_pass_on(struct limits *limits, const struct address *address);

/* Reserve and release one of the LIMITS_REFUSALS_MAX places for refused connections. */
bool limits_refusal_begin(struct limits *limits);
void limits_refusal_end(struct limits *limits);

/* Puts limits.max_handshakes into effect: the TLS handshakes at a time. 0 before the first call. */
void limits_configure_handshakes(struct limits *limits, uint64_t max_handshakes);

/*
 * Reserve and release a place for a handshake, which takes @bytes of the budget. The former returns
 * false if there is no place, or not enough memory.
 */
bool limits_handshake_begin(struct limits *limits, size_t bytes);
void limits_handshake_end(struct limits *limits, size_t bytes);

/* Returns the next connection number, from 1. */
uint64_t limits_number(struct limits *limits);
