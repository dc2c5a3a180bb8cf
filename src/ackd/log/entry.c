#include "ackd/log/internal.h"
#include "ackd/systemd/systemd.h"
#include "base/clock.h"
#include "core/text/printable.h"

#include <ctype.h>
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
	e->time_us = clock_wall_us();
	e->length = 0;
	vsnprintf(message, sizeof(message), format, ap);
	add_number(e, "PRIORITY", (uint64_t)levels[level].priority);
	add_text(e, "MESSAGE_ID", log_kinds[event].message_id, LOG_MESSAGE_MAX);
	add_text(e, "ACKD_EVENT", log_kinds[event].name, LOG_MESSAGE_MAX);
	e->message = e->length;
	add_text(e, "MESSAGE", message, LOG_MESSAGE_MAX);
	e->numbers = e->length;
	if (!fields)
		return;
#define LOG_TEXT(member, field, max)                                                               \
	if (fields->member && *fields->member)                                                     \
		add_text(e, field, fields->member, max);
#include "ackd/log/log.def"
	e->numbers = e->length;
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

/* ---- lines for stderr; each function writes to @out and returns the length ---- */

/* Writes the time as in RFC 3339, in UTC. */
static size_t format_time(uint64_t time_us, char *out)
{
	time_t seconds = (time_t)(time_us / 1000000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)sprintf(out + n, ".%06uZ", (unsigned)(time_us % 1000000));
}

static size_t format_text(const struct log_entry *e, bool timestamp, char *out)
{
	size_t n = 0;

	if (timestamp) {
		n = format_time(e->time_us, out);
		out[n++] = ' ';
	}
	return n + (size_t)sprintf(out + n, "%s %s: %s\n", levels[e->level].name,
				   log_kinds[e->event].name,
				   e->text + e->message + strlen("MESSAGE="));
}

/* Writes a string of JSON. All characters of @text are printable. */
static size_t format_string(const char *text, char *out)
{
	size_t n = 0;

	out[n++] = '"';
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			out[n++] = '\\';
		out[n++] = *text;
	}
	out[n++] = '"';
	return n;
}

/*
 * Writes the name of the journal's @field, "NAME=value", without its prefix and in lower case. The
 * number of a message would have the name of the message of the entry.
 */
static size_t format_name(const char *field, char *out)
{
	static const char prefix[] = "ACKD_", number[] = "MESSAGE=";
	size_t n = 0;

	if (strncmp(field, prefix, strlen(prefix)) == 0) {
		field += strlen(prefix);
		if (strncmp(field, number, strlen(number)) == 0)
			return (size_t)sprintf(out, "\"message_number\"");
	}
	out[n++] = '"';
	for (; *field != '='; field++)
		out[n++] = (char)tolower((unsigned char)*field);
	out[n++] = '"';
	return n;
}

static size_t format_json(const struct log_entry *e, char *out)
{
	static const char event[] = "ACKD_EVENT=", priority[] = "PRIORITY=";
	size_t n = (size_t)sprintf(out, "{\"time\":\"");

	n += format_time(e->time_us, out + n);
	n += (size_t)sprintf(out + n, "\",\"level\":\"%s\",\"event\":\"%s\",\"message\":",
			     levels[e->level].name, log_kinds[e->event].name);
	n += format_string(e->text + e->message + strlen("MESSAGE="), out + n);
	for (size_t i = 0; i < e->length; i += strlen(e->text + i) + 1) {
		const char *field = e->text + i, *value = strchr(field, '=') + 1;

		if (i == e->message || strncmp(field, event, strlen(event)) == 0 ||
		    strncmp(field, priority, strlen(priority)) == 0)
			continue; /* already there */
		out[n++] = ',';
		n += format_name(field, out + n);
		out[n++] = ':';
		n += i < e->numbers ? format_string(value, out + n)
				    : (size_t)sprintf(out + n, "%s", value);
	}
	return n + (size_t)sprintf(out + n, "}\n");
}

int log_entry_write(const struct log_entry *entry, const struct log_output *output)
{
	char line[LOG_LINE_MAX];
	size_t n = 0;

	if (output->journal && write_journal(entry) >= 0)
		return 0;
	if (output->stderr_is_journal)
		n = (size_t)sprintf(line, "<%d>", levels[entry->level].priority);
	if (output->format == LOG_FORMAT_JSON)
		n += format_json(entry, line + n);
	else
		n += format_text(entry, output->timestamps, line + n);
	return write_all(STDERR_FILENO, line, n);
}
