#pragma once

/*
 * TCP statistics of a connection from the kernel. tcpinfo_linux.c implements it for Linux,
 * tcpinfo_none.c for systems without such statistics.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tcpinfo {
	/* The smoothed round-trip time: the network's share, without the server's process. */
	uint64_t rtt_ns;	  /* 0: not measured yet */
	uint64_t retransmissions; /* segments retransmitted since the connection was made */
};

/* Fills @ret for the socket @s. Returns false if nothing is known (as for a UNIX socket). */
bool tcpinfo_read(uv_os_sock_t s, struct tcpinfo *ret);

/*
 * Returns how many bytes written to the connection the peer's kernel has not acknowledged, or, for
 * a UNIX socket, the peer has not read. Returns 0 if unknown.
 */
uint64_t tcpinfo_unacknowledged(uv_os_sock_t s);
