#pragma once

/*
 * What a listener does with the bytes of its connections. Made by the configuration loader,
 * immutable afterwards; it outlives every session that uses it.
 */

#include "core/session/template.h"
#include "core/text/transcode.h"

#include <stdbool.h>
#include <stdint.h>

enum reply_kind {
	REPLY_ACK,     /* prefix, message, suffix */
	REPLY_ECHO,    /* the message */
	REPLY_DISCARD, /* nothing */
};

enum framing {
	FRAMING_STREAM, /* a message is the text that one read completed */
	FRAMING_LINE,	/* a message is the text up to LF, CRLF or end of input */
};

struct policy {
	enum reply_kind reply;
	enum framing framing;
	struct transcoder transcoder;
	bool nak;		   /* whether NAK lines are sent */
	uint32_t max_line_bytes;   /* line framing: terminator not counted */
	const char *listener;	   /* name of the listener, for ${listener} */
	const char *host;	   /* name of this machine, for ${host} */
	struct template *greeting; /* the three may be NULL: empty */
	struct template *ack_prefix;
	struct template *ack_suffix;
};
