#pragma once

/*
 * The configuration: created from /etc/ackd.conf (libconfig) or the defaults, immutable afterwards,
 * and shared by all threads. It is reference-counted, because connections keep the configuration
 * with which they were accepted.
 *
 * config.c loads it in three steps. text.c combines the file and its includes into one text and
 * checks it. parse.c, the only file that uses libconfig, reads the settings from the text, then
 * those of the command line, which assignment.c turns into such text. check.c checks settings that
 * depend on each other. settings.def is the table of all settings; settings.c and arrays.c have
 * their types.
 */

#include "ackd/config/reader.h"
#include "ackd/log/level.h"
#include "ackd/tls/context.h"
#include "core/session/policy.h"
#include "core/wire/cidr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* The maximum length of the setting quit, in bytes of UTF-8. */
#define QUIT_MAX 256

struct config_listener {
	char *name;
	char *address; /* as configured: an address, a name or "*"; NULL when path is set */
	uint16_t port;
	char *path; /* path of a UNIX socket, or "@NAME"; NULL otherwise */
	mode_t mode;
	unsigned backlog;
	unsigned keepalive_s; /* idle time before TCP keepalive probes; 0: none */
	char *greeting;	      /* template sources; the compiled templates are in policy */
	char *ack_prefix;
	char *ack_suffix;
	char *reply_text; /* these three: NULL if they are not set */
	char *nak_text;
	char *quit;
	bool freebind;
	struct cidr_list allow;
	struct cidr_list deny;
	struct cidr_list proxies;
	struct tls_settings tls;
	struct tls_context *tls_context; /* made from tls; NULL: no TLS */
	struct policy policy;		 /* its listener and host point into this struct config */
};

struct config {
	_Atomic unsigned references;
	char *path; /* the file from which it was read; NULL: the built-in defaults */
	char host[TEMPLATE_HOST_MAX + 1]; /* for ${host} */

	struct config_listener *listeners;
	size_t n_listeners; /* at least 1 */
	bool listed; /* the configuration has a listeners list, not only top-level settings */

	unsigned workers;      /* as configured; 0: one per CPU */
	uint64_t busy_poll_us; /* 0: off */
	bool keep_connections;
	uint64_t max_connections;
	uint64_t max_handshakes;
	uint64_t max_connections_per_address; /* 0: no limit */
	uint32_t max_message_bytes;
	size_t max_memory_bytes;
	uint64_t idle_timeout_ms; /* 0: never */
	uint64_t drain_delay_ms;
	uint64_t drain_timeout_ms;
	struct log_settings log;
	struct config_listener metrics; /* has only a name, an address (NULL: no metrics), a port */
};

/* Where a configuration comes from: a file, and what the command line sets. */
struct config_source {
	const char *path; /* NULL: ackd.conf in sysconfdir, or the defaults if there is none */
	int port;	  /* replaces the port at top level; -1: none */

	/*
	 * Each NAME=VALUE replaces what the file sets, in all listeners or, with a NAME of the form
	 * listeners.LISTENER.SETTING, in one. The last one of a NAME wins.
	 */
	const char *const *assignments;
	size_t n_assignments;

	/* The files of tls groups are not read: this process has no credentials of the service. */
	bool without_tls_files;
};

/*
 * Reads and checks the configuration that @source describes.
 *
 * Each error is written to @errors as a line "FILE:LINE: setting: found X; allowed: Y". Returns 0
 * and one reference, -EINVAL when errors were written (exit status 78), or -ENOMEM.
 */
int config_load(const struct config_source *source, FILE *errors, struct config **ret_config);

/* Like config_load(), but reads the files through @reader, for tests without files. */
int config_load_with(const struct config_source *source, config_reader reader, void *reader_data,
		     FILE *errors, struct config **ret_config);

/*
 * Reads the settings of the log in the assignments of @source, and nothing else, for messages about
 * the configuration itself. Assignments that are in error have no effect. Returns 0 or -ENOMEM.
 */
int config_load_log(const struct config_source *source, struct log_settings *ret_settings);

/*
 * Checks whether this process can read all files that config_load() would read for @path. Their
 * contents are read only as far as needed to find included files. A pipe is an error. Waits for no
 * writer, but a network file system may block. Errors are written to @errors as lines. Returns 0,
 * -EINVAL when errors were written, or -ENOMEM.
 */
int config_readable(const char *path, FILE *errors);

/*
 * Returns the user of listening sockets with the index @user: a listener, or, with the number of
 * listeners, the metrics.
 */
const struct config_listener *config_user(const struct config *config, size_t user);

/* Returns the index of the listener @name, or the number of listeners if there is none. */
size_t config_find_listener(const struct config *config, const char *name);

/* Returns the TLS context of the listener @name, or NULL if it has no TLS, or does not exist. */
const struct tls_context *config_find_tls(const struct config *config, const char *name);

/* Take and release a reference; config_unref() accepts NULL and returns NULL. Any thread. */
struct config *config_ref(struct config *config);
struct config *config_unref(struct config *config);

/*
 * Writes the configuration in libconfig syntax; reading the output produces the same configuration.
 * Returns 0 or a negative errno.
 */
int config_dump(const struct config *config, FILE *out);

/*
 * Calls @changed with the name of each daemon setting that differs between @a and @b and takes
 * effect only after a restart.
 */
void config_diff_restart(const struct config *a, const struct config *b,
			 void (*changed)(void *data, const char *setting), void *data);

/* Returns the version of libconfig as text: "1.5". Static. */
const char *config_library_version(void);
