#pragma once

/* What the kernel knows of a connection. A file each for the systems that tell and the others. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tcpinfo {
	/* The smoothed round-trip time: the network's share, without the server's process. */
	uint64_t rtt_ns;	  /* 0: not measured yet */
	uint64_t retransmissions; /* segments sent again, since the connection began */
};

/* Fills @ret. Returns false where nothing is known (a UNIX socket too). */
bool tcpinfo_read(const uv_stream_t *stream, struct tcpinfo *ret);

/*
 * Returns how many bytes were written to the connection that the peer's kernel has not acknowledged
 * (of a UNIX socket: that the peer has not read); 0 where it is not known.
 */
uint64_t tcpinfo_unacknowledged(const uv_stream_t *stream);
