#include "ackd/metrics/text.h"

#include "ackd/log/log.h"
#include "ackd/metrics/counters.h"
#include "core/utf8/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <uv.h>

/* A snapshot of all listeners. A family's samples must be adjacent. */
struct snapshot {
	const char *name;
	struct stats stats;
};

/* The metrics of each listener that have no reason label. */
static const struct family {
	const char *name;
	const char *help;
	enum counter counter;
} families[] = {
	{"ackd_connections_total", "Connections that were served.", COUNTER_CONNECTIONS},
	{"ackd_received_bytes_total", "Bytes received.", COUNTER_RECEIVED_BYTES},
	{"ackd_sent_bytes_total", "Bytes sent.", COUNTER_SENT_BYTES},
	{"ackd_messages_total", "Messages, those answered with a NAK too.", COUNTER_MESSAGES},
	{"ackd_accept_errors_total", "Failures to accept a connection.", COUNTER_ACCEPT_ERRORS},
	{"ackd_health_checks_total",
	 "Connections of load balancers that closed without sending anything.",
	 COUNTER_HEALTH_CHECKS},
};

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Writes name="value", escaping the value as the format requires. */
static void write_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\n')
			fputs("\\n", out);
		else if (*c == '\\' || *c == '"')
			fprintf(out, "\\%c", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static void write_listener_sample(FILE *out, const char *name, const char *listener,
				  const char *reason, uint64_t value)
{
	fprintf(out, "%s{", name);
	write_label(out, "listener", listener);
	if (reason) {
		fputc(',', out);
		write_label(out, "reason", reason);
	}
	fprintf(out, "} %" PRIu64 "\n", value);
}

static void write_listeners(FILE *out, const struct snapshot *snapshots, size_t n)
{
	static const char open[] = "ackd_open_connections";
	static const char refused[] = "ackd_connections_refused_total";
	static const char naks[] = "ackd_naks_total";

	write_head(out, open, "gauge", "Connections that are open.");
	for (size_t i = 0; i < n; i++)
		write_listener_sample(out, open, snapshots[i].name, NULL,
				      stats_open(&snapshots[i].stats));
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		const struct family *family = &families[f];

		write_head(out, family->name, "counter", family->help);
		for (size_t i = 0; i < n; i++)
			write_listener_sample(out, family->name, snapshots[i].name, NULL,
					      snapshots[i].stats.values[family->counter]);
	}
	write_head(out, refused, "counter", "Connections that were not served, by reason.");
	for (size_t i = 0; i < n; i++)
		for (unsigned r = REFUSAL_NONE + 1; r < REFUSAL_COUNT; r++)
			write_listener_sample(out, refused, snapshots[i].name, refusal_name(r),
					      snapshots[i].stats.values[COUNTER_REFUSED + r]);
	write_head(out, naks, "counter", "Messages or connections answered with a NAK, by reason.");
	for (size_t i = 0; i < n; i++)
		for (unsigned r = 0; r < NAK_REASON_COUNT; r++)
			write_listener_sample(out, naks, snapshots[i].name, nak_reason_name(r),
					      snapshots[i].stats.values[COUNTER_NAKS + r]);
}

static void write_number(FILE *out, const char *name, const char *type, const char *help,
			 uint64_t value)
{
	write_head(out, name, type, help);
	fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static void write_daemon(FILE *out, const struct metrics_view *view)
{
	static const char reloads[] = "ackd_reloads_total";
	static const char busy[] = "ackd_worker_busy_ratio";
	static const char build[] = "ackd_build_info";

	write_number(out, "ackd_max_connections", "gauge",
		     "limits.max_connections, as fitted under the descriptor limit.",
		     view->max_connections);
	write_number(out, "ackd_held_bytes", "gauge",
		     "What all connections hold together in unsent and unanswered bytes.",
		     view->held_bytes);
	write_number(out, "ackd_max_held_bytes", "gauge", "limits.max_memory.",
		     view->max_held_bytes);
	write_head(out, reloads, "counter", "Reloads of the configuration, by result.");
	fprintf(out, "%s{result=\"success\"} %" PRIu64 "\n%s{result=\"failure\"} %" PRIu64 "\n",
		reloads, view->reloads_done, reloads, view->reloads_failed);
	write_number(out, "ackd_log_dropped_total", "counter",
		     "Log entries that could not be written, or not in time.", log_dropped());
	write_head(out, busy, "gauge",
		   "Share of one CPU that the worker used in the last interval of 5 s.");
	for (size_t i = 0; i < view->n_workers; i++)
		fprintf(out, "%s{worker=\"%zu\"} %.4f\n", busy, i, view->busy_ratios[i]);
	write_head(out, build, "gauge", "What this ackd is made of; always 1.");
	fprintf(out, "%s{", build);
	write_label(out, "version", ACKD_VERSION);
	fputc(',', out);
	write_label(out, "libuv", uv_version_string());
	fputc(',', out);
	write_label(out, "kernel", utf8_kernel_name());
	fputs("} 1\n", out);
}

int metrics_write(FILE *out, const struct metrics_view *view)
{
	const struct stats_entry *entry = NULL;
	struct snapshot *snapshots;
	size_t n = 0;

	while ((entry = stats_next(entry)))
		n++;
	snapshots = calloc(n + 1, sizeof(*snapshots));
	if (!snapshots)
		return -ENOMEM;
	for (n = 0; (entry = stats_next(entry)); n++)
		snapshots[n] = (struct snapshot){stats_name(entry), stats_read(entry)};
	write_listeners(out, snapshots, n);
	write_daemon(out, view);
	free(snapshots);
	return ferror(out) ? -ENOMEM : 0;
}
