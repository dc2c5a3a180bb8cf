#pragma once

/* A log entry: formatted when the event is posted, written later by the log's thread. */

#include "ackd/log/log.h"
#include "core/session/template.h"

#include <stdarg.h>
#include <stddef.h>

/* The most bytes of each string field; longer values are cut. */
#define LOG_TEXT_MAX 127
#define LOG_PROXY_ID_MAX TEMPLATE_PROXY_ID_MAX
#define LOG_AUTHORITY_MAX TEMPLATE_AUTHORITY_MAX

/* The size of an entry in which every byte of the message and the fields is escaped as \xNN. */
#define LOG_ENTRY_MAX                                                                              \
	(4 * (LOG_MESSAGE_MAX + 5 * LOG_TEXT_MAX + LOG_PROXY_ID_MAX + LOG_AUTHORITY_MAX) + 15 * 48)

struct log_entry {
	enum log_event event;
	enum log_level level;
	size_t length;		  /* used bytes of @text */
	char text[LOG_ENTRY_MAX]; /* strings "NAME=value"; MESSAGE is first */
};

/* The destination of entries. */
struct log_sink {
	bool journal;	     /* write to the journal, and to stderr if that fails */
	bool stderr_journal; /* stderr is a journal stream, which accepts "<5>" as a level */
};

/* Formats an entry. @fields may be NULL; see log_post(). */
void log_entry_format(struct log_entry *ret_entry, enum log_level level, enum log_event event,
		      const struct log_fields *fields, const char *format, va_list ap)
	__attribute__((format(printf, 5, 0)));

/* Copies the used part of @from. */
void log_entry_copy(struct log_entry *to, const struct log_entry *from);

/* Writes @entry. May block. Returns 0, or a negative errno if the entry is lost. */
int log_entry_write(const struct log_entry *entry, const struct log_sink *sink);
