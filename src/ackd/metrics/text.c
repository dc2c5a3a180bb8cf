#include "ackd/metrics/text.h"

#include "ackd/log/log.h"
#include "ackd/metrics/stats.h"
#include "ackd/tls/context.h"
#include "core/utf8/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define FIRST_CAPACITY 4096

/*
 * Text that grows. It is not a stream of open_memstream(): in glibc 2.36 that loses what it has no
 * memory for, and neither ferror() nor fclose() reports it.
 */
struct text {
	char *bytes; /* NULL: out of memory */
	size_t length;
	size_t capacity;
};

/* Makes room for @n bytes more, or releases the text. Returns whether there is room. */
static bool reserve(struct text *text, size_t n)
{
	char *bytes;

	if (!text->bytes)
		return false;
	if (text->capacity - text->length > n)
		return true;
	text->capacity = 2 * (text->length + n);
	bytes = realloc(text->bytes, text->capacity);
	if (!bytes)
		free(text->bytes);
	text->bytes = bytes;
	return bytes != NULL;
}

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (!reserve(text, (size_t)n))
		return;
	va_start(arguments, format);
	vsnprintf(text->bytes + text->length, (size_t)n + 1, format, arguments);
	va_end(arguments);
	text->length += (size_t)n;
}

static void put_char(struct text *text, char c)
{
	if (!reserve(text, 1))
		return;
	text->bytes[text->length++] = c;
	text->bytes[text->length] = '\0';
}

/* Writes name="value", escaping the value as the format requires. */
static void put_label(struct text *text, const char *name, const char *value)
{
	put(text, "%s=\"", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\n' || *c == '\\' || *c == '"')
			put_char(text, '\\');
		put_char(text, *c == '\n' ? 'n' : *c);
	}
	put_char(text, '"');
}

/*
 * Writes the label of a reason: its name in the log, with underscores in place of spaces, because
 * spaces are awkward in queries.
 */
static void put_reason(struct text *text, const char *name)
{
	put(text, ",reason=\"");
	for (const char *c = name; *c; c++)
		put_char(text, *c == ' ' ? '_' : *c);
	put_char(text, '"');
}

/* ---- metrics of listeners ---- */

static const char *nak_name(unsigned i)
{
	return nak_reason_name(i);
}

static const char *refused_name(unsigned i)
{
	return refusal_name(REFUSAL_NONE + 1 + i);
}

static const char *closed_name(unsigned i)
{
	return conn_reason_name(CONN_END + i);
}

/* The counters of each listener: @n adjacent ones, named by @reason_name if there are several. */
static const struct family {
	const char *name, *help;
	unsigned counter, n;
	const char *(*reason_name)(unsigned i);
} families[] = {
	{"ackd_connections_total", "Connections that were served.", COUNTER_CONNECTIONS, 1, NULL},
	{"ackd_received_bytes_total", "Bytes received, without what TLS adds.",
	 COUNTER_RECEIVED_BYTES, 1, NULL},
	{"ackd_sent_bytes_total", "Bytes sent, without what TLS adds.", COUNTER_SENT_BYTES, 1,
	 NULL},
	{"ackd_messages_total", "Messages, including those answered with a NAK.", COUNTER_MESSAGES,
	 1, NULL},
	{"ackd_skipped_bytes_total", "Bytes received between frames.", COUNTER_SKIPPED_BYTES, 1,
	 NULL},
	{"ackd_ill_formed_total", "Ill-formed subsequences that encoding.errors replaced or kept.",
	 COUNTER_ILL_FORMED, 1, NULL},
	{"ackd_accept_errors_total", "Failures to accept a connection.", COUNTER_ACCEPT_ERRORS, 1,
	 NULL},
	{"ackd_health_checks_total",
	 "Connections of load balancers that closed without sending anything.",
	 COUNTER_HEALTH_CHECKS, 1, NULL},
	{"ackd_connections_refused_total", "Connections that were not served, by reason.",
	 COUNTER_REFUSED + REFUSAL_NONE + 1, REFUSAL_COUNT - REFUSAL_NONE - 1, refused_name},
	{"ackd_connections_closed_total", "Connections that were served and have ended, by reason.",
	 COUNTER_CLOSED_BY, CONN_REASON_COUNT - CONN_END, closed_name},
	{"ackd_naks_total", "Messages or connections answered with a NAK, by reason.", COUNTER_NAKS,
	 NAK_REASON_COUNT, nak_name},
};

