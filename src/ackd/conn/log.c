#include "ackd/conn/internal.h"

#include "ackd/log/log.h"
#include "base/plural.h"
#include "core/text/printable.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* The part of a message that is logged, in bytes. */
#define LOGGED_BYTES_MAX 256
static_assert(PRINTABLE_BYTES_SIZE(LOGGED_BYTES_MAX) <= LOG_TEXT_MAX + 1, "ACKD_TEXT is cut");

/* Returns the fields common to all events of a connection. Fills @peer. */
static struct log_fields fields_of(const struct conn *c, char peer[ADDRESS_TEXT_MAX])
{
	struct conn_tls_terms terms = {0};

	if (c->has_tls)
		terms = conn_tls_terms(c);
	return (struct log_fields){
		.listener = conn_listener(c)->settings->name,
		.peer = address_format(&c->address, peer),
		.tls_version = terms.version,
		.tls_cipher = terms.cipher,
		.tls_subject = template_name(c->session.names, NAME_TLS_SUBJECT),
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

/* Returns why @c ended, with its error. May use @words. */
static const char *reason_in_words(const struct conn *c, char *words, size_t size)
{
	const char *reason = conn_reason_name(c->reason);

	switch ((enum conn_reason)c->reason) {
	case CONN_RESET:
		return c->error ? uv_strerror_r(c->error, words, size) : reason;
	case CONN_TLS_ERROR:
		snprintf(words, size, "%s sent: %s", reason,
			 conn_tls_alert_name((uint8_t)c->error));
		return words;
	case CONN_TLS_ALERT:
		snprintf(words, size, "%s received: %s", reason,
			 conn_tls_alert_name((uint8_t)c->error));
		return words;
	case CONN_UNTRUSTED:
		snprintf(words, size, "%s: %s", reason, conn_tls_verdict(c->error));
		return words;
	default:
		return reason;
	}
}

void conn_log_disconnect(const struct conn *c)
{
	char peer[ADDRESS_TEXT_MAX], words[128];
	struct log_fields fields;
	const char *reason;

	if (!log_admit(LOG_DISCONNECT))
		return;
	reason = reason_in_words(c, words, sizeof(words));
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

/* Writes the beginning of @message as Python shows it. */
static void message_text(const struct session_message *message,
			 char out[PRINTABLE_BYTES_SIZE(LOGGED_BYTES_MAX)])
{
	uint8_t bytes[LOGGED_BYTES_MAX];
	size_t used = 0;

	for (size_t i = 0; i < sizeof(message->parts) / sizeof(message->parts[0]); i++) {
		const struct iovec *part = &message->parts[i];
		size_t left = sizeof(bytes) - used;
		size_t n = part->iov_len < left ? part->iov_len : left;

		if (n > 0)
			memcpy(bytes + used, part->iov_base, n);
		used += n;
	}
	printable_bytes(out, bytes, used);
}

void conn_on_message(void *data, const struct session_message *message)
{
	char peer[ADDRESS_TEXT_MAX], text[PRINTABLE_BYTES_SIZE(LOGGED_BYTES_MAX)];
	struct log_fields fields;

	if (!log_admit(LOG_MESSAGE))
		return;
	message_text(message, text);
	fields = fields_of(data, peer);
	fields.text = text;
	fields.has |= LOG_HAS_MESSAGE | LOG_HAS_LENGTH;
	fields.message = message->number;
	fields.length = message->length;
	log_post(LOG_MESSAGE, &fields,
		 "%s: message %" PRIu64 " from %s, connection %" PRIu64 ": %s%" PRIu64
		 " byte%s: %s%s",
		 fields.listener, fields.message, peer, fields.connection,
		 message->refused ? "refused, " : "", fields.length, plural(fields.length), text,
		 fields.length > LOGGED_BYTES_MAX ? "..." : "");
}
