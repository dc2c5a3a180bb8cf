#include "ackd/metrics/reason.h"

const char *conn_reason_name(enum conn_reason reason)
{
	static const char *const names[] = {
		[CONN_OPEN] = "open",
		[CONN_HANDED_OVER] = "handed over",
		[CONN_PROXY] = "no valid PROXY header",
		[CONN_END] = "end of input",
		[CONN_NAK] = "NAK",
		[CONN_QUIT] = "quit",
		[CONN_CLOSE] = "reply is close",
		[CONN_IDLE] = "idle timeout",
		[CONN_RESET] = "connection lost",
		[CONN_MEMORY_BUDGET] = "limits.max_memory is used up",
		[CONN_MEMORY] = "out of memory",
		[CONN_REFUSED] = "refused",
		[CONN_DRAIN] = "drained",
		[CONN_SHUTDOWN] = "shutdown",
		[CONN_LOST] = "lost in a restart",
		[CONN_TLS_ERROR] = "TLS error",
		[CONN_TLS_ALERT] = "TLS alert",
		[CONN_TLS_CUT] = "closed without close_notify",
		[CONN_UNTRUSTED] = "client certificate no longer accepted",
		[CONN_TLS_LIMIT] = "as many records as one key may seal",
		[CONN_OUTDATED] = "insufficient TLS",
	};

	return names[reason];
}
