#include "ackd/conn/internal.h"

#include "ackd/log/log.h"
#include "base/plural.h"

#include <inttypes.h>

const char *conn_reason_name(enum conn_reason reason)
{
	static const char *const names[] = {
		[CONN_OPEN] = "open",
		[CONN_END] = "end of input",
		[CONN_NAK] = "NAK",
		[CONN_QUIT] = "quit",
		[CONN_CLOSE] = "reply is close",
		[CONN_IDLE] = "idle timeout",
		[CONN_RESET] = "connection lost",
		[CONN_MEMORY_BUDGET] = "limits.max_memory is used up",
		[CONN_MEMORY] = "out of memory",
		[CONN_PROXY] = "no valid PROXY header",
		[CONN_REFUSED] = "refused",
		[CONN_DRAIN] = "drained",
		[CONN_HANDED_OVER] = "handed over",
		[CONN_SHUTDOWN] = "shutdown",
	};

	return names[reason];
}

/* Returns the fields common to all events of a connection. Fills @peer. */
static struct log_fields fields_of(const struct conn *c, char peer[ADDRESS_TEXT_MAX])
{
	return (struct log_fields){
		.listener = conn_listener(c)->settings->name,
		.peer = address_format(&c->address, peer),
		.proxy_id = template_name(c->session.names, NAME_PROXY_ID),
		.authority = template_name(c->session.names, NAME_AUTHORITY),
		.has = LOG_HAS_CONNECTION,
		.connection = c->session.connection,
	};
}

void conn_log_connect(const struct conn *c)
{
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields;

	if (!log_admit(LOG_CONNECT))
		return;
	fields = fields_of(c, peer);
	log_post(LOG_CONNECT, &fields, "%s: connection %" PRIu64 " from %s", fields.listener,
		 fields.connection, peer);
}

void conn_log_disconnect(const struct conn *c)
{
	const char *reason = conn_reason_name(c->reason);
	char peer[ADDRESS_TEXT_MAX], words[128];
	struct log_fields fields;

	if (!log_admit(LOG_DISCONNECT))
		return;
	if (c->reason == CONN_RESET && c->error)
		reason = uv_strerror_r(c->error, words, sizeof(words));
	fields = fields_of(c, peer);
	fields.reason = reason;
	fields.has |= LOG_HAS_BYTES_IN | LOG_HAS_BYTES_OUT | LOG_HAS_MESSAGES | LOG_HAS_DURATION;
	fields.bytes_in = c->session.place.received;
	fields.bytes_out = c->sent;
	fields.messages = c->session.place.messages;
	fields.duration_us = (uv_hrtime() - c->opened_ns) / 1000;
	log_post(LOG_DISCONNECT, &fields,
		 "%s: connection %" PRIu64 " from %s ended: %s; %" PRIu64 " message%s, %" PRIu64
		 " byte%s in, %" PRIu64 " byte%s out",
		 fields.listener, fields.connection, peer, reason, fields.messages,
		 plural(fields.messages), fields.bytes_in, plural(fields.bytes_in),
		 fields.bytes_out, plural(fields.bytes_out));
}

void conn_log_health_check(const struct conn *c)
{
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields;

	if (!log_admit(LOG_HEALTH_CHECK))
		return;
	fields = (struct log_fields){
		.listener = conn_listener(c)->settings->name,
		.peer = address_format(&c->address, peer),
		.reason = "no data",
	};
	log_post(LOG_HEALTH_CHECK, &fields, "%s: health check from %s: no data", fields.listener,
		 peer);
}

void conn_on_nak(void *data, const struct nak *nak)
{
	struct conn *c = data;
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields;

	counter_add(conn_listener(c)->counters, COUNTER_NAKS + nak->reason, 1);
	if (!log_admit(LOG_NAK))
		return;
	fields = fields_of(c, peer);
	fields.reason = nak_reason_name(nak->reason);
	fields.has |= LOG_HAS_OFFSET;
	fields.offset = nak->offset;
	log_post(LOG_NAK, &fields, "%s: NAK to %s, connection %" PRIu64 ": byte %" PRIu64 ": %s",
		 fields.listener, peer, fields.connection, nak->offset, fields.reason);
}

void conn_on_count(void *data, enum session_count what, int64_t n)
{
	static const enum counter counters[] = {
		[SESSION_SKIPPED_BYTES] = COUNTER_SKIPPED_BYTES,
		[SESSION_ILL_FORMED] = COUNTER_ILL_FORMED,
	};

	counter_add(conn_listener(data)->counters, counters[what], (uint64_t)n);
}
