#include "ackd/log_write.h"

#include "ackd/log_kinds.h"
#include "ackd/systemd.h"
#include "core/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ESCAPED_SIZE(max) (4 * (max) + 1) /* every byte as \xNN */

/* MESSAGE, PRIORITY, MESSAGE_ID, ACKD_EVENT, 4 texts, 6 numbers, and two of LOG_DROPPED */
#define FIELDS_MAX 16
#define FIELD_NAME_MAX 20 /* "ACKD_DURATION_USEC=" */

struct fields {
	struct iovec vec[FIELDS_MAX];
	int n;
	size_t used;
	char text[ESCAPED_SIZE(LOG_MESSAGE_MAX) + 4 * ESCAPED_SIZE(LOG_TEXT_MAX) +
		  FIELDS_MAX * (FIELD_NAME_MAX + 36)];
};

/* Whether the character at @p may go to a terminal as it is. */
static bool is_printable(const uint8_t *p)
{
	uint32_t c = utf8_code_point(p);

	return c >= 0x20 && c != 0x7f && !(c >= 0x80 && c < 0xa0);
}

size_t log_escape(char *out, size_t size, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = strlen(text), used = 0, length;

	for (; n > 0; p += length, n -= length) {
		bool whole = utf8_character(p, n, &length) == UTF8_COMPLETE;

		if (whole && is_printable(p)) {
			if (used + length >= size)
				break;
			memcpy(out + used, p, length);
			used += length;
			continue;
		}
		if (used + 4 * length >= size)
			break;
		for (size_t i = 0; i < length; i++)
			used += (size_t)sprintf(out + used, "\\x%02x", p[i]);
	}
	out[used] = '\0';
	return used;
}

/* Ends the field that begins at @begin in the text and is @length bytes long. */
static void fields_end(struct fields *fields, size_t length)
{
	fields->vec[fields->n++] = (struct iovec){fields->text + fields->used, length};
	fields->used += length;
}

static void fields_text(struct fields *fields, const char *name, const char *value)
{
	char *begin = fields->text + fields->used;
	size_t length;

	if (!*value)
		return;
	length = (size_t)sprintf(begin, "%s=", name);
	length += log_escape(begin + length, sizeof(fields->text) - fields->used - length, value);
	fields_end(fields, length);
}

static void fields_number(struct fields *fields, const char *name, uint64_t value)
{
	char *begin = fields->text + fields->used;

	fields_end(fields, (size_t)sprintf(begin, "%s=%" PRIu64, name, value));
}

static int write_journal(const struct log_entry *e)
{
	const struct log_kind *kind = log_kind(e->event);
	struct fields fields = {.n = 0};

	fields_text(&fields, "MESSAGE", e->message);
	fields_number(&fields, "PRIORITY", (uint64_t)log_level_priority(e->level));
	fields_text(&fields, "MESSAGE_ID", kind->message_id);
	fields_text(&fields, "ACKD_EVENT", kind->name);
	fields_text(&fields, "ACKD_LISTENER", e->listener);
	fields_text(&fields, "ACKD_ADDRESS", e->address);
	fields_text(&fields, "ACKD_PEER", e->peer);
	fields_text(&fields, "ACKD_REASON", e->reason);
	if (e->has & LOG_HAS_CONNECTION)
		fields_number(&fields, "ACKD_CONNECTION", e->connection);
	if (e->has & LOG_HAS_BYTES_IN)
		fields_number(&fields, "ACKD_BYTES_IN", e->bytes_in);
	if (e->has & LOG_HAS_BYTES_OUT)
		fields_number(&fields, "ACKD_BYTES_OUT", e->bytes_out);
	if (e->has & LOG_HAS_MESSAGES)
		fields_number(&fields, "ACKD_MESSAGES", e->messages);
	if (e->has & LOG_HAS_DURATION)
		fields_number(&fields, "ACKD_DURATION_USEC", e->duration_us);
	if (e->has & LOG_HAS_OFFSET)
		fields_number(&fields, "ACKD_OFFSET", e->offset);
	if (e->dropped > 0)
		fields_number(&fields, "ACKD_DROPPED", e->dropped);
	if (e->dropped_event)
		fields_text(&fields, "ACKD_DROPPED_EVENT", e->dropped_event);
	return systemd_journal_send(fields.vec, fields.n);
}

/* Writes all of it, also where someone else has made stderr non-blocking. */
static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t r = write(fd, p, n);

		if (r >= 0) {
			p += r;
			n -= (size_t)r;
		} else if (errno == EAGAIN) {
			struct pollfd writable = {.fd = fd, .events = POLLOUT};

			if (poll(&writable, 1, -1) < 0 && errno != EINTR)
				return -errno;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int write_stderr(const struct log_entry *e, bool stderr_journal)
{
	char line[ESCAPED_SIZE(LOG_MESSAGE_MAX) + 64];
	size_t n = 0;

	if (stderr_journal)
		n += (size_t)sprintf(line, "<%d>", log_level_priority(e->level));
	n += (size_t)sprintf(line + n, "%s %s: ", log_level_name(e->level),
			     log_kind(e->event)->name);
	n += log_escape(line + n, sizeof(line) - n - 1, e->message);
	line[n++] = '\n';
	return write_all(STDERR_FILENO, line, n);
}

int log_write(const struct log_entry *entry, const struct log_sink *sink)
{
	if (sink->journal && write_journal(entry) >= 0)
		return 0;
	return write_stderr(entry, sink->stderr_journal);
}
