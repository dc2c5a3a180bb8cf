#pragma once

/*
 * The configuration in effect: made once from /etc/ackd.conf (libconfig) or the defaults, immutable
 * afterwards, and shared by every thread. Connections keep the one that they were accepted with, so
 * it is counted.
 *
 * config.c loads it, in three steps. config_text.c makes one text of the file and its includes and
 * checks it; config_parse.c, the only file that knows libconfig, reads the settings from it;
 * config_check.c checks what settings say together. settings.def is the table of all settings,
 * config_setting.c what can be done with one, config_types.c the types that they have;
 * config_dump.c writes a configuration.
 */

#include "ackd/log/level.h"
#include "core/session/policy.h"
#include "core/wire/cidr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct config_listener {
	char *name;
	char *address; /* as configured: an address, a name or "*"; NULL when path is set */
	uint16_t port;
	char *path; /* UNIX socket; NULL otherwise */
	mode_t mode;
	int backlog;
	char *greeting; /* the templates' sources; compiled in policy */
	char *ack_prefix;
	char *ack_suffix;
	bool freebind;
	struct cidr_list allow;
	struct cidr_list deny;
	struct cidr_list proxies;
	struct policy policy; /* its name and host point into this struct config */
};

struct config {
	_Atomic unsigned references;
	char *path; /* the file it was read from; NULL: the built-in defaults */
	char host[TEMPLATE_HOST_MAX + 1]; /* for ${host} */

	struct config_listener *listeners;
	size_t n_listeners; /* at least 1 */
	bool listed;	    /* they were listed: there is more than the top-level settings */

	unsigned workers;      /* as configured; 0: one per CPU */
	uint64_t busy_poll_us; /* 0: off */
	bool keep_connections;
	uint64_t max_connections;
	uint64_t max_connections_per_address; /* 0: no limit */
	uint32_t max_line_bytes;
	size_t max_memory_bytes;
	uint64_t idle_timeout_ms; /* 0: never */
	uint64_t drain_timeout_ms;
	enum log_level log_level;
	enum log_target log_target;
	char *metrics_address; /* NULL: no metrics listener */
	uint16_t metrics_port;
};

/*
 * Reads and checks the file at @path. With @path NULL: sysconfdir's ackd.conf, or the built-in
 * defaults when there is no such file. @port (-1: none) replaces the top-level port.
 *
 * Every error is one line to @errors: "FILE:LINE: setting: what was found; what is allowed".
 * Returns 0 and one reference, -EINVAL when errors were written (exit status 78), or -ENOMEM.
 */
int config_load(const char *path, int port, FILE *errors, struct config **ret_config);

/*
 * Whether this process may read all the files that config_load() would read for @path; what they
 * say is looked at only as far as it takes to find them. Errors are lines to @errors. Returns 0,
 * -EINVAL when errors were written, or -ENOMEM.
 */
int config_readable(const char *path, FILE *errors);

/* Takes and gives back a reference; unref accepts NULL and returns NULL. Any thread. */
struct config *config_ref(struct config *config);
struct config *config_unref(struct config *config);

/*
 * Writes the configuration in libconfig syntax, such that reading it back gives the same. Returns 0
 * or a negative errno.
 */
int config_dump(const struct config *config, FILE *out);

/*
 * Calls @changed with the name of each daemon setting in which @a and @b differ and that only a
 * restart puts into effect.
 */
void config_diff_restart(const struct config *a, const struct config *b,
			 void (*changed)(void *data, const char *setting), void *data);

/* Returns the version of libconfig as text: "1.5". Static. */
const char *config_library_version(void);
