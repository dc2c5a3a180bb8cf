#pragma once

/* An event as the log keeps it: formatted when it is posted, written later by the log's thread. */

#include "ackd/log/log.h"
#include "core/session/template.h"

#include <stdarg.h>
#include <stddef.h>

/* Of each string field, in bytes; longer ones are cut off. */
#define LOG_TEXT_MAX 127
#define LOG_PROXY_ID_MAX TEMPLATE_PROXY_ID_MAX
#define LOG_AUTHORITY_MAX TEMPLATE_AUTHORITY_MAX

/* The message and the fields with every byte escaped, as \xNN. */
#define LOG_ENTRY_MAX                                                                              \
	(4 * (LOG_MESSAGE_MAX + 5 * LOG_TEXT_MAX + LOG_PROXY_ID_MAX + LOG_AUTHORITY_MAX) + 15 * 48)

struct log_entry {
	enum log_event event;
	enum log_level level;
	size_t length;		  /* of @text in use */
	char text[LOG_ENTRY_MAX]; /* strings "NAME=value": MESSAGE comes first */
};

/* Where entries go. */
struct log_sink {
	bool journal;	     /* to the journal; to stderr what it does not take */
	bool stderr_journal; /* stderr is a stream to the journal, which takes "<5>" for a level */
};

/* Makes @ret_entry. @fields may be NULL; see log_post(). */
void log_entry_format(struct log_entry *ret_entry, enum log_level level, enum log_event event,
		      const struct log_fields *fields, const char *format, va_list ap)
	__attribute__((format(printf, 5, 0)));

/* Copies the part of @from that is in use. */
void log_entry_copy(struct log_entry *to, const struct log_entry *from);

/* Writes @entry. May block. Returns 0 or a negative errno: it is lost. */
int log_entry_write(const struct log_entry *entry, const struct log_sink *sink);
