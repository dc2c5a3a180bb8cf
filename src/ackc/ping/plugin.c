/* The output of ping as a monitoring plugin: one line with performance data, and a state. */

#include "ackc/ping/ping.h"

#include "ackc/output/output.h"
#include "ackc/output/times.h"
#include "ackc/ping/report.h"

#include "base/plural.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum state { STATE_OK, STATE_WARNING, STATE_CRITICAL, STATE_UNKNOWN };

static const char *const names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

static bool alerts(const struct ping_report *r, const struct threshold *t)
{
	return range_alerts(&t->loss_percent, ping_report_loss_percent(r)) ||
	       (r->rtt->count && range_alerts(&t->ms, ms_of_ns(histogram_mean(r->rtt))));
}

static enum state state_of(const struct ping_report *r)
{
	if (r->transmitted == 0)
		return r->last_words[0] ? STATE_CRITICAL : STATE_UNKNOWN;
	if (r->wrong || r->received == 0 || r->late || alerts(r, &r->options->crit))
		return STATE_CRITICAL;
	return r->cuts || alerts(r, &r->options->warn) ? STATE_WARNING : STATE_OK;
}

/* Replaces characters that have a meaning: '|' starts the performance data, LF another line. */
static void print_words(const char *words)
{
	for (; *words; words++)
		putchar(*words == '|' ? '/' : *words == '\n' ? ' ' : *words);
}

static void print_performance(const struct ping_report *r)
{
	const struct threshold *warn = &r->options->warn;
	const struct threshold *crit = &r->options->crit;

	fputs(" |", stdout);
	if (r->rtt->count) {
		printf(" rta=%.6fms;", ms_of_ns(histogram_mean(r->rtt)));
		range_print(&warn->ms, stdout);
		putchar(';');
		range_print(&crit->ms, stdout);
		printf(";0 rtmin=%.6fms;;;0 rtmax=%.6fms;;;0", ms_of_ns((double)r->rtt->min_ns),
		       ms_of_ns((double)r->rtt->max_ns));
	}
	printf(" pl=%g%%;", ping_report_loss_percent(r));
	range_print(&warn->loss_percent, stdout);
	putchar(';');
	range_print(&crit->loss_percent, stdout);
	fputs(";0;100\n", stdout);
}

int ping_plugin_end(const struct ping_report *r)
{
	enum state state = state_of(r);

	printf("ACKC %s - ", names[state]);
	print_words(r->options->target.label);
	if (r->transmitted)
		printf(": %" PRIu64 " of %" PRIu64 " probe%s answered", r->received, r->transmitted,
		       plural(r->transmitted));
	else
		fputs(": no probe sent", stdout);
	if (r->rtt->count)
		printf(", mean %.3f ms", ms_of_ns(histogram_mean(r->rtt)));
	if (r->last_words[0]) {
		fputs(", ", stdout);
		print_words(r->last_words);
	}
	if (r->late)
		printf(", not finished after %g s", (double)r->options->deadline_ms / 1e3);
	print_performance(r);
	output_flush();
	return (int)state;
}

int ping_plugin_unknown(const char *words)
{
	printf("ACKC %s - %s%s", names[STATE_UNKNOWN], words,
	       *words && words[strlen(words) - 1] == '\n' ? "" : "\n");
	return output_end(EXIT_UNKNOWN);
}
