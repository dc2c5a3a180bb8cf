#pragma once

/*
 * Why a connection ended, for the log and the metrics. The first reason wins. Part of the state:
 * add at the end.
 */
enum conn_reason {
	CONN_OPEN,	  /* it has not ended */
	CONN_HANDED_OVER, /* to the next process, where it continues */
	CONN_PROXY,	  /* no valid PROXY header */
	/* those of connections that were served are counted */
	CONN_END,   /* the peer closed; all input was answered */
	CONN_NAK,   /* closed by ackd after a NAK */
	CONN_QUIT,  /* closed by ackd after the quit message */
	CONN_CLOSE, /* closed by ackd after the greeting */
	CONN_IDLE,
	CONN_RESET, /* by the peer or a network error */
	CONN_MEMORY_BUDGET,
	CONN_MEMORY,
	CONN_REFUSED,	/* counted if it was served before a restart */
	CONN_DRAIN,	/* closed in an orderly way while draining */
	CONN_SHUTDOWN,	/* drain_timeout or a second signal */
	CONN_LOST,	/* in a restart: the next process has no place for it */
	CONN_TLS_ERROR, /* an error in the peer's records */
	CONN_TLS_ALERT, /* the peer has sent an alert */
	CONN_TLS_CUT,	/* the peer closed without close_notify */
	CONN_UNTRUSTED, /* its certificate is not accepted any more */
	CONN_TLS_LIMIT, /* TLS 1.2: the keys have sealed as many records as they may */
	CONN_OUTDATED,	/* no TLS, or a version that the listener does not accept any more */
	CONN_REASON_COUNT,
};

/* Returns a description of the reason. Static. */
const char *conn_reason_name(enum conn_reason reason);
