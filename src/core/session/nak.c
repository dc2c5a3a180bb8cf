#include "core/session/nak.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const reason_names[NAK_REASON_COUNT] = {
	[NAK_INVALID_START] = "invalid start byte",
	[NAK_INVALID_CONTINUATION] = "invalid continuation byte",
	[NAK_UNEXPECTED_END] = "unexpected end of data",
	[NAK_CANNOT_ENCODE] = "cannot encode",
	[NAK_LINE_TOO_LONG] = "line too long",
	[NAK_FRAME_TOO_LONG] = "frame too long",
	[NAK_INVALID_LENGTH] = "invalid frame length",
	[NAK_UNEXPECTED_END_OF_FRAME] = "unexpected end of frame",
	[NAK_REPLY_TOO_LONG] = "reply too long",
	[NAK_TOO_MANY_CONNECTIONS] = "too many connections",
	[NAK_NOT_IN_CHARSET] = "byte not in charset",
};

const char *nak_reason_name(enum nak_reason reason)
{
	return reason_names[reason];
}

const char *nak_reason_format(const struct nak *nak, char out[NAK_REASON_MAX])
{
	const char *name = nak_reason_name(nak->reason);

	if (nak->reason == NAK_CANNOT_ENCODE)
		snprintf(out, NAK_REASON_MAX, "%s U+%04" PRIX32, name, nak->code_point);
	else
		snprintf(out, NAK_REASON_MAX, "%s", name);
	return out;
}

size_t nak_format(const struct nak *nak, char out[NAK_LINE_MAX])
{
	char reason[NAK_REASON_MAX];

	return (size_t)snprintf(out, NAK_LINE_MAX, "NAK %" PRIu64 " %s\n", nak->offset,
				nak_reason_format(nak, reason));
}
