#include "ackd/log/internal.h"
#include "ackd/systemd/systemd.h"
#include "core/text/printable.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct log_kind log_kinds[LOG_EVENT_COUNT] = {
#define LOG_EVENT(event, name, message_id, level, burst, per_second)                               \
	[LOG_##event] = {name, message_id, LOG_LEVEL_##level, burst, per_second},
#include "ackd/log/log.def"
};

/* The levels, and their priorities in syslog(3) and the journal. */
static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},   [LOG_LEVEL_WARNING] = {"warning", 4},
	[LOG_LEVEL_NOTICE] = {"notice", 5}, [LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

/* Adds the field @name with the escaped @value, of which at most @max bytes are used. */
static void add_text(struct log_entry *e, const char *name, const char *value, int max)
{
	char cut[LOG_MESSAGE_MAX + TEMPLATE_PROXY_ID_MAX]; /* at least the longest */

	snprintf(cut, sizeof(cut), "%.*s", max, value);
	e->length += (size_t)sprintf(e->text + e->length, "%s=", name);
	e->length += printable_escape(e->text + e->length, sizeof(e->text) - e->length, cut) + 1;
}

static void add_number(struct log_entry *e, const char *name, uint64_t value)
{
	e->length += (size_t)sprintf(e->text + e->length, "%s=%" PRIu64, name, value) + 1;
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
	add_number(e, "PRIORITY", (uint64_t)levels[level].priority);
	add_text(e, "MESSAGE_ID", log_kinds[event].message_id, LOG_MESSAGE_MAX);
	add_text(e, "ACKD_EVENT", log_kinds[event].name, LOG_MESSAGE_MAX);
	e->message = e->length;
	add_text(e, "MESSAGE", message, LOG_MESSAGE_MAX);
	if (!fields)
		return;
#define LOG_TEXT(member, field, max)                                                               \
	if (fields->member && *fields->member)                                                     \
		add_text(e, field, fields->member, max);
#include "ackd/log/log.def"
#define LOG_NUMBER(number, member, field)                                                          \
	if (fields->has & LOG_HAS_##number)                                                        \
		add_number(e, field, fields->member);
#include "ackd/log/log.def"
}

void log_entry_copy(struct log_entry *to, const struct log_entry *from)
{
	memcpy(to, from, offsetof(struct log_entry, text) + from->length);
}

static int write_journal(const struct log_entry *e)
{
	struct iovec fields[LOG_ENTRY_FIELDS];
	int n = 0;

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

/* Formats the line for stderr. Other formats belong here: the entry has all fields. */
static size_t format_line(const struct log_entry *e, bool stderr_journal, char *out)
{
	char level[8] = "";

	if (stderr_journal)
		snprintf(level, sizeof(level), "<%d>", levels[e->level].priority);
	return (size_t)sprintf(out, "%s%s %s: %s\n", level, levels[e->level].name,
			       log_kinds[e->event].name, e->text + e->message + strlen("MESSAGE="));
}

int log_entry_write(const struct log_entry *entry, bool journal, bool stderr_journal)
{
	char line[LOG_ENTRY_MAX + 64];

	if (journal && write_journal(entry) >= 0)
		return 0;
	return write_all(STDERR_FILENO, line, format_line(entry, stderr_journal, line));
}
