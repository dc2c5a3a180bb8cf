#include "ackc/net/tcpinfo.h"

bool tcpinfo_read(int fd, struct tcpinfo *ret)
{
	return false;
}

uint64_t tcpinfo_unacknowledged(int fd)
{
	return 0;
}
