#include "ackc/load/internal.h"
#include "ackc/output/output.h"
#include "ackc/output/times.h"
#include "ackc/tls/tls_report.h"
#include "base/plural.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BAR_WIDTH 50

void load_errors_add(struct load_errors *e, bool wrong, const char *words, const char *first,
		     uint64_t count)
{
	unsigned i;

	for (i = 0; i < e->n; i++) {
		if (e->kinds[i].wrong == wrong &&
		    strncmp(e->kinds[i].words, words, sizeof(e->kinds[i].words) - 1) == 0)
			break;
	}
	if (i == LOAD_ERROR_KINDS)
		i--; /* the last kind collects the rest */
	if (i == e->n) {
		e->n++;
		e->kinds[i].wrong = wrong;
		snprintf(e->kinds[i].first, sizeof(e->kinds[i].first), "%s", first);
		snprintf(e->kinds[i].words, sizeof(e->kinds[i].words), "%s",
			 i == LOAD_ERROR_KINDS - 1 ? "other" : words);
	}
	e->kinds[i].count += count;
}

void load_counters_add(struct load_counters *to, const struct load_counters *from)
{
	histogram_merge(&to->latency, &from->latency);
	histogram_merge(&to->service, &from->service);
	histogram_merge(&to->connect, &from->connect);
	histogram_merge(&to->handshake, &from->handshake);
	for (unsigned i = 0; i < from->errors.n; i++)
		load_errors_add(&to->errors, from->errors.kinds[i].wrong,
				from->errors.kinds[i].words, from->errors.kinds[i].first,
				from->errors.kinds[i].count);
	to->completed += from->completed;
	to->failures += from->failures;
	to->connected += from->connected;
	to->sent += from->sent;
	to->lost += from->lost;
	to->unsent += from->unsent;
	to->sent_bytes += from->sent_bytes;
	to->received_bytes += from->received_bytes;
	if (to->last_sent_ns < from->last_sent_ns)
		to->last_sent_ns = from->last_sent_ns;
	if (to->last_ns < from->last_ns)
		to->last_ns = from->last_ns;
}

static double rate(uint64_t quantity, uint64_t ns)
{
	return ns ? (double)quantity / ((double)ns / 1e9) : 0;
}

/* Returns whether the schedule was too fast. A count may end a little late. */
static bool missed_rate(const struct load_result *r)
{
	double scheduled_ns = (double)r->sum.sent * r->plan->interval_ns;

	return load_is_scheduled(r->plan) && r->sum.sent > 0 &&
	       (r->sum.unsent > 0 || (double)r->sending_ns > scheduled_ns * 1.01 + 1e8);
}

static void print_histogram(const struct histogram *h)
{
	static const double steps[] = {1, 2, 5};
	uint64_t before = 0;
	bool begun = false;

	puts("\nlatency up to       messages");
	for (unsigned i = 0;; i++) {
		unsigned decade = i / 3;
		uint64_t bound = (uint64_t)(1000 * steps[i % 3] * pow(10, decade));
		uint64_t upto = bound < h->max_ns ? histogram_count_up_to(h, bound) : h->count;
		uint64_t count = upto - before;
		int bar = (int)((double)count / (double)h->count * BAR_WIDTH + 0.5);

		begun = begun || count;
		before = upto;
		if (!begun)
			continue;
		printf("%10.3f ms %14" PRIu64 " %6.2f %%  ", ms_of_ns((double)bound), count,
		       100.0 * (double)count / (double)h->count);
		while (bar-- > 0)
			putchar('#');
		putchar('\n');
		if (upto == h->count)
			break;
	}
}

static void print_percentiles(const struct load_result *r)
{
	printf(load_is_scheduled(r->plan)
		       ? "              latency, from schedule     from sending\n"
		       : "              latency\n");
	for (size_t i = 0; i < N_PERCENTILES; i++) {
		printf("%10.4g %% %11.3f ms", percentiles[i].percent,
		       percentile_ms(&r->sum.latency, percentiles[i].percent));
		if (load_is_scheduled(r->plan))
			printf("      %14.3f ms",
			       percentile_ms(&r->sum.service, percentiles[i].percent));
		putchar('\n');
	}
}

static void print_errors(const struct load_errors *e)
{
	printf("errors:");
	for (unsigned i = 0; i < e->n; i++)
		printf("%s %" PRIu64 " %s%s", i ? "," : "", e->kinds[i].count,
		       e->kinds[i].wrong ? "wrong: " : "", e->kinds[i].words);
	puts(e->n ? "" : " none");
}

