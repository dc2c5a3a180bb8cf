#include "ackc/net/tcpinfo.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

bool tcpinfo_read(uv_os_sock_t s, struct tcpinfo *ret)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);

	if (getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return false;
	ret->rtt_ns = (uint64_t)info.tcpi_rtt * 1000;
	ret->retransmissions = info.tcpi_total_retrans;
	return true;
}

uint64_t tcpinfo_unacknowledged(uv_os_sock_t s)
{
	int n = 0;

	if (ioctl(s, SIOCOUTQ, &n) < 0 || n < 0)
		return 0;
	return (uint64_t)n;
}
