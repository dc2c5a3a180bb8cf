#pragma once

/* The kinds of event: what each is called, its level, its identity, and how often it may repeat. */

#include "ackd/log/log.h"

struct log_kind {
	const char *name; /* ACKD_EVENT */
	const char
		*message_id; /* 32 hex digits; packaging/ackd.catalog explains it. Never changes. */
	enum log_level level;
	unsigned burst;	     /* how many at once; 0: no limit of the rate */
	unsigned per_second; /* in the long run */
};

/* Returns what there is to know of the kind. Static. */
const struct log_kind *log_kind(enum log_event event);

/* "error" and so on. Static. */
const char *log_level_name(enum log_level level);

/* The level as syslog(3) and the journal number it. */
int log_level_priority(enum log_level level);