static void print_text(const struct load_result *r)
{
	const struct options *o = r->plan->options;

	printf("--- %s load statistics ---\n", o->target.label);
	if (r->opened < o->connections)
		printf("%u of ", r->opened);
	printf("%u connection%s, depth %u, %u thread%s", o->connections, plural(o->connections),
	       o->depth, o->threads, plural(o->threads));
	if (o->rate > 0)
		printf(", %.10g messages/s scheduled", o->rate);
	putchar('\n');
	if (r->tls.version[0])
		tls_print(&r->tls);
	printf("%" PRIu64 " message%s sent, %" PRIu64 " answered correctly, %" PRIu64
	       " lost, %.3f s: %.1f messages/s, %.3f MB/s sent, %.3f MB/s received\n",
	       r->sum.sent, plural(r->sum.sent), r->sum.completed, r->sum.lost,
	       (double)r->elapsed_ns / 1e9, rate(r->sum.completed, r->elapsed_ns),
	       rate(r->sum.sent_bytes, r->elapsed_ns) / 1e6,
	       rate(r->sum.received_bytes, r->elapsed_ns) / 1e6);
	if (missed_rate(r))
		printf("rate not reached: %.10g messages/s scheduled, %.1f messages/s sent\n",
		       o->rate, rate(r->sum.sent, r->sending_ns));
	if (r->sum.unsent)
		printf("%" PRIu64 " message%s due but not sent\n", r->sum.unsent,
		       r->sum.unsent == 1 ? " was" : "s were");
	times_print("latency", &r->sum.latency);
	if (r->sum.latency.count)
		print_percentiles(r);
	times_print("connect", &r->sum.connect);
	times_print("handshake", &r->sum.handshake);
	if (r->sum.handshake.count)
		printf("handshake p50/p90/p99/p99.9 = %.3f/%.3f/%.3f/%.3f ms\n",
		       percentile_ms(&r->sum.handshake, 50), percentile_ms(&r->sum.handshake, 90),
		       percentile_ms(&r->sum.handshake, 99),
		       percentile_ms(&r->sum.handshake, 99.9));
	print_errors(&r->sum.errors);
	if (r->sum.completed)
		printf("client CPU %.3f s, %.3f us per message\n", (double)r->cpu_ns / 1e9,
		       (double)r->cpu_ns / 1e3 / (double)r->sum.completed);
	if (o->histogram && r->sum.latency.count)
		print_histogram(&r->sum.latency);
}

/* Returns the first wrong reply in full, or NULL if there was none. */
static const char *first_wrong(const struct load_errors *e)
{
	for (unsigned i = 0; i < e->n; i++) {
		if (e->kinds[i].wrong)
			return e->kinds[i].first[0] ? e->kinds[i].first : e->kinds[i].words;
	}
	return NULL;
}

static void json_errors(struct json *j, const struct load_errors *e)
{
	json_open(j, "errors", '[');
	for (unsigned i = 0; i < e->n; i++) {
		json_open(j, NULL, '{');
		json_string(j, "kind", e->kinds[i].words);
		json_bool(j, "wrong", e->kinds[i].wrong);
		json_number(j, "count", e->kinds[i].count);
		json_text(j, "first", e->kinds[i].first);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void print_json(const struct load_result *r, int status)
{
	const struct options *o = r->plan->options;
	struct json j;

	json_begin(&j, stdout);
	json_string(&j, "event", "summary");
	json_string(&j, "command", "load");
	json_string(&j, "target", o->target.label);
	json_text(&j, "address", r->peer);
	json_number(&j, "connections", o->connections);
	json_number(&j, "opened", r->opened);
	json_number(&j, "connected", r->sum.connected);
	json_number(&j, "depth", o->depth);
	json_number(&j, "threads", o->threads);
	json_double(&j, "rate", o->rate);
	json_bool(&j, "interrupted", r->interrupted);
	json_ms(&j, "time_ms", r->elapsed_ns);
	json_number(&j, "sent", r->sum.sent);
	json_number(&j, "completed", r->sum.completed);
	json_number(&j, "lost", r->sum.lost);
	json_number(&j, "unsent", r->sum.unsent);
	json_number(&j, "sent_bytes", r->sum.sent_bytes);
	json_number(&j, "received_bytes", r->sum.received_bytes);
	json_double(&j, "messages_per_second", rate(r->sum.completed, r->elapsed_ns));
	json_double(&j, "sent_per_second", rate(r->sum.sent, r->sending_ns));
	json_ms(&j, "cpu_ms", r->cpu_ns);
	times_json(&j, "latency_ms", &r->sum.latency);
	times_json(&j, "service_ms", &r->sum.service);
	times_json(&j, "connect_ms", &r->sum.connect);
	times_json(&j, "handshake_ms", &r->sum.handshake);
	tls_json_object(&j, &r->tls);
	json_errors(&j, &r->sum.errors);
	json_text(&j, "first_wrong", first_wrong(&r->sum.errors));
	json_number(&j, "status", (uint64_t)status);
	json_end(&j);
}

int load_report(const struct load_result *r)
{
	const struct load_errors *e = &r->sum.errors;
	const char *label = r->plan->options->target.label;
	int status = EXIT_GOOD;

	if (first_wrong(e))
		status = EXIT_WRONG;
	else if (e->n || (r->sum.completed == 0))
		status = EXIT_NETWORK;
	if (r->plan->options->json)
		print_json(r, status);
	else
		print_text(r);
	output_flush();
	if (r->tls.problem[0])
		fprintf(stderr, "ackc: %s: not verified: %s\n", label, r->tls.problem);
	for (unsigned i = 0; i < e->n; i++) {
		fprintf(stderr, "ackc: %s: %s%s", label, e->kinds[i].wrong ? "wrong reply: " : "",
			e->kinds[i].words);
		if (e->kinds[i].count > 1)
			fprintf(stderr, " (%" PRIu64 " times)", e->kinds[i].count);
		putc('\n', stderr);
		if (e->kinds[i].first[0])
			fprintf(stderr, "ackc: %s: first: %s\n", label, e->kinds[i].first);
	}
	return status;
}
