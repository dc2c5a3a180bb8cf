#include "ackc/net/tcpinfo.h"

bool tcpinfo_read(uv_os_sock_t s, struct tcpinfo *ret)
{
	return false;
}

uint64_t tcpinfo_unacknowledged(uv_os_sock_t s)
{
	return 0;
}