static void put_head(struct text *text, const char *name, const char *type, const char *help)
{
	put(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/*
 * Begins a sample of @listener. The name of the sample is that of its metric and @suffix. The
 * caller adds other labels and the value.
 */
static void begin_sample(struct text *text, const char *name, const char *suffix,
			 const char *listener)
{
	put(text, "%s%s{", name, suffix);
	put_label(text, "listener", listener);
}

/* @reason: NULL for none. */
static void put_sample(struct text *text, const char *name, const struct stats_entry *listener,
		       const char *reason, uint64_t value)
{
	begin_sample(text, name, "", stats_name(listener));
	if (reason)
		put_reason(text, reason);
	put(text, "} %" PRIu64 "\n", value);
}

/* The samples of a family must be adjacent. */
static void put_listeners(struct text *text)
{
	static const char open[] = "ackd_open_connections";
	const struct stats_entry *e = NULL;

	put_head(text, open, "gauge", "Connections that are open.");
	while ((e = stats_next(e))) {
		struct stats stats = stats_read(e);

		put_sample(text, open, e, NULL, stats_open(&stats));
	}
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		const struct family *family = &families[f];

		put_head(text, family->name, "counter", family->help);
		while ((e = stats_next(e)))
			for (unsigned i = 0; i < family->n; i++)
				put_sample(text, family->name, e,
					   family->reason_name ? family->reason_name(i) : NULL,
					   stats_value(e, family->counter + i));
	}
}

/* ---- TLS ---- */

/* Returns whether a handshake can end in this way. */
static bool is_possible(enum tls_version version, enum tls_result result)
{
	switch (result) {
	case TLS_RESULT_SUCCESS:
		return version != TLS_VERSION_NONE;
	case TLS_RESULT_NOT_TLS:
		return version == TLS_VERSION_NONE;
	default:
		return true;
	}
}

static void put_handshakes(struct text *text, const char *name, const struct stats_entry *e)
{
	for (enum tls_version v = 0; v < TLS_VERSION_COUNT; v++)
		for (enum tls_result r = 0; r < TLS_RESULT_COUNT; r++) {
			if (!is_possible(v, r))
				continue;
			begin_sample(text, name, "", stats_name(e));
			put(text, ",version=\"%s\",result=\"%s\"} %" PRIu64 "\n",
			    tls_version_name(v), tls_result_name(r),
			    stats_value(e, stats_handshake(v, r)));
		}
}

/* A histogram: each bucket contains the shorter ones. */
static void put_durations(struct text *text, const char *name, const struct stats_entry *e)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		sum += stats_value(e, COUNTER_HANDSHAKE_BUCKETS + i);
		begin_sample(text, name, "_bucket", stats_name(e));
		if (i < STATS_BUCKETS - 1)
			put(text, ",le=\"%g\"", stats_bucket_seconds(i));
		else
			put(text, ",le=\"+Inf\"");
		put(text, "} %" PRIu64 "\n", sum);
	}
	begin_sample(text, name, "_sum", stats_name(e));
	put(text, "} %.6f\n", (double)stats_value(e, COUNTER_HANDSHAKE_US) / 1e6);
	begin_sample(text, name, "_count", stats_name(e));
	put(text, "} %" PRIu64 "\n", sum);
}

/* Returns whether the listener has TLS, or had it while it handled a connection. */
static bool has_tls(const struct stats_entry *e, const struct config *config)
{
	struct stats stats = stats_read(e);

	return config_find_tls(config, stats_name(e)) || stats_handshakes(&stats, false) > 0;
}

static void put_tls(struct text *text, const struct config *config)
{
	static const char handshakes[] = "ackd_tls_handshakes_total";
	static const char durations[] = "ackd_tls_handshake_duration_seconds";
	static const char expiry[] = "ackd_tls_certificate_expiry_timestamp_seconds";
	const struct stats_entry *e = NULL;

	put_head(text, handshakes, "counter", "TLS handshakes, by version and result.");
	while ((e = stats_next(e)))
		if (has_tls(e, config))
			put_handshakes(text, handshakes, e);
	put_head(text, durations, "histogram",
		 "Time that successful TLS handshakes took, from the moment they could begin.");
	while ((e = stats_next(e)))
		if (has_tls(e, config))
			put_durations(text, durations, e);
	put_head(text, expiry, "gauge",
		 "When the first of the certificates that clients receive expires.");
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *l = &config->listeners[i];

		if (!l->tls_context)
			continue;
		begin_sample(text, expiry, "", l->name);
		put(text, "} %" PRId64 "\n", tls_context_expiry(l->tls_context));
	}
}

