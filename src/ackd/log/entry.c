#include "ackd/log/entry.h"

#include "ackd/log/kinds.h"
#include "ackd/systemd/systemd.h"
#include "core/text/printable.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The fields of struct log_fields in the journal. */
static const struct {
	const char *name;
	size_t offset;
	int max; /* bytes */
} strings[] = {
	{"ACKD_LISTENER", offsetof(struct log_fields, listener), LOG_TEXT_MAX},
	{"ACKD_ADDRESS", offsetof(struct log_fields, address), LOG_TEXT_MAX},
	{"ACKD_PEER", offsetof(struct log_fields, peer), LOG_TEXT_MAX},
	{"ACKD_REASON", offsetof(struct log_fields, reason), LOG_TEXT_MAX},
	{"ACKD_PROXY_ID", offsetof(struct log_fields, proxy_id), LOG_PROXY_ID_MAX},
	{"ACKD_AUTHORITY", offsetof(struct log_fields, authority), LOG_AUTHORITY_MAX},
	{"ACKD_DROPPED_EVENT", offsetof(struct log_fields, dropped_event), LOG_TEXT_MAX},
};
static const struct {
	const char *name;
	enum log_field bit;
	size_t offset;
} numbers[] = {
	{"ACKD_CONNECTION", LOG_HAS_CONNECTION, offsetof(struct log_fields, connection)},
	{"ACKD_BYTES_IN", LOG_HAS_BYTES_IN, offsetof(struct log_fields, bytes_in)},
	{"ACKD_BYTES_OUT", LOG_HAS_BYTES_OUT, offsetof(struct log_fields, bytes_out)},
	{"ACKD_MESSAGES", LOG_HAS_MESSAGES, offsetof(struct log_fields, messages)},
	{"ACKD_DURATION_USEC", LOG_HAS_DURATION, offsetof(struct log_fields, duration_us)},
	{"ACKD_OFFSET", LOG_HAS_OFFSET, offsetof(struct log_fields, offset)},
	{"ACKD_DROPPED", LOG_HAS_DROPPED, offsetof(struct log_fields, dropped)},
};
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* PRIORITY, MESSAGE_ID, ACKD_EVENT, MESSAGE, and those above */
#define FIELDS_MAX (4 + N(strings) + N(numbers))

/* Adds the field @name with the escaped @value, of which at most @max bytes are used. */
static void add_text(struct log_entry *e, const char *name, const char *value, int max)
{
	char cut[LOG_PROXY_ID_MAX + 1]; /* the longest */

	_Static_assert(LOG_PROXY_ID_MAX >= LOG_MESSAGE_MAX, "room for the message, too");
	snprintf(cut, sizeof(cut), "%.*s", max, value);
	e->length += (size_t)sprintf(e->text + e->length, "%s=", name);
	e->length += printable_escape(e->text + e->length, sizeof(e->text) - e->length, cut) + 1;
}

void log_entry_format(struct log_entry *ret_entry, enum log_level level, enum log_event event,
		      const struct log_fields *fields, const char *format, va_list ap)
{
	struct log_entry *e = ret_entry;
	char message[LOG_MESSAGE_MAX + 1];

	e->event = event;
	e->level = level;
	e->length = 0;
	vsnprintf(message, sizeof(message), format, ap);
	add_text(e, "MESSAGE", message, LOG_MESSAGE_MAX);
	for (size_t i = 0; fields && i < N(strings); i++) {
		const char *value =
			*(const char *const *)((const char *)fields + strings[i].offset);

		if (value && *value)
			add_text(e, strings[i].name, value, strings[i].max);
	}
	for (size_t i = 0; fields && i < N(numbers); i++) {
		const uint64_t *value =
			(const uint64_t *)(const void *)((const char *)fields + numbers[i].offset);

		if (fields->has & numbers[i].bit)
			e->length += (size_t)sprintf(e->text + e->length, "%s=%" PRIu64,
						     numbers[i].name, *value) +
				     1;
	}
}

void log_entry_copy(struct log_entry *to, const struct log_entry *from)
{
	memcpy(to, from, offsetof(struct log_entry, text) + from->length);
}

static int write_journal(const struct log_entry *e)
{
	const struct log_kind *kind = log_kind(e->event);
	char head[3][64];
	struct iovec fields[FIELDS_MAX];
	int n = 0;

	snprintf(head[0], sizeof(head[0]), "PRIORITY=%d", log_level_priority(e->level));
	snprintf(head[1], sizeof(head[1]), "MESSAGE_ID=%s", kind->message_id);
	snprintf(head[2], sizeof(head[2]), "ACKD_EVENT=%s", kind->name);
	for (; n < 3; n++)
		fields[n] = (struct iovec){head[n], strlen(head[n])};
	for (size_t offset = 0; offset < e->length; n++) {
		const char *field = e->text + offset;

		fields[n] = (struct iovec){(void *)(uintptr_t)field, strlen(field)};
		offset += fields[n].iov_len + 1;
	}
	return systemd_journal_send(fields, n);
}

/* Writes all bytes, even if another process has made stderr non-blocking. */
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
	const char *message = e->text + strlen("MESSAGE=");
	size_t n_message = strlen(message), n = 0;
	char line[LOG_ENTRY_MAX + 64];

	if (stderr_journal)
		n += (size_t)sprintf(line, "<%d>", log_level_priority(e->level));
	n += (size_t)sprintf(line + n, "%s %s: ", log_level_name(e->level),
			     log_kind(e->event)->name);
	memcpy(line + n, message, n_message);
	line[n + n_message] = '\n';
	return write_all(STDERR_FILENO, line, n + n_message + 1);
}

int log_entry_write(const struct log_entry *entry, const struct log_sink *sink)
{
	if (sink->journal && write_journal(entry) >= 0)
		return 0;
	return write_stderr(entry, sink->stderr_journal);
}
