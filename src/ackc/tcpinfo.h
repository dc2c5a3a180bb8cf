#pragma once

/* What the kernel knows of a connection. A file each for the systems that tell and the others. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/*
 * Sets *@ret_ns to the kernel's smoothed estimate of the round-trip time: the network's share, with
 * no waiting for the server's process. Returns false where it is not known (a UNIX socket too).
 */
bool tcpinfo_rtt(const uv_stream_t *stream, uint64_t *ret_ns);

/*
 * Returns how many bytes were written to the connection that the peer's kernel has not acknowledged
 * (of a UNIX socket: that the peer has not read); 0 where it is not known.
 */
uint64_t tcpinfo_unacknowledged(const uv_stream_t *stream);