/* ---- metrics of the daemon ---- */

static void put_number(struct text *text, const char *name, const char *type, const char *help,
		       uint64_t value)
{
	put_head(text, name, type, help);
	put(text, "%s %" PRIu64 "\n", name, value);
}

static void put_seconds(struct text *text, const char *name, const char *type, const char *help,
			double value)
{
	put_head(text, name, type, help);
	put(text, "%s %.3f\n", name, value);
}

static void put_workers(struct text *text, const struct metrics_view *view)
{
	static const char name[] = "ackd_worker_cpu_seconds_total";

	put_head(text, name, "counter", "CPU time that the worker has used.");
	for (size_t i = 0; i < view->n_workers; i++)
		put(text, "%s{worker=\"%zu\"} %.6f\n", name, i,
		    (double)view->worker_cpu_ns[i] / 1e9);
}

/* The names are those of Prometheus' client libraries. */
static void put_process(struct text *text, const struct metrics_view *view)
{
	const struct process_usage *process = &view->process;

	put_seconds(text, "process_start_time_seconds", "gauge",
		    "When the process began, in seconds since 1970.", view->started_s);
	put_seconds(text, "process_cpu_seconds_total", "counter",
		    "CPU time that the process has used.", process->cpu_seconds);
	if (process->resident_bytes > 0)
		put_number(text, "process_resident_memory_bytes", "gauge",
			   "Memory of the process that is in RAM.", process->resident_bytes);
	if (process->open_fds > 0)
		put_number(text, "process_open_fds", "gauge",
			   "File descriptors that the process has open.", process->open_fds);
	put_number(text, "process_max_fds", "gauge",
		   "File descriptors that the process may have open.", process->max_fds);
}

static void put_reloads(struct text *text, const struct metrics_view *view)
{
	static const char reloads[] = "ackd_reloads_total";

	put_head(text, reloads, "counter", "Reloads of the configuration, by result.");
	put(text, "%s{result=\"success\"} %" PRIu64 "\n%s{result=\"failure\"} %" PRIu64 "\n",
	    reloads, view->reloads_done, reloads, view->reloads_failed);
	put_number(text, "ackd_config_last_reload_success", "gauge",
		   "1 if the last reload, or the start, has succeeded, otherwise 0.",
		   view->has_reloaded);
	put_seconds(text, "ackd_config_last_reload_timestamp_seconds", "gauge",
		    "Time of the last reload or of the start, in seconds since 1970.",
		    view->reloaded_s);
}

static void put_daemon(struct text *text, const struct metrics_view *view)
{
	static const char build[] = "ackd_build_info";

	put_seconds(text, "ackd_start_time_seconds", "gauge",
		    "Time at which ackd was started, in seconds since 1970.", view->started_s);
	put_number(text, "ackd_max_connections", "gauge",
		   "limits.max_connections, or less if the descriptor limit allows no more.",
		   view->max_connections);
	put_number(text, "ackd_held_bytes", "gauge",
		   "Unsent and unanswered bytes that all connections hold together.",
		   view->held_bytes);
	put_number(text, "ackd_max_held_bytes", "gauge", "limits.max_memory.",
		   view->max_held_bytes);
	put_reloads(text, view);
	put_number(text, "ackd_log_dropped_total", "counter",
		   "Log entries that were lost or not written in time.", log_dropped());
	put_workers(text, view);
	put_head(text, build, "gauge", "Versions of this ackd and of its libraries; always 1.");
	put(text, "%s{", build);
	put_label(text, "version", ACKD_VERSION);
	put(text, ",");
	put_label(text, "libuv", uv_version_string());
	put(text, ",");
	put_label(text, "kernel", utf8_kernel_name());
	put(text, "} 1\n");
}

int metrics_text(const struct metrics_view *view, char **ret_text, size_t *ret_length)
{
	struct text text = {.bytes = malloc(FIRST_CAPACITY), .capacity = FIRST_CAPACITY};

	put_listeners(&text);
	put_tls(&text, view->config);
	put_daemon(&text, view);
	put_process(&text, view);
	if (!text.bytes)
		return -ENOMEM;
	*ret_text = text.bytes;
	*ret_length = text.length;
	return 0;
}
