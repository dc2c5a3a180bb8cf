#include "ackc/net/tcpinfo.h"

bool tcpinfo_read(const uv_stream_t *stream, struct tcpinfo *ret)
{
	return false;
}

uint64_t tcpinfo_unacknowledged(const uv_stream_t *stream)
{
	return 0;
}
